"""A run's events as they happen: order, backpressure, leaving early."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flujo_core import (
    Flujo,
    FlujoError,
    InvalidValue,
    MemoryStore,
    Node,
    PipelineContext,
    Retry,
    RunEnded,
    RunExists,
    RunFailed,
    RunStarted,
    StepCompleted,
    Veto,
    step,
)
from flujo_core.model.run import fold
from flujo_core.store.codec import decode


@step
async def plain(value: int) -> int:
    return value + 1


@step
async def bad(value: int) -> int:
    raise ValueError("CANARY")


def chain(length: int, counter: list[int] | None = None) -> Node[int, int]:
    async def count(value: int) -> int:
        if counter is not None:
            counter.append(value)
        return value + 1

    pipeline: Any = step(name="s0")(count)
    for number in range(1, length):
        pipeline = pipeline >> step(name=f"s{number}")(count)
    node: Node[int, int] = pipeline
    return node


async def settle() -> None:
    """Lets everything that can go on go on."""
    for _ in range(50):
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)


@pytest.mark.parametrize("store", [None, "memory://"])
def test_a_stream_gives_every_event_in_order_and_then_the_result(store: str | None) -> None:
    async def main() -> None:
        async with Flujo(plain >> plain.named("b"), store=store).stream(1, run_id="r", tenant="t") as run:
            events = [event async for event in run]
        assert [event.kind for event in events] == [
            "run_started", "step_started", "step_completed", "step_started", "step_completed", "run_ended",
        ]  # fmt: skip
        assert [event.sequence for event in events] == [1, 2, 3, 4, 5, 6]
        assert {(event.run_id, event.tenant) for event in events} == {("r", "t")}
        assert [event.address for event in events] == ["", "plain", "plain", "b", "b", ""]
        assert run.result.output == 3 and run.result.status == "completed"
        state = fold(events)
        assert state.output == 3 and list(state.steps) == ["plain", "b"]

    asyncio.run(main())


def test_events_are_given_as_they_happen_and_not_at_the_end() -> None:
    async def main() -> None:
        gate = asyncio.Event()

        @step
        async def wait(value: int) -> int:
            await gate.wait()
            return value

        async with Flujo(plain >> wait).stream(1) as run:
            async for event in run:
                if isinstance(event, StepCompleted) and event.address == "plain":
                    gate.set()
        assert run.result.output == 2

    asyncio.run(asyncio.wait_for(main(), 10))


def test_an_event_is_durable_before_the_stream_gives_it() -> None:
    async def main() -> None:
        store = MemoryStore()
        async with Flujo(chain(3), store=store).stream(1, run_id="r") as run:
            async for event in run:
                assert len(await store.read("r")) >= event.sequence

    asyncio.run(main())


def test_a_failure_is_raised_after_the_last_event() -> None:
    async def main() -> None:
        events: list[Any] = []
        with pytest.raises(RunFailed) as failed:
            async with Flujo(plain >> bad).stream(1) as run:
                async for event in run:
                    events.append(event)
        assert isinstance(events[-1], RunEnded) and events[-1].status == "failed"
        assert failed.value.result.status == "failed"

    asyncio.run(main())


def test_a_refusal_is_raised_after_the_last_event_too() -> None:
    async def veto(call: Any) -> None:
        raise Veto("no")

    async def main() -> None:
        events: list[Any] = []
        with pytest.raises(RunFailed):
            async with Flujo(plain, pre_step_execution=veto).stream(1) as run:
                async for event in run:
                    events.append(event)
        assert events[-1].status == "refused"

    asyncio.run(main())


def test_a_failure_that_nobody_heard_of_is_raised_when_the_block_is_left() -> None:
    async def main() -> None:
        with pytest.raises(RunFailed):
            async with Flujo(bad).stream(1):
                await settle()

    asyncio.run(main())


def test_the_result_of_a_failed_run_raises_its_failure() -> None:
    async def main() -> None:
        async with Flujo(bad).stream(1) as run:
            with pytest.raises(RunFailed):
                async for _ in run:
                    pass
            with pytest.raises(RunFailed):
                _ = run.result

    asyncio.run(main())


def test_an_error_of_the_consumer_is_not_replaced_by_the_runs() -> None:
    async def main() -> None:
        with pytest.raises(KeyError, match="mine"):
            async with Flujo(bad).stream(1):
                await settle()
                raise KeyError("mine")

    asyncio.run(main())


def test_an_input_that_does_not_fit_is_raised_when_the_stream_is_read() -> None:
    async def main() -> None:
        with pytest.raises(InvalidValue):
            async with Flujo(plain).stream("CANARY") as run:  # type: ignore[arg-type]
                async for _ in run:
                    pass

    asyncio.run(main())


def test_a_taken_run_id_is_raised_when_the_stream_is_read() -> None:
    async def main() -> None:
        flujo = Flujo(plain, store=MemoryStore())
        await flujo.run_async(1, run_id="r")
        with pytest.raises(RunExists):
            async with flujo.stream(2, run_id="r") as run:
                async for _ in run:
                    raise AssertionError("an event of a run that may not be")

    asyncio.run(main())


def test_a_slow_consumer_makes_the_run_wait() -> None:
    async def main() -> None:
        counter: list[int] = []
        async with Flujo(chain(300, counter)).stream(0) as run:
            async for event in run:
                assert isinstance(event, RunStarted)
                break
            await settle()
            waiting = len(counter)
            assert waiting < 150, "the run ran away from its consumer"
            await settle()
            assert len(counter) == waiting
            rest = [event async for event in run]
        assert len(rest) == 2 * 300 + 1 and run.result.output == 300

    asyncio.run(main())


@pytest.mark.parametrize("taken", range(0, 71, 1))
def test_leaving_at_any_event_cancels_the_run_leaves_no_task_and_ends_the_journal_once(taken: int) -> None:
    """With 64 events in between, the last ones wait for the consumer while it leaves."""

    async def main() -> None:
        store = MemoryStore()
        before = asyncio.all_tasks()
        async with Flujo(chain(33), store=store).stream(0, run_id="r") as run:
            if taken:
                seen = 0
                async for _ in run:
                    seen += 1
                    if seen == taken:
                        break
            await settle()
        await settle()
        assert asyncio.all_tasks() == before
        events = [decode(record) for record in await store.read("r")]
        kinds = [event.kind for event in events]
        assert kinds.count("run_ended") == 1 and kinds[-1] == "run_ended", kinds[-4:]
        steps = kinds.count("step_completed")
        assert fold(events).status in (("completed", "cancelled") if steps == 33 else ("cancelled",))

    asyncio.run(main())


def test_leaving_early_cancels_the_step_that_runs() -> None:
    async def main() -> None:
        cancelled: list[int] = []

        class State(PipelineContext):
            count: int = 0

        async def wait(value: int, context: State) -> int:
            context.count = 1
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append(1)
                raise
            return value

        wait.__annotations__["context"] = State
        store = MemoryStore()
        async with Flujo(step(retry=Retry(attempts=3))(wait), context=State, store=store).stream(1, run_id="r") as run:
            async for _ in run:
                await settle()
                break
        assert cancelled == [1]
        state = fold([decode(record) for record in await store.read("r")])
        assert state.status == "cancelled" and state.context["count"] == 0

    asyncio.run(asyncio.wait_for(main(), 10))


def test_an_exception_in_the_block_cancels_the_run() -> None:
    async def main() -> None:
        store = MemoryStore()
        with pytest.raises(ZeroDivisionError):
            async with Flujo(chain(200), store=store).stream(0, run_id="r") as run:
                async for _ in run:
                    _ = 1 // 0
        assert (await store.runs())[0].status == "cancelled"

    asyncio.run(main())


def test_a_consumer_that_is_cancelled_cancels_the_run() -> None:
    async def main() -> None:
        store = MemoryStore()

        @step
        async def wait(value: int) -> int:
            await asyncio.sleep(60)
            return value

        async def consume() -> None:
            async with Flujo(wait, store=store).stream(0) as run:
                async for _ in run:
                    pass

        before = asyncio.all_tasks()
        task = asyncio.create_task(consume())
        await settle()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() and asyncio.all_tasks() == before
        assert (await store.runs())[0].status == "cancelled"

    asyncio.run(asyncio.wait_for(main(), 10))


def test_the_result_before_the_end_says_that_there_is_none_yet() -> None:
    async def main() -> None:
        async with Flujo(chain(100)).stream(0) as run:
            with pytest.raises(FlujoError, match="not ended"):
                _ = run.result

    asyncio.run(main())


def test_the_result_after_leaving_early_is_a_flujo_error_and_no_cancellation_of_the_caller() -> None:
    async def main() -> None:
        async with Flujo(chain(100)).stream(0) as run:
            pass
        with pytest.raises(FlujoError):
            _ = run.result

    asyncio.run(main())


def test_iterating_can_be_interrupted_and_taken_up_again() -> None:
    async def main() -> None:
        kinds: list[str] = []
        async with Flujo(plain).stream(1) as run:
            async for event in run:
                kinds.append(event.kind)
                break
            async for event in run:
                kinds.append(event.kind)
            async for _ in run:
                raise AssertionError("events after the last one")
        assert kinds == ["run_started", "step_started", "step_completed", "run_ended"]

    asyncio.run(main())


def test_the_retried_attempts_show_as_events() -> None:
    calls: list[int] = []

    @step(retry=Retry(attempts=2))
    async def flaky(value: int) -> int:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("CANARY")
        return value

    async def main() -> None:
        async with Flujo(flaky).stream(1) as run:
            kinds = [event.kind async for event in run]
        assert kinds == [
            "run_started", "step_started", "attempt_failed", "step_started", "step_completed", "run_ended",
        ]  # fmt: skip

    asyncio.run(main())


def test_two_streams_side_by_side_have_their_own_events() -> None:
    async def main() -> None:
        flujo = Flujo(chain(10))
        async with flujo.stream(0, run_id="a") as one, flujo.stream(0, run_id="b") as two:
            assert {event.run_id async for event in one} == {"a"}
            assert {event.run_id async for event in two} == {"b"}

    asyncio.run(main())
