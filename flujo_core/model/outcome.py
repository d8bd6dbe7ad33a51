"""What a step or a hook may give instead of a plain value: PauseForHumanInput, Stop, Skip, Veto."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Generic, Literal, TypeAlias, TypeVar

from flujo_core.errors import DefinitionError, FlujoError

Out = TypeVar("Out", covariant=True)
T = TypeVar("T")


class Default(Generic[Out]):
    """For ``on_expiry``: the answer to a question that nobody answered in time.

    Args:
        value: The answer; validated as a person's would be.
    """

    __slots__ = ("value",)

    def __init__(self, value: Out) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "Default(...)"


OnExpiry: TypeAlias = Literal["fail", "stop"] | Default[T]
"""What happens when nobody has answered in time."""


class PauseForHumanInput(Generic[Out]):
    """Asks a person, and goes on with the answer: as the step's output, or, of a hook, as ``call.answer``.

    No code before the pause is run again. What the step has changed in its context until then is committed with the
    answer.

    Args:
        question: What is asked. It is stored with the run.
        response_model: The answer's type; of a step, one that its output type takes.
        expires_in: For how long it can be answered; None: as long as the run lives.
        on_expiry: What happens then: the step fails, the run is stopped, or ``Default(value)`` is the answer.
        approvers: Who may answer; empty: anybody.
        quorum: How many different approvers must give the same answer.

    Raises:
        DefinitionError: A term cannot be.
    """

    __slots__ = ("approvers", "expires_in", "on_expiry", "question", "quorum", "response_model")

    def __init__(
        self,
        question: str,
        response_model: type[Out],
        *,
        expires_in: timedelta | None = None,
        on_expiry: OnExpiry[Out] = "fail",
        approvers: Sequence[str] = (),
        quorum: int = 1,
    ) -> None:
        if not isinstance(question, str):
            raise DefinitionError(f"a question is text, not {type(question).__name__!r}")
        self.question = question
        self.response_model = response_model
        self.expires_in, self.on_expiry, self.approvers, self.quorum = checked_terms(
            expires_in, on_expiry, approvers, quorum
        )

    def __repr__(self) -> str:
        return "PauseForHumanInput(...)"


def checked_terms(
    expires_in: timedelta | None, on_expiry: OnExpiry[T], approvers: Sequence[str], quorum: int
) -> tuple[timedelta | None, OnExpiry[T], tuple[str, ...], int]:
    """The terms of a question, if they can be.

    Raises:
        DefinitionError: One cannot.
    """
    is_time = isinstance(expires_in, timedelta | None)
    if not (is_time and (expires_in is None or expires_in > timedelta(0))):
        raise DefinitionError("'expires_in' of a question is a 'timedelta' above 0, such as 'timedelta(days=2)'")
    if not (isinstance(on_expiry, Default) or on_expiry in ("fail", "stop")):
        raise DefinitionError("'on_expiry' of a question is 'fail', 'stop' or 'Default(value)'")
    if isinstance(approvers, str) or not all(type(one) is str and one for one in approvers):
        raise DefinitionError("'approvers' of a question is a list of names")
    if type(quorum) is not int or quorum < 1:
        raise DefinitionError("'quorum' of a question is a whole number, at least 1")
    if approvers and quorum > len(set(approvers)):
        raise DefinitionError(f"'quorum' of a question is {quorum}, and it has {len(set(approvers))} approvers")
    return expires_in, on_expiry, tuple(approvers), quorum


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
