"""Account: what a record says of each event of a run: facts, and the values for which digests stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple, TypeAlias

from flujo_audit_advanced.record import Value
from flujo_core import (
    AgentReconfigured,
    AttemptFailed,
    BranchDecided,
    BudgetRefused,
    BudgetReserved,
    BudgetSettled,
    CallCompleted,
    ChangeRefused,
    ErrorInfo,
    ItemTaken,
    LoopDecided,
    NodeCompleted,
    NodeFailed,
    NodeStarted,
    Origin,
    PipelineMutated,
    QuestionAnswered,
    QuestionAsked,
    QuestionLapsed,
    QuestionWithdrawn,
    RunEnded,
    RunEvent,
    RunPaused,
    RunResumed,
    RunStarted,
    SegmentRestarted,
    StepCompleted,
    StepFailed,
    StepStarted,
    TokenReissued,
    Usage,
    VoteCast,
)

Facts: TypeAlias = dict[str, Value]
Values: TypeAlias = Mapping[str, Any]

NO_VALUES: Final[Values] = {}


class Account(NamedTuple):
    """What a record says.

    Attributes:
        kind: What happened.
        facts: What may stand in clear.
        values: What may be somebody's, by name.
    """

    kind: str
    facts: Facts
    values: Values = NO_VALUES


def account_of(event: RunEvent) -> Account | None:
    """What a record says of an event; None of one that is not journaled."""
    tell = _TELLERS.get(type(event))
    return None if tell is None else tell(event)


def usage_facts(usage: Usage | None) -> Facts:
    """What was used."""
    if usage is None:
        return {}
    facts: Facts = {
        "requests": usage.requests,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
    }
    if usage.cost_usd is not None:
        facts["cost_usd"] = str(usage.cost_usd)
    return {"usage": facts | {"tool_calls": usage.tool_calls}}


def _micros(seconds: float) -> int:
    return round(seconds * 1e6)


def _error(error: ErrorInfo | None) -> Facts:
    """What is known of an error; the text is there for Flujo's own errors only, which have no values in them."""
    return {} if error is None else {"error": {"type": error.type, "message": error.message}}


def _origin(origin: Origin) -> Facts:
    facts: Facts = {"plugins": dict(origin.plugins)}
    if origin.manifest:
        facts["manifest_sha256"] = sha256(origin.manifest.encode()).hexdigest()
    if origin.forked_from:
        facts["forked_from"] = origin.forked_from
    return facts


def _spend(name: str, spend: Any) -> Facts:
    facts = {field: value if isinstance(value, int | None) else str(value) for field, value in spend._asdict().items()}
    return {name: facts}


def _run_started(event: RunStarted) -> Account:
    facts = _origin(event.origin) | {"pipeline": event.pipeline}
    return Account("run.opened", facts, {"input": event.input, "context": event.context})


def _run_resumed(event: RunResumed) -> Account:
    renamed = tuple((old, new) for old, new in event.renamed.items())
    facts: Facts = {"retry_failed": event.retry_failed, "renamed": renamed}
    return Account("run.continued", facts | _origin(event.origin))


def _run_ended(event: RunEnded) -> Account:
    values = {"output": event.output} if event.status == "completed" else {}
    if event.reason is not None:
        values["reason"] = event.reason
    return Account("run.ended", {"status": event.status} | _error(event.error), values)


def _step_completed(event: StepCompleted) -> Account:
    facts: Facts = {"attempt": event.attempt, "duration_us": _micros(event.duration), "source": event.source}
    values = {"output": event.output, "patch": event.patch} if event.patch else {"output": event.output}
    return Account("step.completed", facts | usage_facts(event.usage), values)


def _step_failed(event: StepFailed) -> Account:
    facts: Facts = {"attempt": event.attempt, "duration_us": _micros(event.duration)}
    return Account("step.failed", facts | _error(event.error) | usage_facts(event.usage))


def _attempt_failed(event: AttemptFailed) -> Account:
    values = NO_VALUES if event.feedback is None else {"feedback": event.feedback}
    facts: Facts = {"attempt": event.attempt, "retry_at": _micros(event.retry_at)}
    return Account("attempt.failed", facts | _error(event.error) | usage_facts(event.usage), values)


def _node_started(event: NodeStarted) -> Account:
    facts: Facts = {"attempt": event.attempt, "node": event.node, "scopes": len(event.scopes)}
    return Account("node.started", facts)


