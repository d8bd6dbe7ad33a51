"""What a run is: its state, folded from its events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import field
from typing import Any, Literal, TypeAlias

from flujo_core.model.agent import Usage
from flujo_core.model.contexts import Contexts, attempt_path, is_below
from flujo_core.model.draft import State
from flujo_core.model.event import (
    AttemptFailed,
    BranchDecided,
    BudgetReserved,
    BudgetSettled,
    ChangeEvent,
    ChangeRefused,
    ErrorInfo,
    ItemTaken,
    LoopDecided,
    NodeCompleted,
    NodeFailed,
    NodeKind,
    NodeStarted,
    OutputSource,
    QuestionAnswered,
    QuestionAsked,
    QuestionLapsed,
    QuestionWithdrawn,
    RunEnded,
    RunEvent,
    RunPaused,
    RunResumed,
    RunStarted,
    RunStatus,
    ScopeChanged,
    StepCompleted,
    StepFailed,
    StepStarted,
    VoteCast,
)
from flujo_core.model.rename import renamed
from flujo_core.model.slotted import Compared
from flujo_core.model.spending import Spending

StepStatus: TypeAlias = Literal["running", "paused", "completed", "skipped", "failed", "cancelled"]
QuestionStatus: TypeAlias = Literal["open", "answered", "lapsed", "withdrawn"]

ONGOING = ("running", "paused")


class StepResult(Compared):
    """What became of one step.

    Attributes:
        address: Its address.
        status: Where it is.
        attempts: How often it was tried.
        started_at: When it began, in seconds since the epoch.
        duration: Seconds from the first attempt's start to the end; None while it runs.
        usage: What its agent used, in failed attempts too, or None.
        error: Why it failed, or None.
        output: Its output; None unless it completed.
        source: What its output is of: of the step itself, of its fallback, or of the cache.
    """

    address: str
    status: StepStatus
    attempts: int
    started_at: float
    duration: float | None = None
    usage: Usage | None = None
    error: ErrorInfo | None = None
    output: Any = None
    source: OutputSource = "node"

    def replace(self, *, output: Any) -> StepResult:
        """A copy with another output, for ``post_step_execution``; it is validated as the step's own was."""
        return self.changed(output=output)

    def __repr__(self) -> str:
        return f"<StepResult '{self.address}' {self.status}>"


class NodeResult(Compared):
    """What became of one node in which others run.

    Attributes:
        address: Its address.
        node: What kind of node it is.
        status: Where it is.
        attempts: How often it was tried.
        started_at: When it began, in seconds since the epoch.
        duration: Seconds from the first attempt's start to the end; None while it runs.
        error: Why it failed, or None.
        scopes: The branches or items that its last attempt opened: ``("[left]", "[right]")``.
        iterations: How often a loop's body has run in its last attempt.
        case: The case that a branch took in its last attempt, or None.
        source: What its output is of: of the node itself, of its fallback, or of the cache.
        output: Its output, if that was cached; else it follows from those of the steps (``outputs.py``).
    """

    address: str
    node: NodeKind | None
    status: StepStatus
    attempts: int
    started_at: float
    duration: float | None = None
    error: ErrorInfo | None = None
    scopes: tuple[str, ...] = ()
    iterations: int = 0
    case: str | None = None
    source: OutputSource = "node"
    output: Any = None

    def __repr__(self) -> str:
        return f"<NodeResult '{self.address}' {self.status}>"


class QuestionState(Compared):
    """What became of one question.

    Attributes:
        asked: The event that asked.
        status: Where it is.
        votes: Who has answered, where several are asked.
        answer: Its answer, or None.
    """

    asked: QuestionAsked
    status: QuestionStatus = "open"
    votes: list[VoteCast] = field(default_factory=list)
    answer: QuestionAnswered | None = None

    def __repr__(self) -> str:
        return f"<QuestionState '{self.asked.address}' {self.status}>"


