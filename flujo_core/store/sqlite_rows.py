"""What the SQLite store does with its tables, in a transaction that somebody else begins and ends.

Whatever a function here refuses, it refuses before it writes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from time import time

from flujo_core.model.event import RunEnded, RunStatus
from flujo_core.store.protocol import ASKED, Lease, Mail, OpenQuestion, Record, RunSummary
from flujo_core.store.rules import check_acquire, check_append, check_post, lease_lost, status_after, unknown_run
from flujo_core.store.sqlite_file import RUN_BITS

MASK = (1 << RUN_BITS) - 1
FRESH = 2 / 3
"""The share of its time that must be left of a lease, else an append makes it last again."""

_LAST = f"(select max(id) from record where id between number << {RUN_BITS} and number << {RUN_BITS} | {MASK})"
_SUMMARY = (
    "select run_id, tenant, status, started_at, last.at, last.id & {mask}, run.epoch, held_until, holder, mail, taken,"
    f" number from run join record as last on last.id = {_LAST}"
).format(mask=MASK)
_INSERT = "insert into record values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def append(
    connection: sqlite3.Connection, records: Sequence[Record], lease: Lease, taken: int | None, release: bool
) -> None:
    """Keeps records, and with them what becomes of the lease."""
    run, number = find(connection, lease.run_id)
    check_append(run, records, lease, taken, release)
    status = status_after(records)
    until = 0.0 if release else time() + lease.ttl
    if run is None:
        number = _begin(connection, records[0], lease, status or "running", until, release)
    elif release or status not in (None, run.status) or taken is not None or run.held_until < until - lease.ttl / 3:
        connection.execute(
            "update run set status = ?, holder = ?, held_until = ?, taken = ? where number = ?",
            (status or run.status, "" if release else run.holder, until, run.taken if taken is None else taken, number),
        )
    connection.executemany(_INSERT, [_row(number << RUN_BITS, record) for record in records])
    for record in records:
        if record.kind == ASKED or record.question or record.kind == RunEnded.kind:
            _note_question(connection, number << RUN_BITS, record)


def _begin(
    connection: sqlite3.Connection, first: Record, lease: Lease, status: RunStatus, until: float, release: bool
) -> int:
    held = "" if release else lease.holder
    made = connection.execute(
        "insert into run values (null, ?, ?, ?, ?, ?, ?, ?, 0, 0)",
        (first.run_id, first.tenant, status, first.at, lease.epoch, held, until),
    )
    assert made.lastrowid is not None
    return made.lastrowid


def _row(run: int, record: Record) -> tuple[int, str, str, str, float, int, float | None, str | None, int, bytes]:
    _, _, sequence, kind, address, outcome, at, payload, epoch, expires_at, token_hash, question = record
    return run | sequence, kind, address, outcome, at, epoch, expires_at, token_hash, question, payload


def _note_question(connection: sqlite3.Connection, run: int, record: Record) -> None:
    """Opens the question that a record asks, or closes what it ends."""
    if record.kind == ASKED:
        asked = (run | record.sequence, record.run_id, record.tenant, record.at)
        connection.execute("insert into question values (?, ?, ?, ?)", asked)
    elif record.question:
        connection.execute("delete from question where id = ?", (run | record.question,))
    else:
        connection.execute("delete from question where id between ? and ?", (run, run | MASK))


def find(connection: sqlite3.Connection, run_id: str) -> tuple[RunSummary | None, int]:
    """A run and its number; None and 0 if there is none of that id."""
    row = connection.execute(f"{_SUMMARY} where run_id = ?", (run_id,)).fetchone()
    return (None, 0) if row is None else (RunSummary._make(row[:-1]), row[-1])


def read(connection: sqlite3.Connection, run_id: str, after: int) -> list[Record]:
    """The records of a run."""
    rows = connection.execute(
        "select run_id, tenant, id & ?, kind, address, outcome, at, payload, record.epoch, expires_at, token_hash,"
        f" question from run join record on id between (number << {RUN_BITS} | ?) + 1 and number << {RUN_BITS} | {MASK}"
        " where run_id = ? order by id",
        (MASK, min(after, MASK), run_id),
    )
    return [Record._make(row) for row in rows]


def runs(
    connection: sqlite3.Connection, limit: int, before: RunSummary | None, tenant: str | None, status: RunStatus | None
) -> list[RunSummary]:
    """Runs, the latest first."""
    wanted = {
        "(started_at, run_id) < (?, ?)": (before.started_at, before.run_id) if before else (),
        "tenant = ?": () if tenant is None else (tenant,),
        "status = ?": () if status is None else (status,),
    }
    where, values = _where(wanted)
    rows = connection.execute(
        f"{_SUMMARY} where {where} order by started_at desc, run_id desc limit ?", (*values, limit)
    )
    return [RunSummary._make(row[:-1]) for row in rows]


def questions(
    connection: sqlite3.Connection, limit: int, after: OpenQuestion | None, tenant: str | None, run_id: str | None
) -> list[OpenQuestion]:
    """Open questions, the oldest first."""
    first = 0 if run_id is None else _number(connection, run_id) << RUN_BITS
    key = (after.asked_at, after.run_id) if after else ()
    wanted = {
        "(asked_at, run_id) >= (?, ?)": key,  # what the index knows
        f"(asked_at, run_id, id & {MASK}) > (?, ?, ?)": (*key, after.sequence) if after else (),
        "tenant = ?": () if tenant is None else (tenant,),
        "id between ? and ?": () if run_id is None else (first, first | MASK),
    }
    where, values = _where(wanted)
    rows = connection.execute(
        f"select run_id, tenant, id & {MASK}, address, asked_at, expires_at from question join record using (id)"
        f" where {where} order by asked_at, run_id, id limit ?",
        (*values, limit),
    )
    return [OpenQuestion._make(row) for row in rows]


def _where(wanted: Mapping[str, Sequence[object]]) -> tuple[str, list[object]]:
    """The conditions that have values, as one, and those values."""
    conditions = [condition for condition, values in wanted.items() if values]
    return " and ".join(conditions) or "true", [value for values in wanted.values() for value in values]


def _number(connection: sqlite3.Connection, run_id: str) -> int:
    """The number of a run; 0, which no run has, if there is none of that id."""
    row = connection.execute("select number from run where run_id = ?", (run_id,)).fetchone()
    return 0 if row is None else int(row[0])


def acquire(connection: sqlite3.Connection, run_id: str, holder: str, ttl: float, instead_of: int | None) -> Lease:
    """Takes the lease of a run."""
    found, number = find(connection, run_id)
    now = time()
    run = check_acquire(found, run_id, now, instead_of)
    connection.execute(
        "update run set epoch = ?, holder = ?, held_until = ? where number = ?",
        (run.epoch + 1, holder, now + ttl, number),
    )
    return Lease(run_id, run.epoch + 1, holder, ttl)


def renew(connection: sqlite3.Connection, lease: Lease) -> None:
    """Makes a lease last again."""
    renewed = connection.execute(
        "update run set held_until = ? where run_id = ? and epoch = ? and holder <> ''",
        (time() + lease.ttl, lease.run_id, lease.epoch),
    )
    if not renewed.rowcount:
        raise lease_lost(lease)


def release(connection: sqlite3.Connection, lease: Lease) -> None:
    """Gives a lease back, unless it was lost."""
    connection.execute(
        "update run set holder = '', held_until = 0 where run_id = ? and epoch = ?", (lease.run_id, lease.epoch)
    )


def post(connection: sqlite3.Connection, mail: Mail, seen: int) -> bool:
    """Puts mail into the inbox of a run, if nothing was put there since."""
    run, number = find(connection, mail.run_id)
    if run is None:
        raise unknown_run(mail.run_id)
    now = time()
    asked = number << RUN_BITS | mail.question
    open_question = "select expires_at from question join record using (id) where id = ?"
    row = connection.execute(open_question, (asked,)).fetchone() if 0 < mail.question <= MASK else None
    check_post(mail, row is not None, row[0] if row else None, now)
    if run.mail != seen:
        return False
    connection.execute(
        "insert into mail values (?, ?, ?, ?, ?, ?, ?)",
        (number << RUN_BITS | seen + 1, mail.kind, mail.question, now, mail.voter, mail.token_hash, mail.payload),
    )
    connection.execute("update run set mail = ? where number = ?", (seen + 1, number))
    return True


def inbox(connection: sqlite3.Connection, run_id: str, after: int) -> list[Mail]:
    """The inbox of a run."""
    rows = connection.execute(
        f"select run_id, mail.id & {MASK}, kind, question, at, payload, voter, token_hash from run"
        f" join mail on mail.id between (number << {RUN_BITS} | ?) + 1 and number << {RUN_BITS} | {MASK}"
        " where run_id = ? order by mail.id",
        (min(after, MASK), run_id),
    )
    return [Mail._make(row) for row in rows]
