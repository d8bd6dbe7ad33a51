"""A run that is forked off another one: which records it keeps, and how they become its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic_core import from_json, to_json

from flujo_core.engine.lease import first_lease
from flujo_core.engine.past import state_of, value_of
from flujo_core.engine.program import Program
from flujo_core.errors import UnknownAddress, did_you_mean
from flujo_core.model.causality import History, present_addresses
from flujo_core.model.event import (
    AttemptFailed,
    CallCompleted,
    QuestionAnswered,
    QuestionAsked,
    QuestionLapsed,
    RunEvent,
    RunStarted,
    SegmentRestarted,
    StepCompleted,
    StepFailed,
    StepStarted,
    TokenReissued,
    VoteCast,
)
from flujo_core.store.codec import decode, encode
from flujo_core.store.protocol import Record, Store

BEGUN = (StepStarted, CallCompleted, SegmentRestarted)
"""What an attempt of a step leaves that has not come to anything."""

CLOSING = (AttemptFailed, StepCompleted, StepFailed, QuestionAsked)
"""What such an attempt comes to."""


class Fork(NamedTuple):
    """A fork of a run.

    Attributes:
        run_id: The id of the new run.
        at: The address of the step or node that runs anew, with all that comes after it.
        keep_answers: Whether what people have answered before counts in the new run too.
    """

    run_id: str
    at: str
    keep_answers: bool


async def begun_fork(program: Program, store: Store, records: Sequence[Record]) -> None:
    """Puts the records of a fork into the store; nobody has its lease.

    Raises:
        RunExists: The store has a run of that id.
        CodecError: A value cannot be written.
    """
    lease = first_lease(records[0].run_id)
    if program.values is None:
        await store.append(records, lease, release=True)
        return
    from flujo_core.engine.typed import tell_types, types_in  # noqa: PLC0415 - few programs have value codecs

    _told = tell_types(store, lease.run_id, types_in(program, records))
    await store.append(records, lease, release=True)


def forked(records: Sequence[Record], fork: Fork) -> list[Record]:
    """The records that a fork begins with.

    Args:
        records: Those of the run that it is forked off.
        fork: Where, and as what.

    Raises:
        UnknownAddress: Nothing has run there.
    """
    events = list(map(decode, records))
    history = History(events)
    if fork.at not in history.addresses:
        known = did_you_mean(fork.at, history.addresses)
        raise UnknownAddress(f"in run '{records[0].run_id}', nothing has run at '{fork.at}'{known}")
    roots = {fork.at, *_asking(events, keep_answers=fork.keep_answers)}
    kept = [event for event in _come_to_something(history.before(roots)) if not isinstance(event, TokenReissued)]
    numbers = {event.sequence: number for number, event in enumerate(kept, 1)}
    return [_own(records[event.sequence - 1], event, numbers, fork) for event in kept]


def _asking(events: Sequence[RunEvent], *, keep_answers: bool) -> set[str]:
    """The addresses of the steps whose questions are asked again."""
    asked = {event.sequence for event in events if isinstance(event, QuestionAsked)}
    if keep_answers:
        asked -= {event.question for event in events if isinstance(event, QuestionAnswered | QuestionLapsed)}
    placed = zip(events, present_addresses(events), strict=True)
    return {address.partition("!")[0] for event, address in placed if event.sequence in asked}


def _come_to_something(events: Sequence[RunEvent]) -> list[RunEvent]:
    """The events without those of attempts that have not come to anything: these begin anew."""
    pending: dict[str, list[RunEvent]] = {}
    for event, address in zip(events, present_addresses(events), strict=True):
        if isinstance(event, BEGUN):
            pending.setdefault(address.partition("!")[0], []).append(event)
        elif isinstance(event, CLOSING):
            pending.pop(address.partition("!")[0], None)
    lost = {event.sequence for left in pending.values() for event in left}
    return [event for event in events if event.sequence not in lost]


def _own(record: Record, event: RunEvent, numbers: Mapping[int, int], fork: Fork) -> Record:
    """A record as the new run has it: no token of the old one is any good there."""
    made = record._replace(
        run_id=fork.run_id,
        sequence=numbers[event.sequence],
        epoch=1,
        token_hash=None,
        question=numbers.get(record.question, 0),
    )
    if isinstance(event, VoteCast):
        facts, rest = record.payload.split(b"\n", 1)
        own = from_json(facts) | {"question": numbers[event.question]}
        return made._replace(payload=to_json(own) + b"\n" + rest)
    if isinstance(event, RunStarted):
        origin = event.origin.changed(forked_from=record.run_id, forked_at=fork.at)
        told = encode(event.changed(origin=origin), value_of(record), state_of(record))
        return made._replace(payload=told.payload)
    return made
