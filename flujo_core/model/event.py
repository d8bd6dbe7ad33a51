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


OutputSource: TypeAlias = Literal["node", "fallback", "cache"]
"""What an output is of: of the node itself (or a hook), of its fallback, or of an earlier run of it."""

NodeKind: TypeAlias = Literal["pipeline", "parallel", "map", "loop", "branch"]
"""What kind of node it is that others run in."""


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
    """An attempt of a node failed, and that was not the last word: there is another, or something stands in for it.

    Attributes:
        attempt: Its number, from 1.
        error: Why.
        retry_at: When what follows begins, in seconds since the epoch.
        usage: What its agent used all the same, or None.
        feedback: What a validator said of its output, or None.
    """

    kind = "attempt_failed"
    attempt: int
    error: ErrorInfo
    retry_at: float
    usage: Usage | None = None
    feedback: str | None = None


@dataclass(slots=True, eq=False, repr=False)
class StepCompleted(RunEvent):
    """A step was committed: its output, and what it changed in the context.

    Attributes:
        attempt: The number of the last attempt; 0 if there was none, as the step was skipped, or its output was cached.
        output: Its output.
        patch: Its changes of the context.
        duration: Seconds from the first attempt's start.
        usage: What the agent of that attempt used, or None.
        source: What its output is of.
    """

    kind = "step_completed"
    attempt: int
    output: Any
    patch: Patch
    duration: float
    usage: Usage | None
    source: OutputSource = "node"


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
class NodeStarted(RunEvent):
    """An attempt of a node began in which others run.

    Attributes:
        attempt: Its number, from 1.
        node: What kind of node it is.
        apart: Whether what runs in it has a context of its own, which is dropped if the attempt fails.
        scopes: The scopes in it that have contexts of their own, in order: ``("[left]", "[right]")``.
    """

    kind = "node_started"
    attempt: int
    node: NodeKind
    apart: bool
    scopes: tuple[str, ...]


@dataclass(slots=True, eq=False, repr=False)
class ItemTaken(RunEvent):
    """A map took an item from an async source.

    Attributes:
        attempt: The number of the map's attempt.
        scope: The item's place in addresses: ``[invoice-17]``.
        item: The item.
    """

    kind = "item_taken"
    attempt: int
    scope: str
    item: Any


@dataclass(slots=True, eq=False, repr=False)
class LoopDecided(RunEvent):
    """An iteration of a loop ended.

    Attributes:
        attempt: The number of the loop's attempt.
        iteration: Its number, from 1.
        done: Whether it was the last one, as ``until`` said.
    """

    kind = "loop_decided"
    attempt: int
    iteration: int
    done: bool


@dataclass(slots=True, eq=False, repr=False)
class BranchDecided(RunEvent):
    """A branch took a case.

    Attributes:
        attempt: The number of the branch's attempt.
        case: The case's place in addresses: ``billing``, ``~default``.
    """

    kind = "branch_decided"
    attempt: int
    case: str


@dataclass(slots=True, eq=False, repr=False)
class NodeCompleted(RunEvent):
    """A node in which others run was completed, and what they did to their contexts was merged.

    Attributes:
        attempt: The number of its last attempt; 0 if there was none, as its output was cached.
        patch: What the join changed in the context around the node.
        duration: Seconds from the first attempt's start.
        source: What its output is of.
        output: Its output, if that was cached; else it follows from those of the steps.
    """

    kind = "node_completed"
    attempt: int
    patch: Patch
    duration: float
    source: OutputSource = "node"
    output: Any = None


@dataclass(slots=True, eq=False, repr=False)
class NodeFailed(RunEvent):
    """A node in which others run failed for good; what they had changed is dropped with it where it was apart.

    Attributes:
        attempt: The number of its last attempt.
        error: Why.
        duration: Seconds from the first attempt's start.
    """

    kind = "node_failed"
    attempt: int
    error: ErrorInfo
    duration: float


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


JournaledEvent: TypeAlias = (
    RunStarted | StepStarted | AttemptFailed | StepCompleted | StepFailed
    | NodeStarted | ItemTaken | LoopDecided | BranchDecided | NodeCompleted | NodeFailed | RunEnded
)  # fmt: skip
"""What the journal keeps: everything but chunks."""
