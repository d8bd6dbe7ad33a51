"""What is different between two runs."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from plugin_kit import alone

from flujo_core import Branch, Cache, Loop, MemoryCache, MemoryStore, Retry, RunFailed, UnknownRun, step

FAILS: set[int] = set()
CANARY = 170717


@step
async def double(x: int) -> int:
    return x * 2


@step
async def shaky(x: int) -> int:
    if x in FAILS:
        FAILS.discard(x)
        raise ConnectionError
    return x


@step
async def last(x: int) -> int:
    if x > 1000:
        raise ValueError(x)
    return x


choice = Branch("choice", on=lambda x: x > 10).case(True, double.named("big")).case(False, double.named("small"))
loop = Loop("loop", double.named("more"), until=lambda x: x > 40, max_iterations=9)
PIPELINE = shaky.policy(retry=Retry(attempts=2, backoff=0)) >> double >> choice >> loop >> last


def compared(*inputs: int) -> Any:
    flujo: Any = alone(PIPELINE, store=MemoryStore())

    async def main() -> Any:
        for run_id, value in zip("ab", inputs, strict=True):
            with suppress(RunFailed):
                await flujo.run_async(value, run_id=run_id)
        return await flujo.diff_async("a", "b")

    return asyncio.run(main())


def test_two_runs_of_the_same_are_the_same() -> None:
    found = compared(3, 3)
    assert found.is_same and found.changes == () and found.run_ids == ("a", "b")
    assert {part.verdict for part in found.parts} == {"same"}


def test_each_difference_is_told_by_its_address() -> None:
    found = compared(3, 7)
    parts = {part.address: part for part in found.parts}
    assert found.changes == ("input", "output") and not found.is_same
    assert parts["double"].changes == ("output",)
    assert parts["choice"].changes == ("decisions",)
    assert (parts["choice"].first.decisions[0], parts["choice"].second.decisions[0]) == ("case False", "case True")
    assert parts["choice[False]/small"].verdict == "only_first" and parts["choice[True]/big"].verdict == "only_second"
    assert parts["choice[True]/big"].first is None
    assert parts["loop"].first.decisions == ("2 iterations",) and parts["loop"].second.decisions == ("1 iterations",)
    assert [part.address for part in found.parts][:3] == ["shaky", "double", "choice"]


def test_attempts_and_failures_are_told() -> None:
    FAILS.add(5)
    assert {part.address: part.changes for part in compared(5, 5).parts}["shaky"] == ("attempts",)
    found = compared(1, CANARY)
    parts = {part.address: part for part in found.parts}
    assert found.statuses == ("completed", "failed") and "status" in found.changes
    assert parts["last"].changes == ("status", "output", "error") and parts["last"].second.error == "ValueError"
    assert parts["last"].second.output_digest == ""
    assert str(CANARY) not in repr(found)


def test_what_came_from_the_cache_is_told() -> None:
    cached = double.policy(cache=Cache()) >> double.named("again")
    flujo: Any = alone(cached.named("all").policy(cache=Cache()), store=MemoryStore(), cache=MemoryCache())

    async def main() -> None:
        await flujo.run_async(3, run_id="a")
        await flujo.run_async(3, run_id="b")
        found = await flujo.diff_async("a", "b")
        parts = {part.address: part for part in found.parts}
        assert "decisions" in parts["all"].changes and parts["all"].second.decisions == ("output of its cache",)
        assert parts["all"].second.output_digest and parts["all/double"].verdict == "only_first"
        with pytest.raises(UnknownRun):
            await flujo.diff_async("a", "nobody")

    asyncio.run(main())
