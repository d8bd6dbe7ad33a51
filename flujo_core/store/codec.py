"""Events to records and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from pydantic_core import from_json, to_json

from flujo_core.errors import CodecError
from flujo_core.model.agent import Usage
from flujo_core.model.event import (
    NO_ORIGIN,
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
    JournaledEvent,
    LoopDecided,
    NodeCompleted,
    NodeFailed,
    NodeStarted,
    Origin,
    PipelineMutated,
    QuestionAnswered,
    QuestionAsked,
    QuestionLapsed,
    QuestionTerms,
    QuestionWithdrawn,
    RunEnded,
    RunPaused,
    RunResumed,
    RunStarted,
    SegmentRestarted,
    StepCompleted,
    StepFailed,
    StepStarted,
    TokenReissued,
    VoteCast,
)
from flujo_core.model.patch import Patch, plain_patch
from flujo_core.model.slotted import NamedTuple
from flujo_core.model.spend import Spend
from flujo_core.store.byte_codec import about_record, missing, written_with
from flujo_core.store.protocol import Record

WITH_VALUES = (
    RunStarted, StepCompleted, NodeCompleted, ItemTaken, QuestionAsked, VoteCast, QuestionAnswered, CallCompleted,
    RunEnded,
)  # fmt: skip
"""The events whose records have a value and a state."""


def encode(event: JournaledEvent, value: bytes = b"null", state: bytes = b"{}", epoch: int = 1) -> Record:
    """The record of an event.

    Args:
        event: The event.
        value: Its input, output, answer or result, as JSON; of a question that is asked, its ``payload``.
        state: Its context's values or changes, as JSON.
        epoch: The epoch of the lease that it is written under.
    """
    if type(event) is StepStarted:  # every step has one: what is asked below is known of it
        return _record(event, "", b'{"attempt":%d}' % event.attempt, epoch)
    if type(event) is StepCompleted:
        return _record(event, _outcome(event), b"\n".join((to_json(_facts(event)), value, state)), epoch)
    lines = [to_json(_facts(event))]
    if isinstance(event, WITH_VALUES):
        lines += [value, state]
    elif isinstance(event, AttemptFailed) and event.feedback is not None:
        lines.append(to_json(event.feedback))  # which may quote an output
    record = _record(event, _outcome(event), b"\n".join(lines), epoch)
    if isinstance(event, QuestionAsked):
        return record._replace(expires_at=event.terms.expires_at, token_hash=event.token_hash)
    if isinstance(event, QuestionAnswered | QuestionLapsed | QuestionWithdrawn):
        return record._replace(question=event.question)
    return record


def _record(event: JournaledEvent, outcome: str, payload: bytes, epoch: int) -> Record:
    # tuple.__new__ takes half the time of a NamedTuple's own, which counts at each step
    return tuple.__new__(
        Record,
        (
            event.run_id, event.tenant, event.sequence, event.kind, event.address, outcome, event.at, payload, epoch,
            None, None, 0,
        ),
    )  # fmt: skip


def decode(record: Record) -> JournaledEvent:
    """The event of a record, with values as plain JSON: dicts, lists, texts and numbers.

    Raises:
        ValueError: The record is not one that ``encode`` makes.
        CodecError: It was written with a codec, and is read without.
    """
    if names := written_with(record.payload):
        raise CodecError(missing(about_record(record), names[-1]))
    decoder = DECODERS.get(record.kind)
    if decoder is None:
        raise ValueError(f"record {record.sequence} of run '{record.run_id}' is of an unknown kind, '{record.kind}'")
    facts, *rest = record.payload.split(b"\n", 2)
    value = from_json(rest[0]) if rest else None
    state = from_json(rest[1]) if len(rest) > 1 else {}
    head = (record.run_id, record.tenant, record.sequence, record.at, record.address)
    return decoder(_Parts(record, head, from_json(facts), value, state))


class _Parts(NamedTuple):
    """A record, and what it holds: the head of its event, its facts, its value and its state."""

    record: Record
    head: tuple[str, str | None, int, float, str]
    facts: dict[str, Any]
    value: Any
    state: dict[str, Any]

    @property
    def attempted(self) -> tuple[str, str | None, int, float, str, int]:
        """The head, and the number of the attempt."""
        return *self.head, self.facts["attempt"]

    @property
    def error(self) -> ErrorInfo | None:
        told = self.facts.get("error")
        return ErrorInfo(told["type"], told["message"], tuple(told.get("lineage", ()))) if told else None

    @property
    def failure(self) -> ErrorInfo:
        """The error of what has failed."""
        if self.error is None:
            raise ValueError(f"record {self.record.sequence} of run '{self.record.run_id}' says of no error")
        return self.error

    @property
    def patch(self) -> Patch:
        return plain_patch(self.state)

    @property
    def usage(self) -> Usage | None:
        return _usage(self.facts.get("usage"))

    def with_spend(self, name: str) -> dict[str, Any]:
        """The facts, of which one is an amount."""
        amount = self.facts[name]
        return self.facts | {name: Spend(**amount | {"cost_usd": Decimal(amount["cost_usd"])})}

    @property
    def origin(self) -> Origin:
        return Origin(**self.facts["origin"]) if "origin" in self.facts else NO_ORIGIN

    @property
    def source(self) -> Any:
        return self.facts.get("source", "node")


def _run_started(parts: _Parts) -> RunStarted:
    return RunStarted(*parts.head, parts.facts["pipeline"], parts.value, parts.state, parts.origin)


def _run_resumed(parts: _Parts) -> RunResumed:
    return RunResumed(*parts.head, parts.origin, parts.facts["retry_failed"], parts.facts["renamed"])


def _run_ended(parts: _Parts) -> RunEnded:
    status: Any = parts.record.outcome
    return RunEnded(*parts.head, status, parts.value, parts.facts["reason"], parts.error)


def _attempt_failed(parts: _Parts) -> AttemptFailed:
    return AttemptFailed(*parts.attempted, parts.failure, parts.facts["retry_at"], parts.usage, parts.value)


def _step_completed(parts: _Parts) -> StepCompleted:
    rest = (parts.patch, parts.facts["duration"], parts.usage, parts.source)
    return StepCompleted(*parts.attempted, parts.value, *rest)


def _step_failed(parts: _Parts) -> StepFailed:
    return StepFailed(*parts.attempted, parts.failure, parts.facts["duration"], parts.usage)


def _node_started(parts: _Parts) -> NodeStarted:
    facts = parts.facts
    return NodeStarted(*parts.attempted, facts["node"], facts["apart"], tuple(facts["scopes"]))


def _node_completed(parts: _Parts) -> NodeCompleted:
    return NodeCompleted(*parts.attempted, parts.patch, parts.facts["duration"], parts.source, parts.value)


def _question_asked(parts: _Parts) -> QuestionAsked:
    facts, value = parts.facts, parts.value
    terms = QuestionTerms(
        tuple(facts["approvers"]), facts["quorum"], parts.record.expires_at, facts["on_expiry"], value["default"]
    )
    return QuestionAsked(
        *parts.attempted, facts["source"], value["text"], facts["response"], facts["json_schema"], terms,
        value["state"], parts.patch, facts["duration"], parts.usage, facts["by"], parts.record.token_hash,
    )  # fmt: skip


def _vote_cast(parts: _Parts) -> VoteCast:
    return VoteCast(*parts.head, parts.facts["question"], parts.value, parts.facts["approver"], parts.facts["verified"])


def _question_answered(parts: _Parts) -> QuestionAnswered:
    facts = parts.facts
    rest = (facts["approver"], facts["verified"], facts["lapsed"])
    return QuestionAnswered(*parts.head, parts.record.question, parts.value, *rest)


def _call_completed(parts: _Parts) -> CallCompleted:
    return CallCompleted(*parts.attempted, parts.facts["digest"], parts.value, parts.patch, parts.usage)


DECODERS: Mapping[str, Callable[[_Parts], JournaledEvent]] = {
    RunStarted.kind: _run_started,
    RunPaused.kind: lambda parts: RunPaused(*parts.head),
    RunResumed.kind: _run_resumed,
    RunEnded.kind: _run_ended,
    StepStarted.kind: lambda parts: StepStarted(*parts.attempted),
    AttemptFailed.kind: _attempt_failed,
    StepCompleted.kind: _step_completed,
    StepFailed.kind: _step_failed,
    NodeStarted.kind: _node_started,
    ItemTaken.kind: lambda parts: ItemTaken(*parts.attempted, parts.facts["scope"], parts.value),
    LoopDecided.kind: lambda parts: LoopDecided(*parts.attempted, parts.facts["iteration"], parts.facts["done"]),
    BranchDecided.kind: lambda parts: BranchDecided(*parts.attempted, parts.facts["case"]),
    NodeCompleted.kind: _node_completed,
    NodeFailed.kind: lambda parts: NodeFailed(*parts.attempted, parts.failure, parts.facts["duration"]),
    QuestionAsked.kind: _question_asked,
    VoteCast.kind: _vote_cast,
    QuestionAnswered.kind: _question_answered,
    QuestionLapsed.kind: lambda parts: QuestionLapsed(*parts.head, parts.record.question, parts.facts["action"]),
    QuestionWithdrawn.kind: lambda parts: QuestionWithdrawn(*parts.head, parts.record.question),
    TokenReissued.kind: lambda parts: TokenReissued(*parts.head, parts.facts["asked"], parts.facts["token_hash"]),
    CallCompleted.kind: _call_completed,
    SegmentRestarted.kind: lambda parts: SegmentRestarted(*parts.attempted, tuple(parts.facts["steps"])),
    PipelineMutated.kind: lambda parts: PipelineMutated(*parts.head, **parts.facts),
    AgentReconfigured.kind: lambda parts: AgentReconfigured(*parts.head, **parts.facts),
    ChangeRefused.kind: lambda parts: ChangeRefused(*parts.head, **parts.facts),
    BudgetReserved.kind: lambda parts: BudgetReserved(*parts.head, **parts.with_spend("most")),
    BudgetSettled.kind: lambda parts: BudgetSettled(*parts.head, **parts.with_spend("used")),
    BudgetRefused.kind: lambda parts: BudgetRefused(*parts.head, **parts.with_spend("most")),
}
"""What makes an event of what a record holds, by the record's kind."""


