"""Segments of runs that were left, and resumed; by the same code or another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from crash_kit import Counted, Dying, crashed, done, durable, events_in
from flow_kit import State

from flujo_core import (
    IncompatiblePipeline,
    MemoryStore,
    Parallel,
    Poisoned,
    RunFailed,
    RunInfo,
    SegmentRestarted,
    StoreError,
    step,
)


class Streams(Counted):
    """Streaming steps that count how often they began."""

    def give(self, name: str = "give", *, fails: int = 0) -> Any:
        @step(name=name)
        async def stream(value: int, context: State, info: RunInfo) -> AsyncIterator[int]:
            self.note(info)
            context.log.append(name)
            yield value
            if self[info.address] <= fails:
                raise ValueError("on purpose")
            yield value + 1

        return stream

    def twice(self, name: str = "twice") -> Any:
        @step(name=name)
        async def stream(pieces: AsyncIterator[int], context: State, info: RunInfo) -> AsyncIterator[int]:
            self.note(info)
            context.log.append(name)
            async for piece in pieces:
                yield piece * 2

        return stream

    def add(self, name: str = "add", was: str | None = None) -> Any:
        @step(name=name, was=was)
        async def add(pieces: AsyncIterator[int], context: State, info: RunInfo) -> int:
            self.note(info)
            context.log.append(name)
            return sum([piece async for piece in pieces])

        return add


NODES = {
    "alone": lambda bodies: bodies.give() >> bodies.total("end"),
    "a segment": lambda bodies: bodies.plus("a") >> bodies.give() >> bodies.twice() >> bodies.add() >> bodies.plus("b"),
    "in a scope": lambda bodies: (bodies.give() >> bodies.add()).named("scope") >> bodies.plus("b"),
    "at the end": lambda bodies: bodies.give() >> bodies.twice(),
}


@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("name", NODES)
def test_a_segment_comes_to_the_same_wherever_its_run_was_left(name: str, keeps: bool) -> None:
    async def main() -> None:
        wanted = await durable(NODES[name](Streams()), MemoryStore()).run_async(1, run_id="r")
        at, restarted = 1, 0
        while True:
            store, bodies = MemoryStore(), Streams()
            if not await crashed(NODES[name](bodies), 1, store, at, keeps=keeps):
                break
            before = await events_in(store)
            if before:
                committed = {event.address for event in before if event.kind == "step_completed"}
                began = dict(bodies)
                result = await durable(NODES[name](bodies), store).resume_async("r")
                assert (result.output, result.context) == (wanted.output, wanted.context), at
                assert {one: bodies[one] for one in committed} == {one: began[one] for one in committed}
                again = await durable(NODES[name](bodies), store).resume_async("r")
                assert (again.output, again.context) == (wanted.output, wanted.context), at
                restarts = [one for one in await events_in(store) if isinstance(one, SegmentRestarted)]
                restarted += len(restarts)
                assert all(one.attempt == 1 and one.steps for one in restarts)
            at += 1
        assert at > 2 and restarted > 0

    done(main())


def test_a_restart_is_recorded_before_the_steps_begin_again() -> None:
    async def main() -> None:
        store, bodies = MemoryStore(), Streams()
        node = bodies.give() >> bodies.add()
        assert await crashed(node, 1, store, 1)
        await durable(node, store).resume_async("r")
        kinds = [(one.kind, one.address) for one in await events_in(store)]
        assert kinds[-7:] == [
            ("run_resumed", ""),
            ("segment_restarted", "give"),
            ("step_started", "give"),
            ("step_started", "add"),
            ("step_completed", "give"),
            ("step_completed", "add"),
            ("run_ended", ""),
        ]
        assert bodies.keys["give"] and len(bodies.keys["give"]) == 1

    done(main())


def test_a_failure_in_a_segment_counts_until_it_is_tried_again() -> None:
    async def main() -> None:
        store, bodies = MemoryStore(), Streams()
        node = bodies.give(fails=1) >> bodies.add()
        with pytest.raises(RunFailed):
            await durable(node, store).run_async(1, run_id="r")
        with pytest.raises(RunFailed):
            await durable(node, store).resume_async("r")
        assert bodies["give"] == 1
        result = await durable(node, store).resume_async("r", retry_failed=True)
        assert result.output == 3 and bodies["give"] == 2

    done(main())


def test_a_failure_in_a_segment_is_not_tried_again_after_a_crash() -> None:
    async def main() -> None:
        bodies, at = Streams(), 1
        node = bodies.give(fails=1) >> bodies.add()
        while await crashed(node, 1, store := MemoryStore(), at):
            began = bodies["give"]
            if any(one.kind == "step_failed" for one in await events_in(store)):
                with pytest.raises(RunFailed, match="step 'give' failed"):
                    await durable(node, store).resume_async("r")
                assert bodies["give"] == began
                return
            bodies.clear()
            at += 1
        raise AssertionError("it never crashed behind the failure")

    done(main())


@pytest.mark.parametrize("times", [1, 3])
def test_a_segment_that_was_begun_too_often_is_poisoned(times: int) -> None:
    async def main() -> None:
        store, bodies = MemoryStore(), Streams()
        node = bodies.give() >> bodies.add()
        assert await crashed(node, 1, store, 1)
        for _ in range(times - 1):
            with pytest.raises(StoreError, match="died"):
                await durable(node, Dying(store, 3)).resume_async("r")
        if times < 3:
            assert (await durable(node, store).resume_async("r")).output == 3
            return
        with pytest.raises(RunFailed) as caught:
            await durable(node, store).resume_async("r")
        assert isinstance(caught.value.__cause__, Poisoned)

    done(main())


async def left_behind(node: Any, address: str) -> MemoryStore:
    """A store with a run that died when a step was committed, and nothing after it had begun."""
    for at in range(1, 20):
        store = MemoryStore()
        assert await crashed(node, 1, store, at)
        if any(one.kind == "step_completed" and one.address == address for one in await events_in(store)):
            return store
    raise AssertionError(address)


def test_a_step_that_is_put_into_a_committed_segment_is_refused() -> None:
    async def main() -> None:
        bodies = Streams()
        store = await left_behind(bodies.give() >> bodies.add() >> bodies.plus("b"), "add")
        changed = bodies.give() >> bodies.twice() >> bodies.add() >> bodies.plus("b")
        with pytest.raises(IncompatiblePipeline, match="'twice' is new in a place where it would be skipped"):
            await durable(changed, store).resume_async("r")

    done(main())


def test_what_was_committed_streams_into_a_step_that_is_put_behind_it() -> None:
    async def main() -> None:
        bodies = Streams()

        def node(*behind: Any) -> Any:
            left = bodies.give() >> bodies.twice()
            for one in behind:
                left = left >> one
            return Parallel("fan", left=left, right=bodies.asks("ask"))

        store = MemoryStore()
        assert (await durable(node(), store).run_async(1, run_id="r")).status == "paused"
        changed = durable(node(bodies.twice("again"), bodies.add()), store)
        result = await changed.resume_async("r", 5)
        assert result.output == {"left": 12, "right": 5} and bodies["fan[left]/give"] == 1 == bodies["fan[left]/twice"]

    done(main())


def test_a_step_that_is_put_behind_what_was_committed_takes_what_it_wants() -> None:
    @step
    async def first(pieces: AsyncIterator[int]) -> int:
        return await anext(pieces)

    async def main() -> None:
        bodies, store = Streams(), MemoryStore()

        @step
        async def many(value: int) -> AsyncIterator[int]:
            for number in range(100):
                yield value + number

        def node(*behind: Any) -> Any:
            left = many
            for one in behind:
                left = left >> one
            return Parallel("fan", left=left, right=bodies.asks("ask"))

        assert (await durable(node(), store).run_async(7, run_id="r")).status == "paused"
        result = await durable(node(first), store).resume_async("r", 5)
        assert result.output == {"left": 7, "right": 5}

    done(main())


def test_a_step_of_an_open_segment_that_has_another_name_keeps_its_key() -> None:
    async def main() -> None:
        store, bodies = MemoryStore(), Streams()
        assert await crashed(bodies.give() >> bodies.add(), 1, store, 1)
        renamed = bodies.give() >> bodies.add("sum", was="add")
        assert (await durable(renamed, store).resume_async("r")).output == 3
        assert bodies.keys["add"] == bodies.keys["sum"] if bodies["add"] else bodies["sum"] == 1

    done(main())
