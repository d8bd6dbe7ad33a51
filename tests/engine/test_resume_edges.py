"""Corners of runs that go on: what was withdrawn, what failed before it began, what is cancelled when it is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import wraps
from typing import Annotated, Any

import pytest
from plugin_kit import alone

from flujo_core import (
    Flujo,
    HumanInput,
    IncompatiblePipeline,
    Loop,
    Map,
    MemoryStore,
    Merge,
    Node,
    Parallel,
    PauseForHumanInput,
    PipelineContext,
    Plugin,
    Retry,
    RunFailed,
    StepCall,
    step,
)
from flujo_core.engine import lease


class Log(PipelineContext):
    log: Annotated[list[str], Merge.append] = []


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that is a coroutine."""

    @wraps(test)
    def run(**given: Any) -> None:
        asyncio.run(test(**given))

    return run


class Health:
    """Whether the steps below work."""

    good = False


@pytest.fixture
def health() -> Health:
    return Health()


def shaky(health: Health) -> Any:
    @step
    async def fragile(text: str, *, context: Log) -> str:
        await asyncio.sleep(0.01)
        if not health.good:
            raise ValueError("secret")
        context.log.append(f"fragile {text}")
        return text

    return fragile


@step
async def note(text: str, *, context: Log) -> str:
    context.log.append(f"note {text}")
    return text


@step
async def shout(text: str) -> str:
    return text.upper()


@in_loop
async def test_a_withdrawn_question_is_asked_again_where_what_failed_is_tried_again(health: Health) -> None:
    ask = HumanInput("ask", str, ask="Go on?")
    flujo = Flujo(Parallel("both", asks=ask, fails=shaky(health)), context=Log, store=MemoryStore())
    with pytest.raises(RunFailed):
        await flujo.run_async("x", run_id="r")
    assert not await flujo.pending_async(run_id="r")

    health.good = True
    paused = await flujo.resume_async("r", retry_failed=True)
    assert [one.address for one in paused.questions] == ["both[asks]/ask"]
    result = await flujo.resume_async("r", "yes", token=paused.questions[0].token)
    assert result.output == {"asks": "yes", "fails": "x"}


@pytest.mark.parametrize("where", ["over", "key"])
@in_loop
async def test_a_map_whose_items_could_not_be_told_is_tried_again(health: Health, where: str) -> None:
    def over(text: str) -> list[str]:
        if where == "over" and not health.good:
            raise ValueError("secret")
        return list(text)

    def key(item: str) -> str:
        return item if health.good else "same"

    flujo = Flujo(Map("each", shout, over=over, key=key), store=MemoryStore())
    with pytest.raises(RunFailed):
        await flujo.run_async("ab", run_id="r")
    health.good = True
    assert (await flujo.resume_async("r", retry_failed=True)).output == ["A", "B"]


@in_loop
async def test_a_source_that_does_not_say_that_it_is_async_goes_on_after_its_last_item(health: Health) -> None:
    asked: list[str | None] = []

    async def letters(after: str | None) -> AsyncIterator[str]:
        for letter in "abc":
            if after is None or letter > after:
                yield letter

    def over(_: str, after: str | None = None):  # type: ignore[no-untyped-def]
        asked.append(after)
        return letters(after)

    each = Map("each", shaky(health), over=over, key=lambda letter: letter, max_concurrency=1)
    flujo = Flujo(each, context=Log, store=MemoryStore())
    with pytest.raises(RunFailed):
        await flujo.run_async("", run_id="r")
    health.good = True
    assert (await flujo.resume_async("r", retry_failed=True)).output == ["a", "b", "c"]
    assert asked[0] is None
    assert set(asked[1:]) == {"a"}


