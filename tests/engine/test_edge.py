"""The edge between what a journal has and what goes on: nothing recorded may be passed over."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from crash_kit import Counted, Dying, done, durable

from flujo_core import (
    Cache,
    IncompatiblePipeline,
    Map,
    MemoryStore,
    Parallel,
    RunFailed,
    StoreError,
    step,
)
from flujo_core.engine.past import Edge, Past
from flujo_core.model.event import CallCompleted, StepCompleted, StepStarted
from flujo_core.model.patch import NO_PATCH
from flujo_core.store.codec import encode


def test_what_is_recorded_and_asked_for_by_nobody_is_named() -> None:
    events = [
        StepStarted("r", None, 2, 1.0, "a", 1),
        StepCompleted("r", None, 3, 1.0, "a", 1, "x", NO_PATCH, 0.1, None),
        StepStarted("r", None, 4, 1.0, "loop[1]/b", 1),
    ]

    async def main() -> None:
        edge = Edge(Past("r", map(encode, events)))
        with pytest.raises(
            IncompatiblePipeline, match=r"'a' has run and is not in the pipeline any more.*'loop\[1\]/b'"
        ):
            edge.check()
        assert edge.step("a") is not None
        with pytest.raises(IncompatiblePipeline, match=r"'loop\[1\]/b'"):
            await edge.reach()

    done(main())


def test_what_an_attempt_that_is_over_gives_late_is_not_the_next_ones() -> None:
    events = [
        StepStarted("r", None, 2, 1.0, "a", 1),
        StepStarted("r", None, 3, 1.0, "a", 2),
        CallCompleted("r", None, 4, 1.0, "a!tool.late", 1, "digest", None, NO_PATCH, None),
        CallCompleted("r", None, 5, 1.0, "a!tool.new", 2, "digest", None, NO_PATCH, None),
    ]
    assert list(Past("r", map(encode, events)).steps["a"].calls) == ["tool.new"]


def test_a_part_that_has_ended_is_not_run_again_where_a_later_one_is_tried_again() -> None:
    async def main() -> None:
        store, bodies = MemoryStore(), Counted()
        node = (bodies.plus("a") >> bodies.plus("b")).named("part") >> bodies.plus("c", fails=2)
        with pytest.raises(RunFailed):
            await durable(node, store).run_async(1, run_id="r")
        with pytest.raises(RunFailed):
            await durable(node, store).resume_async("r", retry_failed=True)
        assert (await durable(node, store).resume_async("r", retry_failed=True)).output == 4
        assert (bodies["part/a"], bodies["part/b"], bodies["c"]) == (1, 1, 3)

    done(main())


class SlowCache:
    """Takes a while to keep what it is given."""

    async def get(self, key: str, /) -> bytes | None:
        return None

    async def put(self, key: str, entry: bytes, /, *, ttl: float | None = None) -> None:
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("is_given", [True, False])
def test_a_map_of_nothing_that_had_just_begun_goes_on(is_given: bool) -> None:
    @step
    async def linger(values: list[int]) -> int:
        await asyncio.sleep(0.001)
        return 1

    @step
    async def after(value: int) -> int:
        return value

    async def main() -> None:
        store = MemoryStore()
        over: Any = {} if is_given else {"over": lambda values: [one for one in values if one > 9]}
        each = Map("each", after, **over).policy(cache=Cache())
        node = Parallel("both", each=each, other=linger >> after)
        dying = Dying(store, 1)
        with pytest.raises(StoreError):
            await durable(node, dying, cache=SlowCache()).run_async([], run_id="r")
        kinds = [(one.kind, one.address) for one in await store.read("r")]
        assert ("node_started", "both[each]/each") in kinds and ("node_completed", "both[each]/each") not in kinds
        assert (await durable(node, store).resume_async("r")).output == {"each": [], "other": 1}

    done(main())
