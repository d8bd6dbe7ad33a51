"""The calls inside an agent are journaled, and those that the journal has are not made again. Models are simulated."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import pytest
from agent_calls import Attempt, Crash, Deps, Desk, Desks, Log, Script, calling, replayed, reply
from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, FunctionToolset, ModelRetry, RunContext, ToolOutput, ToolReturn
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.durable_exec import BaseDurabilityCapability, DurabilityEngineSpec
from pydantic_ai.exceptions import ToolFailed
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.usage import RequestUsage

from flujo_core import DefinitionError, InvalidValue, ModelMisbehaved
from flujo_core.agents.pydantic_ai import _around_calls
from flujo_core.model.agent import CallsDiffer, Usage


def giving(value: Any) -> Callable[[], Any]:
    """A tool that gives ``value``."""

    def give() -> Any:
        return value

    return give


def test_what_is_journaled_is_not_called_again() -> None:
    log = Log(Desk)
    desks = Desks(calling(("stamp", {"by": 2})), calling(("note", {"text": "a"}), first=2), "Done", log=log)
    first, _ = asyncio.run(replayed(desks))
    assert first.result.output == "Done"
    assert first.changed == {"stamps": 2, "notes": ["a"]}
    assert list(log.kept) == ["model.1", "tool.c1", "model.2", "tool.c2", "model.3"]
    assert log.found == list(log.kept)
    assert first.result.usage.requests == 3
    assert first.result.usage.tool_calls == 2


def test_usage_is_told_once_and_the_log_has_all_of_it() -> None:
    log = Log(Desk)
    desks = Desks(calling(("stamp", {"by": 2}), ("note", {"text": "a"})), "Done", log=log)
    first, _ = asyncio.run(replayed(desks))
    whole = Usage(cost_usd=Decimal())
    for made, _ in log.kept.values():
        assert made.usage is not None
        whole = whole.plus(made.usage._replace(cost_usd=Decimal()))
    assert whole._replace(cost_usd=None) == first.result.usage._replace(cost_usd=None)


def test_what_a_tool_used_of_other_models_is_in_its_record() -> None:
    helper = Agent(TestModel(custom_output_text="help"))
    script = Script(calling(("ask", {}), ("ask", {})), "Done")
    agent = Agent(script.model)
    helped = []

    @agent.tool
    async def ask(ctx: RunContext[Any]) -> str:
        helped.append(1)
        return (await helper.run("Help", usage=ctx.usage)).output

    log = Log()
    first = asyncio.run(reply(Attempt(agent, log)))
    again = asyncio.run(reply(Attempt(agent, log)))
    assert len(helped) == 2
    assert first.usage == again.usage
    assert first.usage is not None
    assert first.usage.requests == 4
    of_tools = [made.usage for name, (made, _) in log.kept.items() if name.startswith("tool.")]
    assert sum(used.requests for used in of_tools if used) == 2


def test_the_cost_that_a_response_had_is_counted_once() -> None:
    priced = RequestUsage(input_tokens=7, output_tokens=3, cost=Decimal("0.25"))
    asked = []

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        asked.append(1)
        return ModelResponse([TextPart("Hi")], usage=priced)

    agent, log = Agent(FunctionModel(answer)), Log()
    first = asyncio.run(reply(Attempt(agent, log)))
    again = asyncio.run(reply(Attempt(agent, log)))
    assert first.usage == again.usage == Usage(1, 7, 3, 0, Decimal("0.25")) == log.kept["model.1"][0].usage
    assert asked == [1]


@pytest.mark.parametrize("lasts", range(6))
def test_a_crash_between_calls_goes_on_with_the_unfinished_one(lasts: int) -> None:
    responses = calling(("stamp", {"by": 2})), calling(("note", {"text": "a"}), first=2), "Done"
    log = Log(Desk, lasts)
    desks = Desks(*responses, log=log)
    if lasts < 5:
        with pytest.raises(Crash):
            asyncio.run(desks.attempt())
    else:
        asyncio.run(desks.attempt())
    finished = list(log.kept)
    assert finished == ["model.1", "tool.c1", "model.2", "tool.c2", "model.3"][:lasts]

    log.lasts, log.found = None, []
    asked, called = len(desks.script.requests), len(desks.calls)
    again = asyncio.run(desks.attempt())
    assert log.found == finished
    assert again.changed == {"stamps": 2, "notes": ["a"]}
    assert again.result.output == "Done"  # type: ignore[attr-defined]
    missing = [name for name in log.kept if name not in finished]
    assert len(desks.script.requests) - asked == sum(name.startswith("model") for name in missing)
    assert len(desks.calls) - called == sum(name.startswith("tool") for name in missing)


def test_a_crash_beside_a_finished_call_repeats_the_other_only() -> None:
    script = Script(calling(("quick", {}), ("slow", {})), "Done")
    agent = Agent(script.model, deps_type=Deps)
    first_time = [True]

    @agent.tool
    async def quick(ctx: RunContext[Deps]) -> str:
        ctx.deps.calls.append("quick")
        ctx.deps.desk.notes.append("quick")
        return "q"

    @agent.tool
    async def slow(ctx: RunContext[Deps]) -> str:
        ctx.deps.calls.append("slow")
        ctx.deps.desk.notes.append("slow")
        if first_time.pop() if first_time else False:
            await asyncio.sleep(0.01)
            raise Crash
        return "s"

    calls: list[str] = []
    log = Log(Desk)
    first = Attempt(agent, log, Desk(), lambda desk: Deps(desk, calls))
    with pytest.raises(Crash):
        asyncio.run(first.run())
    assert list(log.kept) == ["model.1", "tool.c1"]
    again = Attempt(agent, log, Desk(), lambda desk: Deps(desk, calls))
    assert asyncio.run(reply(again)).output == "Done"
    assert calls == ["quick", "slow", "slow"]
    assert again.changed == {"notes": ["quick", "slow"]}


class Reading(BaseModel):
    degrees: float
    at: tuple[int, int]


@pytest.mark.parametrize(
    "given",
    [
        None,
        5,
        "text",
        {"kind": "tool-return", "n": 1},
        [1, {"a": None}],
        Reading(degrees=1.5, at=(1, 2)),
        BinaryContent(b"\x00\xff", media_type="image/png"),
        ToolReturn("short", content=["more", BinaryContent(b"\x01", media_type="image/png")], metadata={"n": 1}),
    ],
)
def test_whatever_a_tool_gives_is_given_again(given: Any) -> None:
    script = Script(calling(("give", {})), "Done")
    agent = Agent(script.model)
    agent.tool_plain(name="give")(giving(given))
    log = Log()
    first = asyncio.run(reply(Attempt(agent, log)))
    del log.kept["model.2"]  # so that what the second request is made of can be compared
    again = asyncio.run(reply(Attempt(agent, log)))
    assert first.output == again.output
    one, other = script.requests[1:]
    assert [p.content for p in one[-1].parts if hasattr(p, "content")] == [
        p.content for p in other[-1].parts if hasattr(p, "content")
    ]


def test_a_result_that_is_no_json_fails_with_the_name_of_the_tool_and_no_value() -> None:
    script = Script(calling(("give", {})), "Done")
    agent = Agent(script.model)

    class Secret:
        def __repr__(self) -> str:
            return "hunter2"

    agent.tool_plain(name="give")(giving(Secret()))
    with pytest.raises(InvalidValue, match="the tool 'give' gave a 'Secret'") as raised:
        asyncio.run(Attempt(agent, Log()).run())
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("error", [ModelRetry, ToolFailed])
def test_what_a_tool_tells_the_model_by_raising_is_a_result(error: type[Exception]) -> None:
    script = Script(calling(("try_it", {"n": 1})), calling(("try_it", {"n": 2}), first=2), "Done")
    agent = Agent(script.model, deps_type=Deps)
    tried = []

    @agent.tool
    async def try_it(ctx: RunContext[Deps], n: int) -> str:
        tried.append(n)
        ctx.deps.desk.stamps += 1
        if n == 1:
            raise error("not like this")
        return "fine"

    log = Log(Desk)
    used = []
    for _ in range(2):
        attempt = Attempt(agent, log, Desk(), lambda desk: Deps(desk))
        got = asyncio.run(reply(attempt))
        assert got.output == "Done"
        assert attempt.changed == {"stamps": 1}, "what the failed call changed is dropped"
        used.append(got.usage)
    assert tried == [1, 2]
    assert used[0] == used[1]
    assert len(script.requests) == 3
    assert log.patch("tool.c1") == {}


def test_retries_of_a_tool_are_counted_again() -> None:
    script = Script(calling(("never", {})), calling(("never", {}), first=2), "Done")
    agent = Agent(script.model)
    tried = []

    @agent.tool_plain(retries=1)
    def never() -> str:
        tried.append(1)
        raise ModelRetry("no")

    log = Log()
    for n in (2, 3):  # the second failure ends the agent, so it is no result
        with pytest.raises(ModelMisbehaved):
            asyncio.run(Attempt(agent, log).run())
        assert len(tried) == n
    assert list(log.kept) == ["model.1", "tool.c1", "model.2"]


def test_another_error_is_not_journaled() -> None:
    desks_log = Log()
    script = Script(calling(("fail", {})), "Done")
    agent = Agent(script.model)

    @agent.tool_plain
    def fail() -> str:
        raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            asyncio.run(Attempt(agent, desks_log).run())
    assert list(desks_log.kept) == ["model.1"]
    assert len(script.requests) == 1


def test_arguments_that_do_not_fit_are_no_call() -> None:
    log = Log(Desk)
    desks = Desks(calling(("stamp", {"by": "x"})), calling(("stamp", {"by": 1}), first=2), "Done", log=log)
    first, _ = asyncio.run(replayed(desks))
    assert first.changed == {"stamps": 1}
    assert list(log.kept) == ["model.1", "model.2", "tool.c2", "model.3"]


def test_what_pydantic_ai_tries_again_by_itself_is_replayed() -> None:
    script = Script("no", "still no", "yes")
    agent = Agent(script.model, retries=3)

    @agent.output_validator
    def check(output: str) -> str:
        if output != "yes":
            raise ModelRetry("say yes")
        return output

    log = Log()
    for _ in range(2):
        assert asyncio.run(reply(Attempt(agent, log))).output == "yes"
    assert len(script.requests) == 3


class Yes(BaseModel):
    why: str


class No(BaseModel):
    why_not: str


def test_unions_and_output_functions() -> None:
    script = Script(ModelResponse([ToolCallPart("final_result_No", {"why_not": "late"}, "o1")]))
    agent: Agent[None, Any] = Agent(script.model, output_type=[Yes, No])  # type: ignore[list-item]
    log = Log()
    for _ in range(2):
        assert asyncio.run(reply(Attempt(agent, log))).output == No(why_not="late")
    assert list(log.kept) == ["model.1"], "an output tool is no call"

    def shout(text: str) -> str:
        return text.upper()

    script = Script(ModelResponse([ToolCallPart("shout", {"text": "hi"}, "o1")]))
    loud = Agent(script.model, output_type=ToolOutput(shout, name="shout"))
    log = Log()
    for _ in range(2):
        assert asyncio.run(reply(Attempt(loud, log))).output == "HI"
    assert len(script.requests) == 1


def test_tools_of_any_toolset_are_journaled() -> None:
    called = []

    def look(where: str) -> str:
        called.append(where)
        return f"seen {where}"

    script = Script(calling(("look", {"where": "a"})), calling(("far_look", {"where": "b"}), first=2), "Done")
    agent: Agent[None, str] = Agent(script.model, toolsets=[FunctionToolset([look])])
    agent.toolset(lambda ctx: FunctionToolset([look]).prefixed("far"))
    log = Log()
    for _ in range(2):
        assert asyncio.run(reply(Attempt(agent, log))).output == "Done"
    assert called == ["a", "b"]
    assert len(script.requests) == 3


def test_a_model_that_an_agent_is_given_later_is_journaled() -> None:
    agent = Agent(TestModel())
    script = Script("Hi")
    log = Log()
    with agent.override(model=script.model):
        for _ in range(2):
            assert asyncio.run(reply(Attempt(agent, log))).output == "Hi"
    assert len(script.requests) == 1


def test_text_is_told_again() -> None:
    script = Script(calling(("give", {})), "two words")
    agent = Agent(script.model)
    agent.tool_plain(name="give")(giving(1))
    log = Log()
    told: list[str] = []

    async def on_piece(text: str) -> None:
        told.append(text)

    assert asyncio.run(reply(Attempt(agent, log), on_piece=on_piece)).output == "two words "
    assert told == ["two ", "words "]
    told.clear()
    assert asyncio.run(reply(Attempt(agent, log), on_piece=on_piece)).output == "two words "
    assert "".join(told) == "two words "
    assert asyncio.run(reply(Attempt(agent, log))).output == "two words "
    assert len(script.requests) == 2


def test_a_stream_that_breaks_off_is_not_journaled() -> None:
    async def broken(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        yield "half "
        raise ZeroDivisionError

    async def on_piece(text: str) -> None:
        pass

    log = Log()
    with pytest.raises(ZeroDivisionError):
        asyncio.run(Attempt(Agent(FunctionModel(stream_function=broken)), log).run(on_piece=on_piece))
    assert not log.kept


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        lambda script: Agent(script.model, instructions="Be brief."),
        lambda script: Agent(script.model, model_settings={"temperature": 0.5}),
        lambda script: Agent(script.model, tools=[len]),
        lambda script: Agent(FunctionModel(script.answer, stream_function=script.stream, model_name="other")),
        lambda script: Agent(script.model, output_type=[int, Yes]),
    ],
)
def test_another_request_than_the_journal_has_discards_the_attempt(change: Any, streaming: bool) -> None:
    async def on_piece(text: str) -> None:
        pass

    script = Script("Hi", "Hi")
    log = Log()
    asyncio.run(Attempt(Agent(script.model), log).run())
    with pytest.raises(CallsDiffer, match=r"'model\.1'"):
        asyncio.run(Attempt(change(script), log).run(on_piece=on_piece if streaming else None))
    with pytest.raises(CallsDiffer):
        asyncio.run(Attempt(Agent(script.model), log).run("Something else"))
    assert len(script.requests) == 1


def test_another_tool_call_than_the_journal_has_discards_the_attempt() -> None:
    desks = Desks(calling(("stamp", {"by": 2})), "Done", log=Log(Desk))
    asyncio.run(desks.attempt())
    assert desks.log is not None
    made, patch = desks.log.kept["tool.c1"]
    desks.log.kept["tool.c1"] = (made._replace(digest="0" * 32), patch)
    with pytest.raises(CallsDiffer, match=r"'tool\.c1'"):
        asyncio.run(desks.attempt())


def test_one_id_for_several_calls() -> None:
    script = Script(*(ModelResponse([ToolCallPart("poll", {}, "same")]) for _ in range(2)), "Done")
    agent = Agent(script.model)
    polled = []

    @agent.tool_plain
    def poll() -> int:
        polled.append(1)
        return len(polled)

    log = Log()
    for _ in range(2):
        assert asyncio.run(reply(Attempt(agent, log))).output == "Done"
    assert list(log.kept) == ["model.1", "tool.same", "model.2", "tool.same.2", "model.3"]
    assert len(polled) == 2


DIGESTS = """
    import asyncio, json, sys
    from agent_calls import Attempt, Log, Script, calling
    from pydantic_ai import Agent, ModelRetry

    script = Script(calling(("look", {"at": "secret place", "how": {"b": 1, "a": 2}})), "no", "yes")
    agent = Agent(script.model, instructions="Be brief.", model_settings={"extra_headers": {"key": "secret key"}})

    @agent.tool_plain
    def look(at: str, how: dict[str, int]) -> set[str]:
        return {"secret a", "secret b", "secret c"}

    @agent.output_validator
    def check(output: str) -> str:
        if output != "yes":
            raise ModelRetry("say yes")
        return output

    log = Log()
    asyncio.run(Attempt(agent, log).run("secret prompt"))
    print(json.dumps({name: made.digest for name, (made, _) in log.kept.items() if name != "model.2"}))