class RunState(Compared):
    """The state of a run: a pure fold over its events.

    Attributes:
        run_id: The run.
        tenant: Whose it is, or None.
        pipeline: The pipeline's name.
        status: Where it is.
        started_at: When it began, in seconds since the epoch.
        ended_at: When it ended, or None.
        input: Its input.
        output: Its output; None unless it completed.
        contexts: The context, and those of the scopes that have one of their own.
        steps: What became of each step, by address, in the order in which they began.
        nodes: What became of each node in which others run, likewise.
        questions: What became of each question, by the sequence of the event that asked, in order.
        changes: How steps have changed the pipeline, and which changes were refused, in order.
        spending: What it has spent, and holds, of its budgets.
        error: Why it failed or was refused, or None.
        reason: Why it was stopped, or None.
    """

    run_id: str = ""
    tenant: str | None = None
    pipeline: str = ""
    status: RunStatus = "running"
    started_at: float = 0.0
    ended_at: float | None = None
    input: Any = None
    output: Any = None
    contexts: Contexts = field(default_factory=Contexts)
    steps: dict[str, StepResult] = field(default_factory=dict)
    nodes: dict[str, NodeResult] = field(default_factory=dict)
    questions: dict[int, QuestionState] = field(default_factory=dict)
    changes: list[ChangeEvent] = field(default_factory=list)
    spending: Spending = field(default_factory=Spending)
    error: ErrorInfo | None = None
    reason: str | None = None

    def __repr__(self) -> str:
        return f"<RunState '{self.run_id}' {self.status}>"

    @property
    def context(self) -> State:
        """The values of the context's fields."""
        return self.contexts.run

    @property
    def usage(self) -> Usage:
        """What the agents of all steps used."""
        return total(self.steps.values())

    @property
    def open_questions(self) -> list[QuestionState]:
        """The questions that wait for their answers, in order."""
        return [one for one in self.questions.values() if one.status == "open"]


def fold(events: Iterable[RunEvent]) -> RunState:
    """The state of a run after ``events``, which begin with its first."""
    state = RunState()
    for event in events:
        advance(state, event)
    return state


def advance(state: RunState, event: RunEvent) -> None:
    """Folds one more event into ``state``."""
    if isinstance(event, StepStarted | StepCompleted | StepFailed):
        _advance_step(state, event)
    elif isinstance(event, AttemptFailed):
        if event.address in state.nodes:
            _end_below(state, event.address, event.attempt, event.at)
        else:
            _advance_step(state, event)
    elif isinstance(event, NodeStarted | NodeCompleted | NodeFailed):
        _advance_node(state, event)
    elif isinstance(event, ItemTaken):
        node = state.nodes[event.address]
        node.scopes = (*node.scopes, event.scope)
        state.contexts.open(event.address, event.attempt, event.scope)
    elif isinstance(event, LoopDecided):
        state.nodes[event.address].iterations = event.iteration
    elif isinstance(event, BranchDecided):
        state.nodes[event.address].case = event.case
    elif isinstance(event, QuestionAsked):
        _ask(state, event)
    elif isinstance(event, VoteCast | QuestionAnswered | QuestionLapsed | QuestionWithdrawn):
        _advance_question(state, event)
    elif isinstance(event, ScopeChanged | ChangeRefused):
        state.changes.append(event)
    elif isinstance(event, BudgetReserved | BudgetSettled):
        state.spending.take(event)
    else:
        _advance_run(state, event)


def total(steps: Iterable[StepResult]) -> Usage:
    """What the agents of ``steps`` used; its cost is None if that of any is not known."""
    used = Usage()
    for step in steps:
        if step.usage is not None:
            used = used.plus(step.usage)
    return used


def _advance_step(state: RunState, event: StepStarted | AttemptFailed | StepCompleted | StepFailed) -> None:
    step = state.steps.get(event.address)
    if step is None:
        step = state.steps[event.address] = StepResult(event.address, "running", event.attempt, event.at)
    step.attempts = event.attempt
    match event:
        case StepStarted():
            step.status, step.duration, step.error = "running", None, None
        case StepCompleted():
            step.status = "completed" if event.attempt or event.source == "cache" else "skipped"
            step.duration, step.output, step.source = event.duration, event.output, event.source
            state.contexts.change(event.address, event.patch)
        case StepFailed():
            step.status, step.duration, step.error = "failed", event.duration, event.error
            state.contexts.drop(event.address, for_good=True)
    if not isinstance(event, StepStarted):
        _use(step, event.usage)


def _use(step: StepResult, usage: Usage | None) -> None:
    """Adds what the step's agent used since it was last told."""
    if usage is not None:
        step.usage = usage if step.usage is None else step.usage.plus(usage)


