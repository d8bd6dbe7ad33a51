"""What a stream costs: how long a piece takes through joined steps, and what it costs against nested generators."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from statistics import median
from time import perf_counter
from typing import Any

from measure import Ratio, compare

from flujo_core import Chunk, Flujo, step

PIECES = 2000
RUNS = 51
FIVE = 5


async def measure() -> list[Ratio]:
    return [await _first(), await _pieces()]


def _joined(source: Any) -> Any:
    async def through(pieces: AsyncIterator[int]) -> AsyncIterator[int]:
        async for piece in pieces:
            yield piece

    node = step(name="source")(source)
    for number in range(FIVE):
        node = node >> step(name=f"s{number}")(through)
    return node


async def _first() -> Ratio:
    """From when the source has its first piece to when a listener has it from the fifth step behind it."""
    made = 0.0

    async def source(_: int) -> AsyncIterator[int]:
        nonlocal made
        await asyncio.sleep(0.001)
        made = perf_counter()
        yield 1

    flujo, times = Flujo(_joined(source)), list[float]()
    for _ in range(RUNS):
        async with flujo.stream(0) as run:
            async for event in run:
                if isinstance(event, Chunk) and event.address == f"s{FIVE - 1}":
                    times.append(perf_counter() - made)
    return Ratio("first piece through 5 joined steps, wall, against 1 ms", median(times), 0.001, 1)


async def _pieces() -> Ratio:
    async def source(stop: int) -> AsyncIterator[int]:
        for number in range(stop):
            yield number

    async def through(pieces: AsyncIterator[int]) -> AsyncIterator[int]:
        async for piece in pieces:
            yield piece

    flujo = Flujo(_joined(source))

    async def ours() -> None:
        assert len((await flujo.run_async(PIECES)).output) == PIECES

    async def plain() -> None:
        pieces: AsyncIterator[int] = source(PIECES)
        for _ in range(FIVE):
            pieces = through(pieces)
        assert len([piece async for piece in pieces]) == PIECES

    return await compare("a piece through 5 joined steps, against generators", ours, plain, per=PIECES, limit=50)
