"""What fails a node, what ends a run, and what may be told of an error."""

from __future__ import annotations

from flujo_core.errors import FlujoError, IncompatiblePipeline, PluginError, StepError
from flujo_core.model.event import ErrorInfo
from flujo_core.model.outcome import Stop, Veto


class Stopped(BaseException):
    """Unwinds a run that a step or a hook stopped; not an Exception, so that nothing on the way takes it for one."""

    def __init__(self, stop: Stop) -> None:
        super().__init__()
        self.reason = stop.reason


PASSING = (Veto, PluginError, IncompatiblePipeline)
"""What goes through a step as it is: no attempt of the step failed, the run is not to go on."""

FAILING = (Exception, SystemExit)
"""What fails an attempt: a step does not end the process."""


def failed(error: BaseException, address: str, attempts: int = 1) -> StepError:
    """The error that says that a node failed; raise it from ``error``.

    Args:
        error: Why.
        address: The node's address.
        attempts: How often it was tried.
    """
    tries = f" after {attempts} attempts" if attempts > 1 else ""
    failure = _kind(error)(f"step '{address}' failed{tries}: {told(error)}")
    if isinstance(error, StepError):
        vars(failure).update(vars(error))  # its usage, its feedback
    failure.address = address
    failure.attempts = attempts
    return failure


def fallen(failure: StepError, error: StepError, address: str, attempts: int) -> StepError:
    """The error that says that a node failed, and so did its fallback; raise it from the fallback's error.

    Args:
        failure: The node's.
        error: The fallback's.
        address: The node's address.
        attempts: How often the node was tried.
    """
    both = _kind(failure)(f"{failure}; and so did its fallback: {error}")
    vars(both).update(vars(failure))
    both.address, both.attempts, both.usage = address, attempts, None  # what it used is recorded with the attempt
    return both


def told(error: BaseException) -> ErrorInfo:
    """What may be told of an error: the text of Flujo's own, of others only the type, as their text may hold values."""
    kind = type(error)
    if isinstance(error, FlujoError):
        return ErrorInfo(kind.__name__, str(error))
    known = kind.__mro__[: kind.__mro__.index(Exception)] if issubclass(kind, Exception) else ()
    return ErrorInfo(kind.__name__, "", tuple(f"{one.__module__}:{one.__qualname__}" for one in known))


def _kind(error: BaseException) -> type[StepError]:
    """The class of the error that says that a step failed: that of the cause, if a message is all that it takes."""
    plain = (k for k in type(error).__mro__ if issubclass(k, StepError) and k.__init__ is StepError.__init__)
    return next(plain, StepError)