def _facts(event: JournaledEvent) -> dict[str, Any]:
    match event:
        case AttemptFailed():
            failed = {"attempt": event.attempt, "error": _error(event.error), "usage": _used(event.usage)}
            return failed | {"retry_at": event.retry_at}
        case StepCompleted():
            facts = {"attempt": event.attempt, "duration": event.duration, "usage": _used(event.usage)}
            return facts | _source(event)
        case StepFailed():
            failed = {"attempt": event.attempt, "error": _error(event.error), "usage": _used(event.usage)}
            return failed | {"duration": event.duration}
        case CallCompleted():
            return {"attempt": event.attempt, "digest": event.digest, "usage": _used(event.usage)}
    return _node_facts(event) or _question_facts(event) or _run_facts(event) or _budget_facts(event)


def _node_facts(event: JournaledEvent) -> dict[str, Any]:
    match event:
        case NodeStarted():
            opened = {"node": event.node, "apart": event.apart, "scopes": event.scopes}
            return {"attempt": event.attempt} | opened
        case ItemTaken():
            return {"attempt": event.attempt, "scope": event.scope}
        case LoopDecided():
            return {"attempt": event.attempt, "iteration": event.iteration, "done": event.done}
        case BranchDecided():
            return {"attempt": event.attempt, "case": event.case}
        case SegmentRestarted():
            return {"attempt": event.attempt, "steps": event.steps}
        case PipelineMutated() | AgentReconfigured():
            made = {"manifest": event.manifest, "fingerprint": event.fingerprint}
            return {"attempt": event.attempt, "change": event.change} | made
        case ChangeRefused():
            why = {"reason": event.reason, "message": event.message}
            return {"attempt": event.attempt, "change": event.change} | why
        case NodeCompleted():
            return {"attempt": event.attempt, "duration": event.duration} | _source(event)
        case NodeFailed():
            return {"attempt": event.attempt, "error": _error(event.error), "duration": event.duration}
    return {}