def _advance_node(state: RunState, event: NodeStarted | NodeCompleted | NodeFailed) -> None:
    node = state.nodes.get(event.address)
    if node is None:
        node = state.nodes[event.address] = NodeResult(event.address, None, "running", event.attempt, event.at)
    node.attempts = event.attempt
    match event:
        case NodeStarted():
            node.status, node.duration, node.error = "running", None, None
            node.node, node.scopes, node.iterations, node.case = event.node, event.scopes, 0, None
            if event.apart:
                state.contexts.open(event.address, event.attempt, "")
            for scope in event.scopes:
                state.contexts.open(event.address, event.attempt, scope)
        case NodeCompleted():
            node.status, node.duration = "completed", event.duration
            node.source, node.output = event.source, event.output
            state.contexts.close(event.address, event.attempt)
            state.contexts.change(event.address, event.patch)
        case _:
            node.status, node.duration, node.error = "failed", event.duration, event.error
            _end_below(state, event.address, event.attempt, event.at, for_good=True)


def _end_below(state: RunState, address: str, attempt: int, at: float, *, for_good: bool = False) -> None:
    """Ends what was going on in an attempt that has failed, and takes its contexts away."""
    state.contexts.drop(attempt_path(address, attempt), for_good=for_good)
    _cancel(state, at, below=attempt_path(address, attempt))


def _cancel(state: RunState, at: float, below: str = "") -> None:
    """What still runs was cancelled."""
    results: list[StepResult | NodeResult] = [*state.steps.values(), *state.nodes.values()]
    for one in results:
        if one.status in ONGOING and (not below or is_below(one.address, below)):
            one.status, one.duration = "cancelled", at - one.started_at


def _ask(state: RunState, event: QuestionAsked) -> None:
    state.questions[event.sequence] = QuestionState(event)
    address = _asker(event)
    step = state.steps.get(address)
    if step is None:
        step = state.steps[address] = StepResult(address, "paused", event.attempt, event.at)
    step.status = "paused"
    _use(step, event.usage)


def _advance_question(state: RunState, event: VoteCast | QuestionAnswered | QuestionLapsed | QuestionWithdrawn) -> None:
    question = state.questions[event.question]
    match event:
        case VoteCast():
            question.votes.append(event)
            return
        case QuestionAnswered():
            question.status, question.answer = "answered", event
        case QuestionLapsed():
            question.status = "lapsed"
        case _:
            question.status = "withdrawn"
    address = _asker(question.asked)
    step = state.steps[address]
    if step.status != "paused" or any(_asker(one.asked) == address for one in state.open_questions):
        return
    step.status = "running"
    if question.status == "withdrawn":
        step.status, step.duration = "cancelled", event.at - step.started_at


def _asker(asked: QuestionAsked) -> str:
    """The address of the step that asks, or whose agent's tool does."""
    return asked.address.partition("!")[0]


def _advance_run(state: RunState, event: RunEvent) -> None:
    match event:
        case RunStarted():
            state.run_id, state.tenant, state.pipeline = event.run_id, event.tenant, event.pipeline
            state.started_at, state.input, state.contexts = event.at, event.input, Contexts(dict(event.context))
        case RunPaused():
            state.status = "paused"
        case RunResumed():
            state.status, state.ended_at, state.reason, state.error = "running", None, None, None
            if event.renamed:
                _rename(state, event.renamed)
            if event.retry_failed:
                state.contexts.bring_back()
        case RunEnded():
            state.status, state.ended_at = event.status, event.at
            state.output, state.reason, state.error = event.output, event.reason, event.error
            for question in state.open_questions:
                question.status = "withdrawn"
            _cancel(state, event.at)


def _rename(state: RunState, renames: Mapping[str, str]) -> None:
    """Takes in that nodes have other names from here on."""
    state.contexts.rename(renames)
    results: list[StepResult | NodeResult] = [*state.steps.values(), *state.nodes.values()]
    for one in results:
        one.address = renamed(one.address, renames)
    state.steps = {one.address: one for one in state.steps.values()}
    state.nodes = {one.address: one for one in state.nodes.values()}
    state.spending.rename(renames)
    for question in state.questions.values():
        question.asked = copy(question.asked)
        question.asked.address = renamed(question.asked.address, renames)
