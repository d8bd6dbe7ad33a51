"""What control flow costs: against plain asyncio that validates and records the same."""

from __future__ import annotations

import asyncio
from statistics import median
from time import perf_counter, process_time

from measure import ROUNDS, Ratio, compare
from pydantic import TypeAdapter
from steps import Recorded

from flujo_core import Branch, Flujo, Loop, Map, Parallel, step

WIDTH = 1000
LONG = 10_000


async def measure() -> list[Ratio]:
    return [await _loop(), await _parallel(), await _map(), await _router(), await _history()]


async def _loop() -> Ratio:
    async def body(number: int) -> int:
        return number + 1

    validate = TypeAdapter(int).validator.validate_python

    async def plain() -> None:
        number, records = 0, []
        while True:
            start = perf_counter()
            number = validate(await body(number))
            records.append(Recorded(number, perf_counter() - start))
            if number >= WIDTH:
                return

    loop = Loop("loop", step(body), until=lambda number: number >= WIDTH, max_iterations=WIDTH + 1)
    flujo = Flujo(loop)

    async def ours() -> None:
        assert (await flujo.run_async(0)).output == WIDTH

    return await compare(f"loop of {WIDTH}, per iteration", ours, plain, per=WIDTH, limit=10)


async def branch(text: str) -> str:
    return text


async def _gathered() -> None:
    validate = TypeAdapter(str).validator.validate_python

    async def one() -> str:
        return validate(await branch("a"))

    assert len(await asyncio.gather(*[one() for _ in range(WIDTH)])) == WIDTH


async def _parallel() -> Ratio:
    flujo = Flujo(Parallel("fan", {f"branch{n}": step(name=f"step{n}")(branch) for n in range(WIDTH)}))

    async def ours() -> None:
        assert len((await flujo.run_async("a")).output) == WIDTH

    return await compare(f"parallel of {WIDTH} and join, per branch", ours, _gathered, per=WIDTH, limit=3)


async def _map() -> Ratio:
    flujo, items = Flujo(Map("each", step(branch))), ["a"] * WIDTH

    async def ours() -> None:
        assert len((await flujo.run_async(items)).output) == WIDTH

    return await compare(f"map over {WIDTH} and join, per item", ours, _gathered, per=WIDTH, limit=3)


async def _router() -> Ratio:
    async def left(text: str) -> str:
        return text + "L"

    async def right(text: str) -> str:
        return text + "R"

    functions = {"l": left, "r": right}
    validate = TypeAdapter(str).validator.validate_python
    turn = 0

    async def plain() -> None:
        nonlocal turn
        turn += 1
        text = "l" if turn & 1 else "r"
        assert validate(await functions[text](text))[-1] in "LR"

    route = Branch("route", on=lambda text: text).case("l", step(left)).case("r", step(right))
    flujo = Flujo(route)

    async def ours() -> None:
        nonlocal turn
        turn += 1
        assert (await flujo.run_async("l" if turn & 1 else "r")).output[-1] in "LR"

    return await compare("router, per run", ours, plain, per=1, limit=40)


async def _history() -> Ratio:
    """The last tenth of the iterations of one run against the first."""
    marks: list[float] = []

    async def body(number: int) -> int:
        if number % (LONG // 10) == 0:
            marks.append(process_time())
        return number + 1

    flujo = Flujo(Loop("loop", step(body), until=lambda number: number > LONG, max_iterations=LONG + 1))
    early, late = [], []
    for _ in range(ROUNDS):
        marks.clear()
        await flujo.run_async(0)
        early.append(marks[2] - marks[1])
        late.append(marks[10] - marks[9])
    per = LONG // 10
    return Ratio(f"step {LONG} of a run against step 1", median(late) / per, median(early) / per, 1.1)