"""


def test_digests_are_those_of_another_process_and_tell_nothing() -> None:
    def digests(seed: str) -> dict[str, str]:
        code = textwrap.dedent(DIGESTS)
        path = ":".join(sys.path)
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={"PYTHONPATH": path, "PYTHONHASHSEED": seed},
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, str] = json.loads(done.stdout)
        return found

    one, other = digests("1"), digests("2")
    assert one["model.1"] == other["model.1"]
    assert one["tool.c1"] == other["tool.c1"]
    assert all(len(digest) >= 16 and int(digest, 16) >= 0 for digest in one.values())


def test_capabilities_see_no_call_that_the_journal_has() -> None:
    seen = []

    class Watching(AbstractCapability[Any]):
        async def wrap_model_request(self, ctx: Any, *, request_context: Any, handler: Any) -> Any:
            seen.append("model")
            return await handler(request_context)

        async def before_tool_execute(self, ctx: Any, *, call: Any, tool_def: Any, args: Any) -> Any:
            seen.append("tool")
            return args

    desks = Desks(calling(("stamp", {"by": 2})), "Done", log=Log(Desk))
    asyncio.run(desks.attempt(capabilities=[Watching()]))
    assert seen == ["model", "tool", "model"]
    asyncio.run(desks.attempt(capabilities=[Watching()]))
    assert seen == ["model", "tool", "model"]


def test_there_is_one_journal() -> None:
    class Other(BaseDurabilityCapability[Any]):
        engine_spec = DurabilityEngineSpec(
            engine_name="Other",
            durable_unit_noun="unit",
            durable_container_noun="box",
            wrapped_toolset_kinds=frozenset(),
        )

        @property
        def in_durable_context(self) -> bool:
            return False

        def get_durable_operation_backend(self) -> Any: ...

    agent = Agent(TestModel(), name="a", capabilities=[Other()])
    with pytest.raises(DefinitionError, match="the agent has the capability 'Other'"):
        asyncio.run(Attempt(agent, Log()).run())
    asyncio.run(Attempt(agent, None).run())


def test_nothing_is_around_the_calls_of_an_agent_that_needs_nothing() -> None:
    assert _around_calls(Agent("test"), None, None, None, ()) == []