def _budget_facts(event: JournaledEvent) -> dict[str, Any]:
    match event:
        case BudgetReserved():
            return {"attempt": event.attempt, "hold": event.hold, "most": event.most._asdict()}
        case BudgetSettled():
            return {"hold": event.hold, "used": event.used._asdict(), "is_known": event.is_known}
        case BudgetRefused():
            why = {"budget": event.budget, "message": event.message}
            return {"attempt": event.attempt, "most": event.most._asdict()} | why
    return {}


def _question_facts(event: JournaledEvent) -> dict[str, Any]:
    match event:
        case QuestionAsked():
            terms = event.terms
            asked = {"attempt": event.attempt, "source": event.source, "response": event.response}
            may = {"approvers": terms.approvers, "quorum": terms.quorum, "on_expiry": terms.on_expiry}
            taken = {"duration": event.duration, "usage": _used(event.usage), "by": event.by}
            return {**asked, "json_schema": event.json_schema, **may, **taken}
        case VoteCast():
            return {"question": event.question, "approver": event.approver, "verified": event.verified}
        case QuestionAnswered():
            return {"approver": event.approver, "verified": event.verified, "lapsed": event.lapsed}
        case QuestionLapsed():
            return {"action": event.action}
        case TokenReissued():
            return {"asked": event.asked, "token_hash": event.token_hash}
    return {}


