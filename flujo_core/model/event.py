"""The events of a run: what happened, in order. A run's state is a fold over them, and nothing else (``run.py``).

One vocabulary for all readers: the journal, streams, results, listings. Events are read-only by convention: plain
slotted classes, because one is made at every turn of every step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, ClassVar, Literal, TypeAlias

from flujo_core.model.agent import Usage
from flujo_core.model.draft import State
from flujo_core.model.patch import Patch
from flujo_core.model.slotted import Slotted
from flujo_core.model.spend import Spend

RunStatus: TypeAlias = Literal["running", "paused", "completed", "stopped", "failed", "refused", "cancelled"]
"""Where a run is. A run ``failed`` by itself, and was ``refused`` by a plugin or a policy."""


OutputSource: TypeAlias = Literal["node", "fallback", "cache"]
"""What an output is of: of the node itself (or a hook), of its fallback, or of an earlier run of it."""

ExpiryAction: TypeAlias = Literal["fail", "stop", "default"]
"""What happens when nobody has answered a question in time."""

NodeKind: TypeAlias = Literal["pipeline", "parallel", "map", "loop", "branch"]
"""What kind of node it is that others run in."""


ChangeKind: TypeAlias = Literal["mutation", "reconfiguration"]
"""What kind of change a step asks for."""

RefusalReason: TypeAlias = Literal[
    "unknown", "past", "reused", "types", "import_path", "spec", "limit", "vetoed", "not_allowed", "alone", "leak"
]
"""Why a change was refused: it names what is not there; what has been reached already; what was taken away before; it
does not fit what is around it; it names an import path; it cannot be read; there were as many as there may be; a plugin
has said no; the target does not allow it; the step runs alone, with nothing behind it to change; labelled data would
leave the boundary."""

NOTHING: Mapping[str, str] = {}


class RunEvent(Slotted):
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


class ErrorInfo(Slotted):
    """What is kept of an error.

    Attributes:
        type: The name of its class.
        message: Its text, for Flujo's own errors; empty for others, whose text may hold a value of the run.
        lineage: Of others, the names of its class and of those that it is made from: ``builtins:ConnectionError``.
    """

    type: str
    message: str
    lineage: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.message or self.type

    def __repr__(self) -> str:
        return f"ErrorInfo({self.type!r})"


class Origin(Slotted):
    """What a run was begun, or resumed, with.

    Attributes:
        manifest: What the nodes of the pipeline were (``manifest.py``), as JSON; empty where nothing could be resumed.
        plugins: The versions of the plugins that the deployment required, by the names of their distributions.
        input_digest: A digest of the input as the caller gave it, before plugins saw it.
        names_key: The codec, and the id of its key, that hide the names which stand in clear (map keys, voters):
            ``aes-gcm:2026-11``; empty: none does.
        names_in: The id of the run in which they are hidden: of a fork, the one that began.
        forked_from: The run that it is a fork of; empty if it is none.
        forked_at: The address there from which on it runs anew.
        subject: A digest of whom the run's data is about; empty if nobody said.
    """

    manifest: str = ""
    plugins: Mapping[str, str] = field(default_factory=dict)
    input_digest: str = ""
    names_key: str = ""
    names_in: str = ""
    forked_from: str = ""
    forked_at: str = ""
    subject: str = ""

    def hiding_as(self, begun: Origin, input_digest: str) -> Origin:
        """This one, of a run that hides its names and is about whom another origin says, and began with some input."""
        known = {"names_key": begun.names_key, "names_in": begun.names_in, "subject": begun.subject}
        return self.changed(input_digest=input_digest, **known)


NO_ORIGIN = Origin()


class RunStarted(RunEvent):
    """The run began.

    Attributes:
        pipeline: The pipeline's name.
        input: Its input, as the plugins left it.
        context: The values of the context's fields.
        origin: What is compared when the run is resumed.
    """

    kind = "run_started"
    pipeline: str
    input: Any
    context: State
    origin: Origin = NO_ORIGIN


class StepStarted(RunEvent):
    """An attempt of a step began.

    Attributes:
        attempt: Its number, from 1.
    """

    kind = "step_started"
    attempt: int


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


class BranchDecided(RunEvent):
    """A branch took a case.

    Attributes:
        attempt: The number of the branch's attempt.
        case: The case's place in addresses: ``billing``, ``~default``.
    """

    kind = "branch_decided"
    attempt: int
    case: str


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


QuestionKind: TypeAlias = Literal["step", "pre", "post", "tool"]
"""Who asks: a step, a hook before or after a step, a tool of an agent."""


class QuestionTerms(Slotted):
    """Who may answer a question, until when, and what happens then.

    Attributes:
        approvers: Who may answer; empty: anybody.
        quorum: How many must give the same answer.
        expires_at: Until when it can be answered, in seconds since the epoch, or None.
        on_expiry: What happens then: the step fails, the run is stopped, or ``default`` is the answer.
        default: The answer where nobody gave one in time; None unless ``on_expiry`` says so.
    """

    approvers: tuple[str, ...] = ()
    quorum: int = 1
    expires_at: float | None = None
    on_expiry: ExpiryAction = "fail"
    default: Any = None


class QuestionAsked(RunEvent):
    """A step, a hook or an agent's tool waits for a person. Its address is the step's; of a tool's, ``step!tool.id``.

    Attributes:
        attempt: The number of the attempt that asks; 0 before the first.
        source: Who asks.
        text: The question.
        response: The answer's type: ``module:qualname``, or how it is written.
        json_schema: Its JSON Schema.
        terms: Who may answer, until when, and what happens then.
        state: What is to go on with the answer: see ``engine/question.py``.
        patch: What the step had changed in the context.
        duration: Seconds from the first attempt's start.
        usage: What the agent used until then, or None.
        by: The plugin whose hook asks, or None.
        token_hash: The SHA-256 of its token, or None.
    """

    kind = "question_asked"
    attempt: int
    source: QuestionKind
    text: str
    response: str
    json_schema: dict[str, Any]
    terms: QuestionTerms
    state: Any
    patch: Patch
    duration: float = 0.0
    usage: Usage | None = None
    by: str | None = None
    token_hash: str | None = None

    @property
    def payload(self) -> dict[str, Any]:
        """Its values, which are kept as those of steps are."""
        return {"text": self.text, "state": self.state, "default": self.terms.default}


class VoteCast(RunEvent):
    """Somebody answered a question that asks several; not enough have given the same answer yet.

    Attributes:
        question: The sequence of the event that asked.
        answer: The answer.
        approver: Whose it is.
        verified: Whether a plugin has confirmed who that is.
    """

    kind = "vote_cast"
    question: int
    answer: Any
    approver: str | None
    verified: bool


class QuestionAnswered(RunEvent):
    """A question has its answer.

    Attributes:
        question: The sequence of the event that asked.
        answer: The answer.
        approver: Who gave it (the last of a quorum), or None if nobody said.
        verified: Whether a plugin has confirmed who that is.
        lapsed: Whether nobody answered in time, and this is the default.
    """

    kind = "question_answered"
    question: int
    answer: Any
    approver: str | None
    verified: bool
    lapsed: bool = False


class QuestionLapsed(RunEvent):
    """Nobody answered a question in time, and it has no default.

    Attributes:
        question: The sequence of the event that asked.
        action: What follows.
    """

    kind = "question_lapsed"
    question: int
    action: ExpiryAction


class QuestionWithdrawn(RunEvent):
    """A question needs no answer any more: what asked it was cancelled, or the run has ended.

    Attributes:
        question: The sequence of the event that asked.
    """

    kind = "question_withdrawn"
    question: int


class TokenReissued(RunEvent):
    """A question has a new token; the one before is void.

    Attributes:
        asked: The sequence of the event that asked.
        token_hash: The SHA-256 of the new token.
    """

    kind = "token_reissued"
    asked: int
    token_hash: str


class CallCompleted(RunEvent):
    """A model or a tool that an agent called gave its answer. Its address is ``step!model.3`` or ``step!tool.id``.

    Attributes:
        attempt: The number of the step's attempt.
        digest: What was asked, as a digest: model, messages, settings and tools; or tool and arguments.
        result: What came back.
        patch: What a tool changed in the context.
        usage: What the call used, or None.
    """

    kind = "call_completed"
    attempt: int
    digest: str
    result: Any
    patch: Patch
    usage: Usage | None = None


class RunPaused(RunEvent):
    """Nothing of the run can go on, and questions are open."""

    kind = "run_paused"


class RunResumed(RunEvent):
    """The run goes on, under a new lease.

    Attributes:
        origin: What it goes on with, where that is not what it was begun with.
        retry_failed: Whether what had failed is tried again.
        renamed: The addresses, as ``walk`` gives them, of nodes that have another name from here on, with their new
            ones.
    """

    kind = "run_resumed"
    origin: Origin = NO_ORIGIN
    retry_failed: bool = False
    renamed: Mapping[str, str] = NOTHING


class SegmentRestarted(RunEvent):
    """Steps that stream begin again after a crash: what was heard of their chunks before does not count.

    Attributes:
        attempt: The number of the attempt that begins again; its chunks carry it.
        steps: The names of the steps; the event's address is that of the first one.
    """

    kind = "segment_restarted"
    attempt: int
    steps: tuple[str, ...]


class ScopeChanged(RunEvent):
    """A step has changed its scope; the event's address is that step's.

    Attributes:
        attempt: The number of the step's attempt.
        change: What it asked for, as JSON.
        manifest: What the nodes of the scope are from here on (``manifest.py``), as JSON.
        fingerprint: A digest of that: the same where nothing differs.
    """

    attempt: int
    change: str
    manifest: str
    fingerprint: str


class PipelineMutated(ScopeChanged):
    """A step has changed what comes after it: ``change`` has ``insert_after``, ``replace``, ``remove``, with specs."""

    kind = "pipeline_mutated"


class AgentReconfigured(ScopeChanged):
    """A step has changed the agent of a later step.

    ``change`` has ``target``, ``model``, ``instructions``, ``settings`` and ``tools``.
    """

    kind = "agent_reconfigured"


class ChangeRefused(RunEvent):
    """A step has asked for a change that cannot be, and the run went on with its output alone.

    Attributes:
        attempt: The number of the step's attempt.
        change: What kind of change it was.
        reason: Why it was refused, in a word.
        message: Why, for people; it may have names and words of what was asked for.
    """

    kind = "change_refused"
    attempt: int
    change: ChangeKind
    reason: RefusalReason
    message: str


class Chunk(RunEvent):
    """A piece of a step's output, on its way; not journaled.

    Attributes:
        attempt: The attempt that it comes from: a later attempt begins anew.
        text: The piece, where that is text; else empty.
        item: The piece, where that is something else; else None.
        last: Whether it comes behind the last piece and is none itself: only ``transform_chunk`` is given such a one.
    """

    kind = "chunk"
    attempt: int
    text: str
    item: Any = None
    last: bool = False

    def replace(self, *, text: str | None = None, item: Any = None) -> Chunk:
        """A copy with another piece: ``chunk.replace(text=...)``, or ``chunk.replace(item=...)``."""
        head = (self.run_id, self.tenant, self.sequence, self.at, self.address, self.attempt)
        return Chunk(*head, self.text if text is None else text, self.item if item is None else item, self.last)


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


class BudgetReserved(RunEvent):
    """The most that a request can spend is held for it; it is sent after this is durable.

    The address is that of the call in the step: ``answer!model.1``.

    Attributes:
        attempt: The number of the step's attempt.
        hold: What the reservation is called: it is settled by that name.
        most: What is held.
    """

    kind = "budget_reserved"
    attempt: int
    hold: str
    most: Spend


class BudgetSettled(RunEvent):
    """What was held for a request is given back, and what it has spent is spent.

    Attributes:
        hold: What the reservation was called; empty for what was spent without one.
        used: What was spent.
        is_known: Whether that is known; else it is the most that it can have been.
    """

    kind = "budget_settled"
    hold: str
    used: Spend
    is_known: bool = True


class BudgetRefused(RunEvent):
    """A request was not sent, as a budget has no room for it.

    Attributes:
        attempt: The number of the step's attempt.
        budget: The budget: ``1 USD per run``.
        most: What was wanted, as far as it is known.
        message: Why, for people.
    """

    kind = "budget_refused"
    attempt: int
    budget: str
    most: Spend
    message: str


BudgetEvent: TypeAlias = BudgetReserved | BudgetSettled | BudgetRefused
"""What tells of budgets."""

ChangeEvent: TypeAlias = ScopeChanged | ChangeRefused
"""What tells of changes of the pipeline that steps ask for."""

JournaledEvent: TypeAlias = (
    RunStarted | StepStarted | AttemptFailed | StepCompleted | StepFailed
    | NodeStarted | ItemTaken | LoopDecided | BranchDecided | NodeCompleted | NodeFailed
    | QuestionAsked | VoteCast | QuestionAnswered | QuestionLapsed | QuestionWithdrawn | TokenReissued
    | CallCompleted | SegmentRestarted | PipelineMutated | AgentReconfigured | ChangeRefused
    | BudgetReserved | BudgetSettled | BudgetRefused
    | RunPaused | RunResumed | RunEnded
)  # fmt: skip
"""What the journal keeps: everything but chunks."""
