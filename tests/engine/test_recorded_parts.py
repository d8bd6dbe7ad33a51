"""Parts that had ended when their run was left: what they came to stands, and nothing of them runs again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from crash_kit import Counted, Dying, crashed, done, durable, events_in
from flow_kit import adds

from flujo_core import From, Map, MemoryStore, Parallel, RunFailed, RunInfo, step


async def failure_of(node: Any, store: Any) -> RunFailed:
    """How a run of a node fails that is begun, or goes on."""
    with pytest.raises(RunFailed) as failed:
        await durable(node, store).run_async(1, run_id="r")
    return failed.value


def collecting(bodies: Counted) -> Any:
    part = (bodies.plus("a") >> bodies.plus("fails", fails=1)).named("part")
    return Parallel("both", part=part, other=bodies.plus("b") >> bodies.plus("c"), on_error="collect")


def falling(bodies: Counted) -> Any:
    return bodies.plus("a", fails=1).policy(fallback=bodies.plus("b") >> bodies.plus("fails", fails=1))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (collecting, "'both' failed: 1 of 2 failed: step 'both[part]/part/fails' failed: ValueError"),
        (falling, "step 'a' failed: ValueError; and so did its fallback: step 'a~fallback/fails' failed: ValueError"),
    ],
)
def test_a_failure_is_told_in_the_same_words_wherever_the_run_was_left(make: Any, said: str) -> None:
    async def main() -> None:
        whole = Dying()
        wanted = await failure_of(make(Counted()), whole)
        assert said in str(wanted)
        for at in range(2, whole.writes):
            store, bodies = MemoryStore(), Counted()
            assert await crashed(make(bodies), 1, store, at)
            over = {one.address for one in await events_in(store) if one.kind in ("step_completed", "step_failed")}
            before = dict(bodies.items())
            failed = await failure_of(make(bodies), store)
            assert str(failed) == str(wanted), at
            assert failed.result.context == wanted.result.context, at
            assert all(bodies[address] == before[address] for address in over), at

    done(main())


def test_what_a_part_gave_before_the_crash_can_be_named_after_it() -> None:
    @step
    async def sum_up(
        value: int, *, first: Annotated[int, From("first")], second: Annotated[int, From("second")]
    ) -> list[int]:
        return [value, first, second]

    async def main() -> None:
        whole = Dying()
        node = adds("a").named("first") >> (adds("b", 10) >> adds("c")).named("second") >> adds("d", 100) >> sum_up
        wanted = await durable(node, whole).run_async(1, run_id="r")
        assert wanted.output == [113, 2, 13]
        for at in range(1, whole.writes):
            store = MemoryStore()
            assert await crashed(node, 1, store, at)
            assert (await durable(node, store).run_async(1, run_id="r")).output == wanted.output, at

    done(main())


def test_after_an_item_that_had_failed_before_the_crash_none_is_taken() -> None:
    asked: list[str | None] = []

    async def items(value: int, after: str | None = None) -> AsyncIterator[int]:
        asked.append(after)
        for number in range(value, 9):
            yield number

    async def main() -> None:
        bodies, times = Counted(), 0

        @step
        async def fails(value: int, info: RunInfo) -> int:
            bodies.note(info)
            await (asyncio.sleep(0) if value == 1 else asyncio.Event().wait())
            raise ValueError("on purpose")

        node = Map("each", fails, over=items, key=str, max_concurrency=2)
        wanted = await failure_of(node, whole := Dying())
        for at in range(1, whole.writes):
            store = MemoryStore()
            assert await crashed(node, 1, store, at)
            if (await events_in(store))[-1].kind == "step_failed":
                asked.clear()
                bodies.clear()
                assert str(await failure_of(node, store)) == str(wanted)
                assert asked == [] and not bodies
                times += 1
        assert times

    done(main())


def test_a_fallback_that_was_not_needed_is_not_called_after_a_crash() -> None:
    async def main() -> None:
        store, bodies = MemoryStore(), Counted()
        node = bodies.plus("a").policy(fallback=bodies.plus("b", 5)) >> bodies.plus("c")
        assert await crashed(node, 1, store, 1)
        assert (await durable(node, store).run_async(1, run_id="r")).output == 3
        assert dict(bodies.items()) == {"a": 1, "c": 1}

    done(main())
