"""What tools change in the context: each call by itself, and what becomes of it. The models are simulated."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from agent_calls import Attempt, Deps, Desk, Desks, Log, Script, calling, desk_agent, replayed, reply
from pydantic_ai import Agent, RunContext
from pydantic_ai.messages import ToolCallPart, ToolReturnPart

from flujo_core import ContextConflict, InvalidValue


@pytest.mark.parametrize("with_log", [True, False])
def test_tools_side_by_side_see_what_was_before_them_and_merge_in_the_order_they_were_asked_for(with_log: bool) -> None:
    script = Script(calling(("late", {}), ("early", {})), "Done")
    agent = Agent(script.model, deps_type=Deps)
    early_ended = asyncio.Event()

    @agent.tool
    async def late(ctx: RunContext[Deps]) -> list[str]:
        await early_ended.wait()
        await asyncio.sleep(0)
        ctx.deps.desk.notes.append("late")
        return list(ctx.deps.desk.notes)

    @agent.tool
    async def early(ctx: RunContext[Deps]) -> list[str]:
        ctx.deps.desk.notes.append("early")
        early_ended.set()
        return list(ctx.deps.desk.notes)

    log = Log(Desk) if with_log else None
    for _ in range(2):
        attempt = Attempt(agent, log, Desk(notes=["old"]), lambda desk: Deps(desk))
        assert asyncio.run(reply(attempt)).output == "Done"
        assert attempt.changed == {"notes": ["old", "late", "early"]}
    returned = [p.content for m in script.requests[-1] for p in m.parts if isinstance(p, ToolReturnPart)]
    assert returned == [["old", "late"], ["old", "early"]]
    if log is not None:
        assert len(script.requests) == 2


def test_two_calls_that_set_one_field_conflict_and_are_named() -> None:
    desks = Desks(calling(("own", {"who": "Ada"}), ("own", {"who": "Bob"})), "Done", log=Log(Desk))
    for _ in range(2):
        with pytest.raises(ContextConflict, match=r"'own' and 'own#2' both changed field 'owner'") as raised:
            asyncio.run(desks.attempt())
        assert "Ada" not in str(raised.value)


def test_one_after_the_other_setting_is_setting() -> None:
    desks = Desks(calling(("own", {"who": "Ada"})), calling(("own", {"who": "Bob"}), first=2), "Done", log=Log(Desk))
    first, _ = asyncio.run(replayed(desks))
    assert first.changed == {"owner": "Bob"}


def test_tools_that_run_alone_see_what_came_before_them() -> None:
    script = Script(calling(("add", {"by": 1}), ("double", {}), ("add", {"by": 5})), "Done")
    agent = Agent(script.model, deps_type=Deps)

    @agent.tool
    async def add(ctx: RunContext[Deps], by: int) -> int:
        ctx.deps.desk.stamps += by
        return ctx.deps.desk.stamps

    @agent.tool(sequential=True)
    async def double(ctx: RunContext[Deps]) -> int:
        ctx.deps.desk.stamps *= 2
        return ctx.deps.desk.stamps

    log = Log(Desk)
    for _ in range(2):
        attempt = Attempt(agent, log, Desk(stamps=3), lambda desk: Deps(desk))
        asyncio.run(attempt.run())
        assert attempt.changed == {"stamps": 13}
    assert [log.kept[f"tool.c{n}"][0].result for n in (1, 2, 3)] == [b'{"value":4}', b'{"value":8}', b'{"value":13}']


def test_an_agent_whose_tools_run_one_by_one() -> None:
    desks = Desks(calling(("own", {"who": "Ada"}), ("own", {"who": "Bob"})), "Done", log=Log(Desk))

    async def twice() -> tuple[Any, Any]:
        with desks.agent.parallel_tool_call_execution_mode("sequential"):
            return await replayed(desks)

    assert asyncio.run(twice())[0].changed == {"owner": "Bob"}


def test_what_is_read_between_calls_is_what_the_calls_have_done() -> None:
    script = Script(calling(("stamp", {"by": 2})), "Done")
    agent = desk_agent(script)
    read = []

    @agent.instructions
    def tell(ctx: RunContext[Deps]) -> str:
        read.append(ctx.deps.desk.stamps)
        return f"There are {ctx.deps.desk.stamps} stamps."

    @agent.output_validator
    async def check(ctx: RunContext[Deps], output: str) -> str:
        read.append(ctx.deps.desk.stamps)
        ctx.deps.desk.owner = "checked"
        return output

    log = Log(Desk)
    for _ in range(2):
        attempt = Attempt(agent, log, Desk(), lambda desk: Deps(desk))
        asyncio.run(attempt.run())
        assert attempt.changed == {"stamps": 2, "owner": "checked"}
    assert len(script.requests) == 2
    assert read[: len(read) // 2] == read[len(read) // 2 :]
    assert sorted(set(read)) == [0, 2]


def test_a_sync_tool_runs_in_a_thread_and_changes_the_draft_of_its_call() -> None:
    script = Script(calling(("note", {"text": "a"}), ("note", {"text": "b"})), "Done")
    agent = Agent(script.model, deps_type=Deps)
    threads = []
    both = threading.Barrier(2, timeout=5)

    @agent.tool
    def note(ctx: RunContext[Deps], text: str) -> int:
        threads.append(threading.get_ident())
        both.wait()  # side by side
        ctx.deps.desk.notes.append(text)
        return len(ctx.deps.desk.notes)

    attempt = Attempt(agent, None, Desk(), lambda desk: Deps(desk))
    asyncio.run(attempt.run())
    assert attempt.changed == {"notes": ["a", "b"]}
    assert threading.get_ident() not in threads


def test_a_value_that_does_not_fit_the_context_fails_the_attempt() -> None:
    script = Script(calling(("spoil", {})), "Done")
    agent = Agent(script.model, deps_type=Deps)

    @agent.tool
    async def spoil(ctx: RunContext[Deps]) -> None:
        ctx.deps.desk.stamps = "many"  # type: ignore[assignment]

    log = Log(Desk)
    with pytest.raises(InvalidValue, match="field 'stamps'"):
        asyncio.run(Attempt(agent, log, Desk(), lambda desk: Deps(desk)).run())
    assert list(log.kept) == ["model.1"]


def test_calls_that_a_tool_makes_of_other_tools_are_part_of_its_own() -> None:
    script = Script(calling(("outer", {})), "Done")
    agent = Agent(script.model, deps_type=Deps)

    @agent.tool
    async def inner(ctx: RunContext[Deps]) -> str:
        ctx.deps.desk.stamps += 1
        return "inner"

    @agent.tool
    async def outer(ctx: RunContext[Deps]) -> str:
        assert ctx.tool_manager is not None
        ctx.deps.desk.stamps += 10
        await ctx.tool_manager.handle_call(ToolCallPart("inner", {}, "x1"))
        return str(ctx.deps.desk.stamps)

    log = Log(Desk)
    for _ in range(2):
        attempt = Attempt(agent, log, Desk(), lambda desk: Deps(desk))
        asyncio.run(attempt.run())
        assert attempt.changed == {"stamps": 11}
    assert list(log.kept) == ["model.1", "tool.c1", "model.2"]
