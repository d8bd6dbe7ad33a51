"""What has ended is durable, however long what runs beside it or after it takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from crash_kit import Counted, done, durable, eventually
from flow_kit import ALONE, State

from flujo_core import Flujo, Map, MemoryStore, Parallel, Plugin, RunEnd, RunStart, step


async def kinds(store: MemoryStore) -> list[tuple[str, str]]:
    return [(one.kind, one.address) for one in await store.read("r")]


async def begun(store: MemoryStore, address: str) -> None:
    """Waits until a step has begun."""
    await recorded(store, ("step_started", address))


async def recorded(store: MemoryStore, wanted: tuple[str, str]) -> None:
    """Waits until an event is in the store."""

    async def is_there() -> bool:
        return wanted in await kinds(store)

    await eventually(is_there)


async def left_when(flujo: Any, store: MemoryStore, given: Any, wanted: tuple[str, str]) -> None:
    """Begins run ``r``, and cancels it once that is in the store."""
    run = asyncio.create_task(flujo.run_async(given, run_id="r"))
    await recorded(store, wanted)
    run.cancel()
    await asyncio.wait([run])


@pytest.mark.parametrize("on_error", ["cancel", "collect"])
def test_a_branch_that_has_ended_is_durable_while_the_others_run(on_error: Any) -> None:
    async def main() -> None:
        store, never = MemoryStore(), asyncio.Event()

        @step
        async def quick(value: int) -> int:
            await begun(store, "fan[slow]/slow")
            return value

        @step
        async def slow(value: int) -> int:
            await never.wait()
            return value

        node = Parallel("fan", quick=quick, slow=slow, on_error=on_error)
        await left_when(durable(node, store), store, 1, ("step_completed", "fan[quick]/quick"))

    done(main())


def test_a_branch_that_has_failed_is_durable_while_the_others_run() -> None:
    async def main() -> None:
        store, never = MemoryStore(), asyncio.Event()

        @step
        async def fail(value: int) -> int:
            await begun(store, "fan[slow]/slow")
            raise ValueError

        @step
        async def slow(value: int) -> int:
            await never.wait()
            return value

        node = Parallel("fan", fail=fail, slow=slow, on_error="collect")
        await left_when(durable(node, store), store, 1, ("step_failed", "fan[fail]/fail"))

    done(main())


def test_an_item_that_has_ended_is_durable_while_the_source_takes_its_time() -> None:
    async def main() -> None:
        store, bodies, never = MemoryStore(), Counted(), asyncio.Event()

        async def numbers(value: int, after: str | None = None) -> AsyncIterator[int]:
            yield value
            await never.wait()

        node = Map("each", bodies.plus("add"), over=numbers, key=str)
        await left_when(durable(node, store), store, 1, ("step_completed", "each[1]/add"))

    done(main())


class Lingers(Plugin):
    """Takes its time when the pipeline is through."""

    name = "lingers"

    async def around_run(self, start: RunStart, proceed: Callable[[], Awaitable[RunEnd]], /) -> RunEnd:
        end = await proceed()
        await asyncio.Event().wait()
        return end


def test_the_last_step_is_durable_while_a_plugin_takes_its_time() -> None:
    async def main() -> None:
        store, bodies = MemoryStore(), Counted()
        flujo: Any = Flujo(bodies.plus("add"), plugins=[Lingers()], settings=ALONE, store=store, context=State)
        await left_when(flujo, store, 1, ("step_completed", "add"))

    done(main())
