"""What a step or a hook may give instead of a plain value: Stop, Skip, Veto."""

from __future__ import annotations

from typing import Generic, TypeVar

from flujo_core.errors import FlujoError

Out = TypeVar("Out", covariant=True)


class Stop:
    """Ends the run here, from any depth, with status ``stopped``; not a failure.

    Args:
        reason: Why, for people. It is stored with the run.
    """

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __repr__(self) -> str:
        return "Stop(...)"


class Skip(Generic[Out]):
    """Given by ``pre_step_execution``: the step does not run, and ``output`` stands for its result.

    Args:
        output: Validated against the step's output type, as the step's own would be.
    """

    __slots__ = ("output",)

    def __init__(self, output: Out) -> None:
        self.output = output

    def __repr__(self) -> str:
        return "Skip(...)"


class Veto(FlujoError):
    """Raised by a hook to refuse the run. It is never swallowed.

    Args:
        reason: Why, for people. It is stored with the run.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
