"""The events of a run: what happened, in order. A run's state is a fold over them, and nothing else (``run.py``).

One vocabulary for all readers: the journal, streams, results, listings. Events are read-only by convention: plain
slotted classes, because one is made at every turn of every step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

from flujo_core.model.agent import Usage
from flujo_core.model.draft import State
from flujo_core.model.patch import Patch

RunStatus: TypeAlias = Literal["running", "completed", "stopped", "failed", "refused", "cancelled"]
"""Where a run is. A run ``failed`` by itself, and was ``refused`` by a plugin or a policy."""


@dataclass(slots=True, eq=False, repr=False)
class RunEvent:
    """What all events have.

    Attributes:
        run_id: The run.
        tenant: Whose run it is, or None.
        sequence: The event's place in the run's journal, from 1.
        at: When it happened, in seconds since the epoch.
        address: The step's address; empty for an event of the whole run.
    """

    kind: ClassVar[str] = ""

    run_id: str
    tenant: str | None
    sequence: int
    at: float
    address: str

    def __repr__(self) -> str:
        place = f" '{self.address}'" if self.address else ""
        return f"<{type(self).__name__} #{self.sequence}{place}>"


@dataclass(slots=True, eq=False, repr=False)
class ErrorInfo:
    """What is kept of an error.

    Attributes:
        type: The name of its class.
        message: Its text, for Flujo's own errors; empty for others, whose text may hold a value of the run.
    """

    type: str
    message: str

    def __str__(self) -> str:
        return self.message or self.type

    def __repr__(self) -> str:
        return f"ErrorInfo({self.type!r})"


@dataclass(slots=True, eq=False, repr=False)
class RunStarted(RunEvent):
    """The run began.

    Attributes:
        pipeline: The pipeline's name.
        input: Its input, as the plugins left it.
        context: The values of the context's fields.
    """

    kind = "run_started"
    pipeline: str
    input: Any
    context: State


@dataclass(slots=True, eq=False, repr=False)
class StepStarted(RunEvent):
    """An attempt of a step began.

    Attributes:
        attempt: Its number, from 1.
    """

    kind = "step_started"
    attempt: int


@dataclass(slots=True, eq=False, repr=False)
class AttemptFailed(RunEvent):
    """An attempt of a step failed, and that was not the last word: there is another, or a plugin's result instead.

    Attributes:
        attempt: Its number, from 1.
        error: Why.
        retry_at: When what follows begins, in seconds since the epoch.
        usage: What its agent used all the same, or None.
    """

    kind = "attempt_failed"
    attempt: int
    error: ErrorInfo
    retry_at: float
    usage: Usage | None = None


@dataclass(slots=True, eq=False, repr=False)
class StepCompleted(RunEvent):
    """A step was committed: its output, and what it changed in the context.

    Attributes:
        attempt: The number of the attempt that succeeded; 0 if the step was skipped.
        output: Its output.
        patch: Its changes of the context.
        duration: Seconds from the first attempt's start.
        usage: What the agent of that attempt used, or None.
    """

    kind = "step_completed"
    attempt: int
    output: Any
    patch: Patch
    duration: float
    usage: Usage | None


@dataclass(slots=True, eq=False, repr=False)
class StepFailed(RunEvent):
    """A step failed for good; what it changed was dropped.

    Attributes:
        attempt: The number of its last attempt.
        error: Why.
        duration: Seconds from the first attempt's start.
        usage: What the agent of its last attempt used all the same, or None.
    """

    kind = "step_failed"
    attempt: int
    error: ErrorInfo
    duration: float
    usage: Usage | None = None


@dataclass(slots=True, eq=False, repr=False)
class Chunk(RunEvent):
    """A piece of a step's output, on its way; not journaled.

    Attributes:
        attempt: The attempt that it comes from: a later attempt begins anew.
        text: The piece.
    """

    kind = "chunk"
    attempt: int
    text: str


@dataclass(slots=True, eq=False, repr=False)
class RunEnded(RunEvent):
    """The run ended.

    Attributes:
        status: How.
        output: Its output, as the plugins left it; None unless it completed.
        reason: Why it was stopped, or None.
        error: Why it failed or was refused, or None.
    """

    kind = "run_ended"
    status: RunStatus
    output: Any = None
    reason: str | None = None
    error: ErrorInfo | None = None


JournaledEvent: TypeAlias = RunStarted | StepStarted | AttemptFailed | StepCompleted | StepFailed | RunEnded
"""What the journal keeps: everything but chunks."""