PARTS: dict[str, Callable[[Any], Node[Any, Any]]] = {
    "parallel": lambda fragile: Parallel("all", a=note >> note.named("b"), c=note.named("d") >> fragile),
    "retry": lambda fragile: Parallel("all", a=note, c=note.named("d") >> fragile).policy(retry=Retry(attempts=2)),
    "map": lambda fragile: Map("all", note >> fragile, over=lambda text: [text, text + "2"], on_error="collect"),
    "loop": lambda fragile: (
        Loop("all", note >> fragile, until=lambda _, *, context: len(context.log) > 3, max_iterations=3)
        .policy(retry=Retry(attempts=2))
    ),
}  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
@in_loop
async def test_the_context_of_a_run_that_was_tried_again_is_told_the_same_later(health: Health, part: str) -> None:
    flujo = Flujo(PARTS[part](shaky(health)), context=Log, store=MemoryStore())
    with pytest.raises(RunFailed):
        await flujo.run_async("x", run_id="r")
    health.good = True
    result = await flujo.resume_async("r", retry_failed=True)
    again = await flujo.resume_async("r")
    assert again.context.log == result.context.log
    assert again.context.log.count("fragile x") == (2 if part == "loop" else 1)


@in_loop
async def test_who_cancels_a_run_that_has_failed_changes_nothing(health: Health) -> None:
    flujo = Flujo(shaky(health), context=Log, store=MemoryStore())
    with pytest.raises(RunFailed):
        await flujo.run_async("x", run_id="r")
    assert (await flujo.cancel_async("r")).status == "failed"
    health.good = True
    assert (await flujo.resume_async("r", retry_failed=True)).output == "x"


@in_loop
async def test_who_cancels_a_run_whose_stream_is_behind_gets_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flujo_core.flujo.CAPACITY", 1)
    store = MemoryStore()
    flujo = Flujo(shout, store=store)
    async with flujo.stream("x", run_id="r") as run:
        events = aiter(run)
        await anext(events)
        await asyncio.sleep(0.05)
        found = await store.run("r")
        assert found is not None
        assert found.status == "completed"
        assert (await flujo.cancel_async("r")).status == "completed"
        async for _ in events:
            pass
    assert run.result.output == "X"


@pytest.mark.parametrize("durability", ["step", "batch", "exit"])
@in_loop
async def test_a_run_that_has_written_nothing_yet_has_no_lease_to_lose(
    monkeypatch: pytest.MonkeyPatch, durability: Any
) -> None:
    monkeypatch.setattr(lease, "TICK", 0.01)

    @step
    async def slow(text: str) -> str:
        await asyncio.sleep(0.05)
        return text

    async def slowly(start: Any) -> Any:
        await asyncio.sleep(0.05)
        return start

    flujo = Flujo(slow, store=MemoryStore(), durability=durability, on_pipeline_start=slowly)
    assert (await flujo.run_async("x", run_id="r")).output == "x"


class Gate(Plugin):
    """Asks before each step; adds the answer to what the step gets."""

    name = "first"

    async def pre_step_execution(self, call: StepCall, /) -> StepCall | PauseForHumanInput[str]:
        if call.answer is None:
            return PauseForHumanInput(self.name, str)
        return call._replace(step_input=f"{call.step_input} {self.name}={call.answer}")


class Second(Gate):
    name = "second"


@in_loop
async def test_an_answer_is_for_the_gate_that_has_asked_and_not_for_the_next() -> None:
    flujo = alone(shout, Gate(), Second(), store=MemoryStore())
    result = await flujo.run_async("x", run_id="r")
    for name in ("first", "second"):
        assert [one.text for one in result.questions] == [name]
        result = await flujo.resume_async("r", f"to {name}")
    assert result.output == "X FIRST=TO FIRST SECOND=TO SECOND"


def test_a_run_that_the_code_does_not_fit_any_more_can_be_cancelled() -> None:
    @step
    async def ask(value: int) -> bool | PauseForHumanInput[bool]:
        return PauseForHumanInput("?", bool)

    async def main() -> tuple[str, str]:
        store = MemoryStore()
        await Flujo(ask, store=store).run_async(1, run_id="r")
        other: Any = Flujo(ask.named("other"), store=store)
        with pytest.raises(IncompatiblePipeline):
            await other.resume_async("r", True)
        cancelled = await other.cancel_async("r")
        return cancelled.status, (await store.runs())[0].status

    assert asyncio.run(main()) == ("cancelled", "cancelled")
