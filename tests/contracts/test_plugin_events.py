"""Listening to the events of a run: each, in order, once it is durable, and at most once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from plugin_kit import ProceedRun, alone, fail, plugin, work

from flujo_core import (
    Flujo,
    MemoryStore,
    Plugin,
    PluginError,
    PluginSettings,
    Record,
    RunEnd,
    RunEnded,
    RunEvent,
    RunFailed,
    RunRefused,
    RunStart,
    RunStarted,
    Settings,
    Step,
    StepStarted,
    Veto,
    step,
)
from flujo_core.model.run import fold
from flujo_core.store.codec import decode


class Listening(Plugin):
    """Keeps the events that it is given, and does ``then`` with each."""

    def __init__(self, name: str, then: Callable[[RunEvent], Awaitable[None]] | None = None) -> None:
        self.name = name  # type: ignore[misc]
        self.then = then
        self.events: list[RunEvent] = []

    async def on_event(self, event: RunEvent, /) -> None:
        self.events.append(event)
        if self.then is not None:
            await self.then(event)


def _chain(length: int, *, pause: float = 0.0) -> Any:
    async def one(value: int) -> int:
        await asyncio.sleep(pause)
        return value + 1

    chained: Any = step(one).named("step 1")
    for n in range(2, length + 1):
        chained = chained >> step(one).named(f"step {n}")
    return chained


@pytest.mark.parametrize("stored", [True, False])
def test_on_event_is_called_with_each_event_of_a_run_in_order(stored: bool) -> None:
    first, second = Listening("a"), Listening("b")
    flujo = alone(_chain(3), first, second, store=MemoryStore() if stored else None)
    flujo.run(1, run_id="r")
    kinds = ["run_started", *["step_started", "step_completed"] * 3, "run_ended"]
    for one in (first, second):
        assert [event.kind for event in one.events] == kinds
        assert [event.sequence for event in one.events] == list(range(1, 9))


def test_on_event_hears_of_an_event_when_it_is_durable() -> None:
    class Slow(MemoryStore):
        async def append(self, records: Sequence[Record], lease: Any, /, **more: Any) -> None:
            await asyncio.sleep(0.005)
            await super().append(records, lease, **more)

    store = Slow()

    async def durable(event: RunEvent) -> None:
        seen.append(event.sequence in [record.sequence for record in await store.read("r")])

    seen: list[bool] = []
    alone(_chain(2), Listening("p", durable), store=store).run(1, run_id="r")
    assert seen == [True] * 6


def test_on_event_hears_of_a_run_that_failed_and_of_nothing_that_is_not_journaled() -> None:
    from pydantic_ai import Agent  # noqa: PLC0415 - dear to import
    from pydantic_ai.models.test import TestModel  # noqa: PLC0415

    one = Listening("p")

    async def main() -> list[str]:
        asked = Step.agent("ask", Agent(TestModel(custom_output_text="a b c")))
        async with alone(asked, one) as flujo, flujo.stream("x") as run:
            return [event.kind async for event in run]

    assert "chunk" in asyncio.run(main())
    assert [event.kind for event in one.events] == ["run_started", "step_started", "step_completed", "run_ended"]
    other = Listening("p")
    with pytest.raises(RunFailed):
        alone(fail, other).run(1)
    assert [event.kind for event in other.events] == ["run_started", "step_started", "step_failed", "run_ended"]


def test_all_events_of_a_run_are_heard_before_its_plugins_are_shut_down() -> None:
    marks: list[str] = []

    class Late(Listening):
        async def on_shutdown(self) -> None:
            marks.append("down")

    async def slowly(event: RunEvent) -> None:
        await asyncio.sleep(0.005)
        marks.append(event.kind)

    alone(_chain(5), Late("p", slowly)).run(1)
    assert marks[-2:] == ["run_ended", "down"]


def test_each_plugin_has_a_queue_of_its_own_in_each_run() -> None:
    held = asyncio.Event()

    async def hold(event: RunEvent) -> None:
        if event.run_id == "held":
            await held.wait()

    quick, slow = Listening("quick"), Listening("slow", hold)

    async def main() -> None:
        async with alone(_chain(3), quick, slow) as flujo:
            task = asyncio.create_task(flujo.run_async(1, run_id="held"))
            await asyncio.wait_for(flujo.run_async(1, run_id="free"), 10)
            await asyncio.sleep(0.05)
            assert [event.run_id for event in quick.events].count("held") >= 7
            assert [event.run_id for event in slow.events].count("held") == 1
            held.set()
            await task

    asyncio.run(asyncio.wait_for(main(), 20))
    for one in (quick, slow):
        assert sorted(event.run_id for event in one.events) == ["free"] * 8 + ["held"] * 8


def test_a_slow_plugin_makes_the_run_wait_once_64_events_wait_for_it_and_loses_none() -> None:
    release = asyncio.Event()
    done: list[int] = []

    async def hold(event: RunEvent) -> None:
        await release.wait()

    slow = Listening("slow", hold)

    def counted(n: int) -> Any:
        async def one(value: int) -> int:
            done.append(n)
            return value

        return step(one).named(f"step {n}")

    pipeline = counted(0)
    for n in range(1, 100):
        pipeline = pipeline >> counted(n)

    async def main() -> None:
        task = asyncio.create_task(alone(pipeline, slow).run_async(1))
        before = -1
        while len(done) != before:
            before = len(done)
            await asyncio.sleep(0.05)
        # One event is in the hook, 64 wait, and one may be in the hand of the run: two a step, and the run's first.
        assert 31 <= len(done) <= 34 and not task.done()
        release.set()
        await task

    asyncio.run(asyncio.wait_for(main(), 20))
    assert [event.sequence for event in slow.events] == list(range(1, 203)) and len(done) == 100


@pytest.mark.parametrize("how", ["error", "veto", "answer"])
def test_an_error_in_on_event_refuses_the_run(how: str) -> None:
    async def wrong(event: RunEvent) -> Any:
        if isinstance(event, StepStarted) and event.address == "step%202":
            if how == "veto":
                raise Veto("never")
            if how == "error":
                raise RuntimeError("CANARY")
            return 5
        return None

    class Wrong(Listening):
        async def on_event(self, event: RunEvent, /) -> None:
            await super().on_event(event)
            return await wrong(event)  # type: ignore[no-any-return]

    store = MemoryStore()
    with pytest.raises(RunRefused) as refused:
        alone(_chain(20, pause=0.005), Wrong("ears"), store=store).run(1, run_id="r")
    assert "'ears'" in str(refused.value) and "on_event" in str(refused.value) and "CANARY" not in str(refused.value)
    assert isinstance(refused.value.__cause__, Veto if how == "veto" else PluginError)
    state = fold(decode(record) for record in asyncio.run(store.read("r")))
    assert state.status == "refused" and len(state.steps) <= 5, "the run went on long after the failure"


def test_an_error_in_on_event_at_the_last_event_is_logged_for_the_run_has_ended(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def late(event: RunEvent) -> None:
        if isinstance(event, RunEnded):
            raise RuntimeError("CANARY")

    store = MemoryStore()
    assert alone(work, Listening("ears", late), store=store).run(1, run_id="r").output == 2
    assert fold(decode(record) for record in asyncio.run(store.read("r"))).status == "completed"
    printed = capsys.readouterr()
    logged = printed.out + printed.err
    assert "'ears'" in logged and "on_event" in logged and "CANARY" not in logged


def test_under_the_open_policy_an_error_in_on_event_is_passed_over_and_the_next_events_come() -> None:
    async def now_and_then(event: RunEvent) -> None:
        if event.sequence % 2:
            raise RuntimeError

    one = Listening("ears", now_and_then)
    settings = Settings(PluginSettings(allow=(), policies={"ears": "open"}))
    assert Flujo(_chain(5), plugins=[one], settings=settings).run(0).output == 5
    assert [event.sequence for event in one.events] == list(range(1, 13)), "an event was lost, or came twice"


def test_on_event_runs_beside_the_run_and_does_not_hold_up_a_single_step() -> None:
    order: list[str] = []

    async def slowly(event: RunEvent) -> None:
        await asyncio.sleep(0.1)
        order.append(event.kind)

    @step
    async def quick(value: int) -> int:
        order.append("ran")
        return value

    alone(quick, Listening("p", slowly)).run(1)
    assert order[0] == "ran"


def test_what_a_run_is_like_to_its_hooks_is_what_its_first_event_says() -> None:
    seen: list[Any] = []

    async def around_run(self: Plugin, run: RunStart, proceed: ProceedRun, /) -> RunEnd:
        seen.append((run.run_id, run.tenant, run.pipeline, run.initial_input, run.resumed))
        return await proceed()

    async def on_pipeline_start(self: Plugin, run: RunStart, /) -> RunStart:
        return run.replace(initial_input=run.initial_input + 1)

    one = Listening("ears")
    changing = plugin("a", around_run=around_run, on_pipeline_start=on_pipeline_start)
    alone(work, one, changing).run(1, run_id="r", tenant="t")
    first = one.events[0]
    assert isinstance(first, RunStarted)
    assert seen == [(first.run_id, first.tenant, first.pipeline, first.input, False)] == [("r", "t", "work", 2, False)]
