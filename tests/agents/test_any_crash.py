"""Wherever an agent step is cut off, and however often: it ends as if it had not been. The models are simulated."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from agent_calls import Attempt, Crash, Log, Script, calling, reply
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_ai import Agent, ModelRetry, RunContext
from pydantic_ai.messages import ToolReturnPart

from flujo_core import Merge, PipelineContext


class Board(PipelineContext):
    last: int = 0
    total: Annotated[int, Merge(lambda base, values: base + sum(value - base for value in values))] = 0
    marks: Annotated[list[int], Merge.append] = []
    tallies: Annotated[dict[str, list[int]], Merge.union] = {}


TOOLS = st.sampled_from(["mark", "add", "alone", "refuse", "look", "tally"])
RESPONSES = st.lists(st.lists(TOOLS, min_size=1, max_size=4), min_size=1, max_size=4)


class Boards:
    """One agent with a script of tool calls; its tools know what the journal has."""

    def __init__(self, tools: list[list[str]]) -> None:
        responses, first = [], 1
        for at_once in tools:
            calls = [(name, {"n": n}) for n, name in enumerate(at_once, first)]
            responses.append(calling(*calls, first=first))
            first += len(calls)
        self.script = Script(*responses, "Done")
        self.log: Log | None = None
        self.agent = agent = Agent(self.script.model, deps_type=Board, retries=50)
        begun = self.begun

        @agent.tool
        async def mark(ctx: RunContext[Board], n: int) -> list[int]:
            begun(ctx)
            await asyncio.sleep(0)
            ctx.deps.marks.append(n)
            return ctx.deps.marks

        @agent.tool
        async def add(ctx: RunContext[Board], n: int) -> int:
            begun(ctx)
            ctx.deps.total += n
            return ctx.deps.total

        @agent.tool(sequential=True)
        async def alone(ctx: RunContext[Board], n: int) -> dict[str, int]:
            begun(ctx)
            ctx.deps.last = ctx.deps.last * 3 + n
            ctx.deps.marks.clear()
            return {"last": ctx.deps.last, "total": ctx.deps.total}

        @agent.tool
        async def refuse(ctx: RunContext[Board], n: int) -> int:
            begun(ctx)
            ctx.deps.total = -1
            raise ModelRetry(f"not {n}")

        @agent.tool
        async def look(ctx: RunContext[Board], n: int) -> Board:
            begun(ctx)
            return ctx.deps.model_copy()

        @agent.tool
        async def tally(ctx: RunContext[Board], n: int) -> int:
            begun(ctx)
            ctx.deps.tallies[f"of {n}"] = [n]
            return len(ctx.deps.tallies)

    def begun(self, ctx: RunContext[Any]) -> None:
        assert self.log is None or f"tool.{ctx.tool_call_id}" not in self.log.kept, "a finished call is made again"

    def attempt(self) -> tuple[Any, dict[str, Any]]:
        attempt = Attempt(self.agent, self.log, Board(marks=[0]))
        got = asyncio.run(reply(attempt))
        told = [
            (part.tool_call_id, part.outcome, part.content)
            for message in self.script.requests[-1]
            for part in message.parts
            if isinstance(part, ToolReturnPart)
        ]
        return (got.output, got.usage, told), attempt.changed


@settings(max_examples=60)
@given(RESPONSES, st.lists(st.integers(0, 4), max_size=6))
def test_it_ends_as_if_it_had_not_been_cut_off(tools: list[list[str]], cuts: list[int]) -> None:
    undisturbed = Boards(tools)
    undisturbed.log = Log(Board)
    expected = undisturbed.attempt()

    boards = Boards(tools)
    boards.log = log = Log(Board)
    for more in cuts:
        log.lasts = len(log.kept) + more
        try:
            boards.attempt()
        except Crash:
            continue
        break
    log.lasts = None
    asked, finished = len(boards.script.requests), len(log.kept)
    boards.script.requests.append(undisturbed.script.requests[-1])  # what it is told in the end, if it asks no more
    assert boards.attempt() == expected
    assert list(log.kept) != [] and set(log.kept) == set(undisturbed.log.kept)
    for name, (made, patch) in log.kept.items():
        other, patch_too = undisturbed.log.kept[name]
        assert (made.digest, patch) == (other.digest, patch_too)
        assert made.result == other.result or name.startswith("model.")  # which has the time of the response
    models = [name for name in [*log.kept][finished:] if name.startswith("model.")]
    assert len(boards.script.requests) - 1 - asked == len(models)


@settings(max_examples=30)
@given(RESPONSES)
def test_a_store_makes_no_difference(tools: list[list[str]]) -> None:
    without, with_one = Boards(tools), Boards(tools)
    with_one.log = Log(Board)
    (plain, changed), (journaled, changed_too) = without.attempt(), with_one.attempt()
    assert plain[:2] == journaled[:2]
    assert changed == changed_too
