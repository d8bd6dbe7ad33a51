"""Events to records and back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from flujo_core.model.agent import Usage
from flujo_core.model.event import (
    AttemptFailed,
    BranchDecided,
    ErrorInfo,
    ItemTaken,
    JournaledEvent,
    LoopDecided,
    NodeCompleted,
    NodeFailed,
    NodeStarted,
    RunEnded,
    RunStarted,
    StepCompleted,
    StepFailed,
    StepStarted,
)
from flujo_core.model.patch import Patch, plain_patch
from flujo_core.store.protocol import Record


def encode(event: JournaledEvent, value: bytes = b"null", state: bytes = b"{}") -> Record:
    """The record of an event.

    Args:
        event: The event.
        value: Its input or output, as JSON.
        state: Its context's values or changes, as JSON.
    """
    lines = [to_json(_facts(event))]
    if isinstance(event, RunStarted | StepCompleted | NodeCompleted | ItemTaken | RunEnded):
        lines += [value, state]
    elif isinstance(event, AttemptFailed) and event.feedback is not None:
        lines.append(to_json(event.feedback))  # which may quote an output
    return Record(
        event.run_id,
        event.tenant,
        event.sequence,
        event.kind,
        event.address,
        _outcome(event),
        event.at,
        b"\n".join(lines),
    )


def decode(record: Record) -> JournaledEvent:
    """The event of a record, with values as plain JSON: dicts, lists, texts and numbers.

    Raises:
        ValueError: The record is not one that ``encode`` makes.
    """
    lines = [from_json(line) for line in [*record.payload.split(b"\n"), b"null", b"{}"][:3]]
    parts = _Parts((record.run_id, record.tenant, record.sequence, record.at, record.address), *lines)
    event = _step_event(record, parts) or _node_event(record, parts)
    if record.kind == RunStarted.kind:
        return RunStarted(*parts.head, parts.facts["pipeline"], parts.value, parts.state)
    if record.kind == RunEnded.kind:
        return RunEnded(*parts.head, record.outcome, parts.value, parts.facts["reason"], parts.error)  # type: ignore[arg-type]
    if event is None:
        raise ValueError(f"record {record.sequence} of run '{record.run_id}' is of an unknown kind, '{record.kind}'")
    return event


class _Parts(NamedTuple):
    """What a record holds: the head of its event, its facts, its value and its state."""

    head: tuple[str, str | None, int, float, str]
    facts: dict[str, Any]
    value: Any
    state: dict[str, Any]

    @property
    def error(self) -> ErrorInfo | None:
        return ErrorInfo(**self.facts["error"]) if self.facts.get("error") else None

    @property
    def patch(self) -> Patch:
        return plain_patch(self.state)

    @property
    def usage(self) -> Usage | None:
        return _usage(self.facts["usage"])


def _step_event(record: Record, parts: _Parts) -> JournaledEvent | None:
    head, facts, error = parts.head, parts.facts, parts.error
    match record.kind:
        case StepStarted.kind:
            return StepStarted(*head, facts["attempt"])
        case AttemptFailed.kind if error:
            return AttemptFailed(*head, facts["attempt"], error, facts["retry_at"], parts.usage, parts.value)
        case StepCompleted.kind:
            rest = (parts.patch, facts["duration"], parts.usage, facts.get("source", "node"))
            return StepCompleted(*head, facts["attempt"], parts.value, *rest)
        case StepFailed.kind if error:
            return StepFailed(*head, facts["attempt"], error, facts["duration"], parts.usage)
    return None


def _node_event(record: Record, parts: _Parts) -> JournaledEvent | None:
    head, facts, error = parts.head, parts.facts, parts.error
    match record.kind:
        case NodeStarted.kind:
            return NodeStarted(*head, facts["attempt"], facts["node"], facts["apart"], tuple(facts["scopes"]))
        case ItemTaken.kind:
            return ItemTaken(*head, facts["attempt"], facts["scope"], parts.value)
        case LoopDecided.kind:
            return LoopDecided(*head, facts["attempt"], facts["iteration"], facts["done"])
        case BranchDecided.kind:
            return BranchDecided(*head, facts["attempt"], facts["case"])
        case NodeCompleted.kind:
            rest = (facts["duration"], facts.get("source", "node"), parts.value)
            return NodeCompleted(*head, facts["attempt"], parts.patch, *rest)
        case NodeFailed.kind if error:
            return NodeFailed(*head, facts["attempt"], error, facts["duration"])
    return None


def _facts(event: JournaledEvent) -> dict[str, Any]:
    match event:
        case RunStarted():
            return {"pipeline": event.pipeline}
        case StepStarted():
            return {"attempt": event.attempt}
        case AttemptFailed():
            failed = {"attempt": event.attempt, "error": _error(event.error), "usage": _used(event.usage)}
            return failed | {"retry_at": event.retry_at}
        case StepCompleted():
            facts = {"attempt": event.attempt, "duration": event.duration, "usage": _used(event.usage)}
            return facts | _source(event)
        case NodeStarted():
            opened = {"node": event.node, "apart": event.apart, "scopes": event.scopes}
            return {"attempt": event.attempt} | opened
        case ItemTaken():
            return {"attempt": event.attempt, "scope": event.scope}
        case LoopDecided():
            return {"attempt": event.attempt, "iteration": event.iteration, "done": event.done}
        case BranchDecided():
            return {"attempt": event.attempt, "case": event.case}
        case NodeCompleted():
            return {"attempt": event.attempt, "duration": event.duration} | _source(event)
        case NodeFailed():
            return {"attempt": event.attempt, "error": _error(event.error), "duration": event.duration}
        case StepFailed():
            failed = {"attempt": event.attempt, "error": _error(event.error), "usage": _used(event.usage)}
            return failed | {"duration": event.duration}
        case _:
            return {"reason": event.reason, "error": _error(event.error) if event.error else None}


def _source(event: StepCompleted | NodeCompleted) -> dict[str, str]:
    return {} if event.source == "node" else {"source": event.source}


def _error(error: ErrorInfo) -> dict[str, str]:
    return {"type": error.type, "message": error.message}


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
    return ""