def _node_completed(event: NodeCompleted) -> Account:
    facts: Facts = {"attempt": event.attempt, "duration_us": _micros(event.duration), "source": event.source}
    return Account("node.completed", facts, {"patch": event.patch} if event.patch else NO_VALUES)


def _node_failed(event: NodeFailed) -> Account:
    facts: Facts = {"attempt": event.attempt, "duration_us": _micros(event.duration)}
    return Account("node.failed", facts | _error(event.error))


def _question_asked(event: QuestionAsked) -> Account:
    terms = event.terms
    facts: Facts = {
        "attempt": event.attempt,
        "source": event.source,
        "response": event.response,
        "approvers": list(terms.approvers),
        "quorum": terms.quorum,
        "on_expiry": terms.on_expiry,
        "plugin": event.by,
        "question": event.sequence,
    }
    if terms.expires_at is not None:
        facts["expires_at"] = _micros(terms.expires_at)
    return Account("question.asked", facts | usage_facts(event.usage), event.payload)


def _answer(event: QuestionAnswered | VoteCast) -> Account:
    facts: Facts = {"question": event.question, "approver": event.approver, "verified": event.verified}
    if isinstance(event, QuestionAnswered):
        return Account("question.answered", facts | {"lapsed": event.lapsed}, {"answer": event.answer})
    return Account("vote.cast", facts, {"answer": event.answer})


def _call_completed(event: CallCompleted) -> Account:
    return Account("call.completed", usage_facts(event.usage) | {"attempt": event.attempt})


def _changed(event: PipelineMutated | AgentReconfigured) -> Account:
    kind = "pipeline.mutated" if isinstance(event, PipelineMutated) else "agent.reconfigured"
    facts: Facts = {"attempt": event.attempt, "fingerprint": event.fingerprint}
    return Account(kind, facts, {"change": event.change})


def _change_refused(event: ChangeRefused) -> Account:
    facts: Facts = {"attempt": event.attempt, "change": event.change, "reason": event.reason}
    return Account("change.refused", facts, {"message": event.message})


def _budget_refused(event: BudgetRefused) -> Account:
    return Account("budget.refused", _spend("most", event.most) | {"attempt": event.attempt, "budget": event.budget})


_TELLERS: Final[Mapping[type[RunEvent], Callable[[Any], Account]]] = {
    RunStarted: _run_started,
    RunResumed: _run_resumed,
    RunPaused: lambda event: Account("run.paused", {}),
    RunEnded: _run_ended,
    StepStarted: lambda event: Account("step.attempted", {"attempt": event.attempt}),
    StepCompleted: _step_completed,
    StepFailed: _step_failed,
    AttemptFailed: _attempt_failed,
    SegmentRestarted: lambda event: Account(
        "segment.restarted", {"attempt": event.attempt, "steps": list(event.steps)}
    ),
    NodeStarted: _node_started,
    NodeCompleted: _node_completed,
    NodeFailed: _node_failed,
    ItemTaken: lambda event: Account("item.taken", {"attempt": event.attempt}, {"item": event.item}),
    LoopDecided: lambda event: Account(
        "loop.decided", {"attempt": event.attempt, "iteration": event.iteration, "done": event.done}
    ),
    BranchDecided: lambda event: Account("branch.decided", {"attempt": event.attempt}, {"case": event.case}),
    QuestionAsked: _question_asked,
    QuestionAnswered: _answer,
    VoteCast: _answer,
    QuestionLapsed: lambda event: Account("question.lapsed", {"question": event.question, "action": event.action}),
    QuestionWithdrawn: lambda event: Account("question.withdrawn", {"question": event.question}),
    TokenReissued: lambda event: Account("token.reissued", {"question": event.asked}),
    CallCompleted: _call_completed,
    PipelineMutated: _changed,
    AgentReconfigured: _changed,
    ChangeRefused: _change_refused,
    BudgetReserved: lambda event: Account(
        "budget.reserved", {"attempt": event.attempt, "hold": event.hold} | _spend("most", event.most)
    ),
    BudgetSettled: lambda event: Account(
        "budget.settled", {"hold": event.hold, "known": event.is_known} | _spend("used", event.used)
    ),
    BudgetRefused: _budget_refused,
}