def _run_facts(event: JournaledEvent) -> dict[str, Any]:
    match event:
        case RunStarted():
            return {"pipeline": event.pipeline} | _origin(event.origin)
        case RunResumed():
            return {"retry_failed": event.retry_failed, "renamed": event.renamed} | _origin(event.origin)
        case RunEnded():
            return {"reason": event.reason, "error": _error(event.error) if event.error else None}
    return {}


def _origin(origin: Origin) -> dict[str, Any]:
    if origin is NO_ORIGIN:
        return {}
    parts = {"manifest": origin.manifest, "plugins": origin.plugins, "input_digest": origin.input_digest}
    names = {"names_key": origin.names_key, "names_in": origin.names_in} if origin.names_key else {}
    fork = {"forked_from": origin.forked_from, "forked_at": origin.forked_at} if origin.forked_from else {}
    about = {"subject": origin.subject} if origin.subject else {}
    return {"origin": parts | names | fork | about}


def _source(event: StepCompleted | NodeCompleted) -> dict[str, str]:
    return {} if event.source == "node" else {"source": event.source}


def _error(error: ErrorInfo) -> dict[str, Any]:
    told = {"type": error.type, "message": error.message}
    return told | {"lineage": error.lineage} if error.lineage else told


def _used(usage: Usage | None) -> dict[str, Any] | None:
    return None if usage is None else usage._asdict()


def _usage(facts: dict[str, Any] | None) -> Usage | None:
    if facts is None:
        return None
    cost = facts.pop("cost_usd")
    return Usage(**facts, cost_usd=None if cost is None else Decimal(cost))


def _outcome(event: JournaledEvent) -> str:
    match event:
        case StepCompleted():
            return "completed" if event.attempt or event.source == "cache" else "skipped"
        case NodeCompleted():
            return "completed"
        case StepFailed() | NodeFailed():
            return "failed"
        case RunEnded():
            return event.status
        case RunStarted() | RunResumed():
            return "running"
        case RunPaused():
            return "paused"
    return ""
