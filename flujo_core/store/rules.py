"""What a store refuses, and in which words: decided from what it knows of a run, before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from flujo_core.errors import (
    LeaseLost,
    MailWaiting,
    QuestionExpired,
    RunBusy,
    RunExists,
    StoreError,
    UnknownQuestion,
    UnknownRun,
)
from flujo_core.model.event import RunStatus
from flujo_core.store.protocol import LIFE, Lease, Mail, Record, RunSummary


def check_append(
    run: RunSummary | None, records: Sequence[Record], lease: Lease, taken: int | None, release: bool
) -> None:
    """Whether records can be appended to a run, or make it.

    Args:
        run: The run as it is, or None if there is none of that id.
        records: What is to be appended.
        lease: The right to write.
        taken: The number of the last mail that is taken in with them; None: as before.
        release: Whether the lease is given back with them.

    Raises:
        StoreError: They cannot: the kind of error says why.
    """
    first = records[0].sequence if records else 0
    if first == 1:
        if run is not None:
            raise RunExists(f"run '{lease.run_id}' is in the store already; give the new run another id")
    elif run is None:
        raise unknown_run(lease.run_id)
    elif run.epoch != lease.epoch or not run.holder:
        raise lease_lost(lease)
    elif records and first != run.records + 1:
        raise StoreError(f"run '{lease.run_id}' has {run.records} records, so record {first} cannot be its next one")
    for sequence, record in enumerate(records, first):
        if record.sequence != sequence or record.run_id != lease.run_id:
            raise StoreError(f"records of run '{lease.run_id}' are not one after another, from record {first} on")
    if release and run is not None and run.mail > (run.taken if taken is None else taken):
        raise MailWaiting(f"run '{lease.run_id}' has mail that its journal has not taken in; read it before you let go")


def check_acquire(run: RunSummary | None, run_id: str, now: float, instead_of: int | None) -> RunSummary:
    """Whether the lease of a run can be taken.

    Args:
        run: The run as it is, or None if there is none of that id.
        run_id: Its id.
        now: The time, by the store's clock.
        instead_of: The epoch whose holder is dead, or None.

    Returns:
        The run.

    Raises:
        UnknownRun: There is none.
        RunBusy: Somebody has it.
    """
    if run is None:
        raise unknown_run(run_id)
    if run.holder and run.held_until > now and run.epoch != instead_of:
        message = f"somebody else goes on with run '{run_id}'; try again in {max(1, round(run.held_until - now))} s"
        raise RunBusy(message, run.held_until, run.holder, run.epoch)
    return run


def check_post(mail: Mail, is_open: bool, expires_at: float | None, now: float) -> None:
    """Whether mail can be put into the inbox of a run that there is.

    Args:
        mail: The mail.
        is_open: Whether the question that it is about is open.
        expires_at: Until when that can be answered, or None.
        now: The time, by the store's clock.

    Raises:
        UnknownQuestion: It is about a question that is not open.
        QuestionExpired: The question's time is over.
    """
    if mail.kind == "cancel" and not mail.question:
        return
    if not is_open:
        raise UnknownQuestion(f"run '{mail.run_id}' has no open question {mail.question}")
    if mail.kind == "answer" and expires_at is not None and expires_at <= now:
        raise QuestionExpired(f"the time to answer question {mail.question} of run '{mail.run_id}' is over")


def status_after(records: Sequence[Record]) -> RunStatus | None:
    """The status that records give their run, or None if they leave it as it is."""
    for record in reversed(records):
        if record.kind in LIFE:
            return cast(RunStatus, record.outcome or "running")
    return None


def unknown_run(run_id: str) -> UnknownRun:
    """There is no such run."""
    return UnknownRun(f"there is no run '{run_id}' in the store")


def lease_lost(lease: Lease) -> LeaseLost:
    """The run has another epoch, or nobody has it."""
    return LeaseLost(f"run '{lease.run_id}' was taken over, or let go, since epoch {lease.epoch}; nothing was written")
