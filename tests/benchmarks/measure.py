"""How ratios are measured: the two sides take turns in one process, and the medians of their times are compared."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from statistics import median
from time import process_time
from typing import NamedTuple

ROUNDS = 15
ROUND_SECONDS = 0.05


class Ratio(NamedTuple):
    """One line of the table.

    Attributes:
        what: What was measured.
        ours: Seconds, or what ``unit`` says; the median over the rounds.
        baseline: Likewise, of what it is compared with.
        limit: The most that ``ours / baseline`` is meant to be.
        unit: What ``ours`` and ``baseline`` are millionths of, as they are shown.
    """

    what: str
    ours: float
    baseline: float
    limit: float
    unit: str = "µs"

    def __str__(self) -> str:
        ratio = self.ours / self.baseline
        verdict = "within" if ratio <= self.limit else "OVER"
        times = f"{self.ours * 1e6:>12.2f} {self.unit}  {self.baseline * 1e6:>12.2f} {self.unit}"
        return f"{self.what:<62} {times}  {ratio:>6.2f}x  {verdict} {self.limit:g}x"


async def compare(
    what: str,
    ours: Callable[[], Awaitable[object]],
    baseline: Callable[[], Awaitable[object]],
    *,
    per: int,
    limit: float,
    clock: Callable[[], float] = process_time,
) -> Ratio:
    """Compares two coroutine functions.

    Args:
        what: What is measured.
        ours: Our side.
        baseline: The other side.
        per: How many units one call does, such as the steps of a chain.
        limit: The most that the ratio is meant to be.
        clock: What is read: the CPU's time, or, of what waits for the disk, the wall's.
    """
    loops = [await _loops(side, clock) for side in (ours, baseline)]
    rounds = [
        [await _seconds(side, n, clock) / per for side, n in zip((ours, baseline), loops, strict=True)]
        for _ in range(ROUNDS)
    ]
    return Ratio(what, median(r[0] for r in rounds), median(r[1] for r in rounds), limit)


async def _loops(side: Callable[[], Awaitable[object]], clock: Callable[[], float]) -> int:
    """How many calls fill a round."""
    await side()
    return max(1, int(ROUND_SECONDS / max(await _seconds(side, 3, clock), 1e-7)))


async def _seconds(side: Callable[[], Awaitable[object]], loops: int, clock: Callable[[], float]) -> float:
    gc.collect()
    start = clock()
    for _ in range(loops):
        await side()
    return (clock() - start) / loops
