"""Parts with policies that go on wherever their run was left."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from crash_kit import Counted, crashed, done, durable
from flow_kit import State
from passing_store import Passing

from flujo_core import (
    Cache,
    FlujoError,
    Map,
    MemoryStore,
    Parallel,
    Pipeline,
    Record,
    Retry,
    RunFailed,
    RunInfo,
    StoreError,
    step,
)
from flujo_core.store.protocol import Lease


class Odd(Exception):
    """An error that a retry names."""


def part(bodies: Counted, fails: int) -> Pipeline[Any, Any]:
    """Two steps, the second of which fails in the first attempts of what is around them."""

    @step(name="second")
    async def second(value: int, context: State, info: RunInfo) -> int:
        bodies.note(info)
        context.log.append("second")
        if bodies[info.address] <= fails:
            raise Odd
        return value + 1

    return (bodies.plus("first") >> second).named("part")


@step
async def instead(value: int, context: State) -> int:
    context.log.append("instead")
    return -value


CASES = {
    "a retry": lambda bodies: part(bodies, 1).policy(retry=Retry(3, on=(Odd,), jitter=0.0)),
    "a fallback": lambda bodies: part(bodies, 9).policy(fallback=instead >> bodies.plus("after")),
    "both": lambda bodies: part(bodies, 9).policy(retry=Retry(2, on=(Odd,)), fallback=instead >> bodies.plus("after")),
    "a cache": lambda bodies: (
        Map(
            "each",
            part(bodies, 0).policy(cache=Cache(key=lambda value, context: str(value))),
            over=lambda value: [value, value + 1, value],
            max_concurrency=1,
        )
        >> bodies.total()
    ),
}


@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_a_part_comes_to_the_same_wherever_its_run_was_left(name: str, keeps: bool) -> None:
    async def main() -> None:
        undisturbed = MemoryStore()
        make = CASES[name]
        wanted = await durable(make(Counted()) >> instead.named("end"), undisturbed).run_async(1, run_id="r")
        at = 1
        while True:
            store, bodies = MemoryStore(), Counted()
            node = make(bodies) >> instead.named("end")
            if not await crashed(node, 1, store, at, keeps=keeps):
                break
            if not await store.read("r"):
                at += 1
                continue
            result = await durable(node, store).resume_async("r")
            assert (result.output, result.context) == (wanted.output, wanted.context), at
            again = await durable(node, store).resume_async("r")
            assert (again.output, again.context) == (wanted.output, wanted.context), at
            at += 1
        assert at > 3

    done(main())


def test_a_retry_knows_the_error_of_a_branch_from_before_the_crash() -> None:
    async def main() -> None:
        store, bodies = MemoryStore(), Counted()

        class Local(Odd):
            """A class that nobody finds by its name."""

        @step
        async def odd(value: int, info: RunInfo) -> int:
            bodies.note(info)
            if bodies[info.address] == 1:
                raise Local
            return value

        node = Parallel("both", odd=odd, slow=linger).policy(retry=Retry(2, on=(Odd,)))
        kept = FailedThenDead(store)
        with suppress(FlujoError):
            await durable(node, kept).run_async(1, run_id="r")
        assert (await store.read("r"))[-1].kind == "step_failed"
        assert (await durable(node, store).resume_async("r")).output == {"odd": 1, "slow": 1}

    done(main())


@step
async def linger(value: int) -> int:
    await asyncio.sleep(0.01)
    return value


class FailedThenDead(Passing):
    """A store that dies once it has kept that a step failed."""

    async def append(
        self, records: Sequence[Record], lease: Lease, /, *, taken: int | None = None, release: bool = False
    ) -> None:
        if any(one.kind == "step_failed" for one in await self.read(lease.run_id)):
            raise StoreError("the process is dead")
        await super().append(records, lease, taken=taken, release=release)


def test_a_part_that_waits_for_its_branches_is_called_off_by_what_had_failed_before() -> None:
    async def main() -> None:
        store, bodies = MemoryStore(), Counted()

        @step
        async def odd(value: int) -> int:
            raise Odd

        inner = Parallel("inner", x=linger, y=linger) >> bodies.total()
        node = Parallel("outer", inner=inner, odd=odd)
        with suppress(FlujoError):
            await durable(node, FailedThenDead(store)).run_async(1, run_id="r")
        assert (await store.read("r"))[-1].kind == "step_failed"
        with pytest.raises(RunFailed, match=r"step 'outer\[odd\]/odd' failed: Odd"):
            await durable(node, store).resume_async("r")
        assert not bodies

    done(main())
