"""Fake: what stands for a step in a test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from inspect import isawaitable
from typing import Any, Generic, Self, TypeVar

A = TypeVar("A")
B = TypeVar("B")


class Fake(Generic[A, B]):
    """Stands for a step in the runs of one harness; what is around the step (policies, hooks, checks) is as it was.

    Attributes:
        name: The step's name.
        inputs: What it was called with, in order.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.inputs: list[A] = []
        self._answers: list[Callable[[A], B | Awaitable[B]]] = []
        self._delay = 0.0

    def returns(self, value: B, /, *more: B) -> Self:
        """It gives these outputs, one a call, and the last one from then on."""
        self._answers += [partial(_give, one) for one in (value, *more)]
        return self

    def raises(self, error: BaseException, /, *more: BaseException) -> Self:
        """It raises these errors, one a call, and the last one from then on, unless something is said after this."""
        self._answers += [partial(_raise, one) for one in (error, *more)]
        return self

    def does(self, function: Callable[[A], B | Awaitable[B]], /) -> Self:
        """It gives what a function makes of the input; the function may be async."""
        self._answers.append(function)
        return self

    def takes(self, seconds: float) -> Self:
        """It waits so long before it answers."""
        self._delay = seconds
        return self

    async def __call__(self, value: A) -> B:
        """Answers, as it was told."""
        self.inputs.append(value)
        if not self._answers:
            raise AssertionError(f"the fake of '{self.name}' was not told what to give: write '.returns(value)'")
        give = self._answers[min(len(self.inputs), len(self._answers)) - 1]
        await asyncio.sleep(self._delay)
        answer: Any = give(value)
        output: B = await answer if isawaitable(answer) else answer
        return output

    def __repr__(self) -> str:
        return f"<Fake '{self.name}', called {len(self.inputs)} times>"


def _give(output: B, _: object) -> B:
    return output


def _raise(error: BaseException, _: object) -> Any:
    raise error
