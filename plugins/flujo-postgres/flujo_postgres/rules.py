"""What the store refuses, decided from what it knows of a run before anything is written."""

from __future__ import annotations

from collections.abc import Sequence

from flujo_core import (
    Lease,
    LeaseLost,
    Mail,
    MailWaiting,
    QuestionExpired,
    Record,
    RunBusy,
    RunExists,
    RunSummary,
    StoreError,
    UnknownQuestion,
    UnknownRun,
)

ASKED = "question_asked"
ENDED = "run_ended"
LIFE = frozenset({"run_started", "run_resumed", "run_paused", ENDED})
"""The kinds of record whose outcome is the status of the run."""


def check_records(run: RunSummary | None, records: Sequence[Record], lease: Lease) -> None:
    """Whether records can be appended to a run, or make it.

    Raises:
        StoreError: They cannot: the kind of error says why.
    """
    first = records[0].sequence if records else 0
    if first == 1:
        if run is not None:
            raise RunExists(f"run '{lease.run_id}' is in the store already; give the new run another id")
    elif run is None:
        raise unknown_run(lease.run_id)
    elif not holds(run, lease):
        raise lease_lost(lease)
    elif records and first != run.records + 1:
        raise StoreError(f"run '{lease.run_id}' has {run.records} records, so record {first} cannot be its next one")
    for sequence, record in enumerate(records, first):
        if record.sequence != sequence or record.run_id != lease.run_id:
            raise StoreError(f"records of run '{lease.run_id}' are not one after another, from record {first} on")


def check_release(run: RunSummary | None, run_id: str, taken: int | None) -> None:
    """Whether a lease can be given back.

    Raises:
        MailWaiting: There is mail that was not taken in.
    """
    if run is not None and run.mail > (run.taken if taken is None else taken):
        raise MailWaiting(f"run '{run_id}' has mail that its journal has not taken in; read it before you let go")


def check_acquire(run: RunSummary | None, run_id: str, now: float, instead_of: int | None) -> RunSummary:
    """Whether the lease of a run can be taken; gives the run.

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


def holds(run: RunSummary | None, lease: Lease) -> bool:
    """Whether a run is held by this lease."""
    return run is not None and run.holder != "" and run.epoch == lease.epoch


def unknown_run(run_id: str) -> UnknownRun:
    """There is no such run."""
    return UnknownRun(f"there is no run '{run_id}' in the store")


def lease_lost(lease: Lease) -> LeaseLost:
    """The run has another epoch, or nobody has it."""
    return LeaseLost(f"run '{lease.run_id}' was taken over, or let go, since epoch {lease.epoch}; nothing was written")
