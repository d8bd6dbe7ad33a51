"""What type checkers see of streaming steps; checked, and run, by ``test_typing.py``."""

from collections.abc import AsyncIterator
from typing import assert_type

from flujo_core import Flujo, Pipeline, Step, StreamingPipeline, StreamingStep, step


@step
async def chat(question: str) -> AsyncIterator[str]:
    yield question


@step
async def mask(tokens: AsyncIterator[str]) -> AsyncIterator[str]:
    async for token in tokens:
        yield token


@step(name="lengths")
async def lengths(tokens: AsyncIterator[str]) -> AsyncIterator[int]:
    async for token in tokens:
        yield len(token)


@step
async def total(numbers: AsyncIterator[int]) -> int:
    return sum([number async for number in numbers])


@step
async def mean(numbers: list[int]) -> float:
    return sum(numbers) / len(numbers)


@step
async def shout(text: str) -> str:
    return text + "!"


assert_type(chat, StreamingStep[str, str, str])
assert_type(lengths, StreamingStep[AsyncIterator[str], list[int], int])
assert_type(total, Step[AsyncIterator[int], int])
assert_type(chat >> mask, StreamingPipeline[str, str, str])
assert_type(chat >> mask >> lengths >> total, Pipeline[str, int])
assert_type(chat >> lengths >> mean, Pipeline[str, float])
assert_type(chat >> shout, Pipeline[str, str])
assert_type(shout >> chat, StreamingPipeline[str, str, str])
assert_type(shout >> chat >> mask, StreamingPipeline[str, str, str])
assert_type(Flujo(chat >> mask).run("a").output, str)
