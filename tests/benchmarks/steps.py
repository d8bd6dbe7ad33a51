"""What a step costs: against plain asyncio that validates and records, and with a large context against a small one."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from measure import Ratio, compare
from pydantic import BaseModel, TypeAdapter

from flujo_core import Flujo, Pipeline, PipelineContext, Step, step

LENGTH = 100
LONG = 1000
"""Steps of the context's chain: a run takes its context in once, which costs in proportion to its size."""


class Note(BaseModel):
    text: str
    number: int


class Small(PipelineContext):
    count: int = 0
    payload: str = "x" * 1024
    items: list[str] = ["x" * 64] * 8


class Large(PipelineContext):
    count: int = 0
    payload: str = "x" * (1024 * 1024 * 5)
    items: list[str] = ["x" * 64] * 81920


class Recorded:
    """What plain code would keep of a step."""

    __slots__ = ("output", "seconds")

    def __init__(self, output: object, seconds: float) -> None:
        self.output = output
        self.seconds = seconds


async def measure() -> list[Ratio]:
    return [await _chain(), await _models(), await _context()]


async def _chain() -> Ratio:
    async def same(text: str) -> str:
        return text

    functions = [same] * LENGTH
    validate = TypeAdapter(str).validator.validate_python

    async def plain() -> None:
        value, records = "a", []
        for function in functions:
            start = perf_counter()
            value = validate(await function(value))
            records.append(Recorded(value, perf_counter() - start))
        assert value == "a"

    flujo = Flujo(_repeated(step(same)))

    async def ours() -> None:
        assert (await flujo.run_async("a")).output == "a"

    return await compare("chain of 100 trivial async steps, per step", ours, plain, per=LENGTH, limit=8)


async def _models() -> Ratio:
    async def count(note: Note) -> Note:
        return {"text": note.text, "number": note.number + 1}  # type: ignore[return-value]

    validate = TypeAdapter(Note).validator.validate_python

    async def plain() -> None:
        note, records = Note(text="a", number=0), []
        for _ in range(LENGTH):
            start = perf_counter()
            note = validate(await count(note))
            records.append(Recorded(note, perf_counter() - start))
        assert note.number == LENGTH

    flujo = Flujo(_repeated(step(count)))

    async def ours() -> None:
        assert (await flujo.run_async(Note(text="a", number=0))).output.number == LENGTH

    return await compare("a pydantic model in and out, per step", ours, plain, per=LENGTH, limit=4)


async def _context() -> Ratio:
    async def touch(text: str, context: PipelineContext) -> str:
        context.count += 1  # type: ignore[attr-defined]
        return text

    def runner(kind: type[PipelineContext]) -> Any:
        flujo = Flujo(_repeated(step(touch), LONG), context=kind)
        begin = kind()

        async def run() -> None:
            assert (await flujo.run_async("a", context=begin)).output == "a"

        return run

    what = "a step that touches one int of a 10 MB context, against 1 KB"
    return await compare(what, runner(Large), runner(Small), per=LONG, limit=1.3)


def _repeated(one: Step[Any, Any], length: int = LENGTH) -> Pipeline[Any, Any]:
    return Pipeline(None, tuple(one.named(f"s{n}") for n in range(length)))
