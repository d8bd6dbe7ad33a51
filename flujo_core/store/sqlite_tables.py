"""What the SQLite store does with its tables, in a transaction that somebody else begins and ends.

Whatever a method here refuses, it refuses before it writes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from time import time
from typing import NamedTuple

from flujo_core.model.event import RunEnded, RunStatus
from flujo_core.store.protocol import ASKED, Lease, Mail, OpenQuestion, Record, RunSummary
from flujo_core.store.rules import check_acquire, check_append, check_post, lease_lost, status_after, unknown_run
from flujo_core.store.sqlite_file import RUN_BITS

MASK = (1 << RUN_BITS) - 1

UNPLACED = 1024
"""How many records may lie behind those whose place is known: who reads looks through them all; to place them writes a
page for each run among them."""

KNOWN = 10_000
"""How many runs are remembered at most."""

_RUN = (
    "select number, run_id, tenant, status, started_at, epoch, held_until, holder, mail, taken from run"
    " where {where} {order}"
)
_RECORD = (
    "select ?, ?, sequence, kind, address, outcome, at, payload, epoch, expires_at, token_hash, question from {source}"
)
_PLACED = _RECORD.format(source="place join record on id = record where key between ? and ? order by key")
_BEHIND = _RECORD.format(source="record where id > (select upto from placed) and run = ? and sequence > ? order by id")
_INSERT = "insert into record values (null, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_PLACE = f"insert into place select run << {RUN_BITS} | sequence, id from record where id > ? order by run, sequence"

Row = tuple[int, int, str, str, str, float, int, float | None, str | None, int, bytes]


class Known(NamedTuple):
    """A run and its number in the file."""

    number: int
    run: RunSummary


class Tables:
    """The tables as one connection sees them.

    It remembers the runs that it has written, as long as no other connection writes.

    Args:
        connection: The connection.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._known: dict[str, Known] = {}
        self._rows: list[Row] = []
        self._version = -1
        self._unplaced = 0

    def begin(self, *, writes: bool) -> None:
        """Begins a transaction; what is remembered is dropped if somebody else has written."""
        self.connection.execute("begin immediate" if writes else "begin")
        version = self.connection.execute("pragma data_version").fetchone()[0]
        if version != self._version:
            self._known.clear()
            last = "select coalesce(max(id), 0) - (select upto from placed) from record"
            self._unplaced = self.connection.execute(last).fetchone()[0]
            self._version = version

    def commit(self) -> None:
        """Makes what was done durable."""
        self.write()
        if self._unplaced >= UNPLACED:
            self._place()
        self.connection.execute("commit")

    def rollback(self) -> None:
        """Undoes what was done since ``begin``."""
        self._version = -1
        self._rows.clear()
        if self.connection.in_transaction:
            self.connection.execute("rollback")

    def write(self) -> None:
        """Writes the records that were appended and are not written yet: those of many appends cost less together."""
        if self._rows:
            self.connection.executemany(_INSERT, self._rows)
            self._unplaced += len(self._rows)
            self._rows.clear()

    def _place(self) -> None:
        upto = self.connection.execute("select upto from placed").fetchone()[0]
        self.connection.execute(_PLACE, (upto,))
        self.connection.execute("update placed set upto = (select coalesce(max(id), 0) from record)")
        self._unplaced = 0

    def append(self, records: Sequence[Record], lease: Lease, taken: int | None, release: bool) -> None:
        """Keeps records, and with them what becomes of the lease."""
        number, run = self._known.get(lease.run_id) or self._find(lease.run_id) or (0, None)
        check_append(run, records, lease, taken, release)
        if run is None:
            number, run = self._begin(records[0], lease)
        last = records[-1] if records else None
        until = 0.0 if release else time() + lease.ttl
        after = RunSummary(
            run.run_id, run.tenant, status_after(records) or run.status, run.started_at,
            last.at if last else run.updated_at, last.sequence if last else run.records, run.epoch,
            run.held_until if 0 < until - lease.ttl / 3 <= run.held_until else until, "" if release else run.holder,
            run.mail, run.taken if taken is None else taken,
        )  # fmt: skip
        if (after.status, after.held_until, after.taken) != (run.status, run.held_until, run.taken):
            self._update(number, after)
        self._rows += [_row(number, record) for record in records]
        self._note_questions(number << RUN_BITS, records)
        self._remember(number, after)

    def _begin(self, first: Record, lease: Lease) -> Known:
        """Makes a run that has no record yet."""
        run = RunSummary(
            first.run_id, first.tenant, "running", first.at, first.at, 0, lease.epoch, 0.0, lease.holder
        )  # fmt: skip
        made = self.connection.execute(
            "insert into run values (null, ?, ?, ?, ?, ?, ?, 0, 0, 0)",
            (run.run_id, run.tenant, run.status, run.started_at, run.epoch, run.holder),
        )
        assert made.lastrowid is not None
        return Known(made.lastrowid, run)

    def _update(self, number: int, run: RunSummary) -> None:
        self.connection.execute(
            "update run set status = ?, epoch = ?, held_until = ?, holder = ?, mail = ?, taken = ? where number = ?",
            (run.status, run.epoch, run.held_until, run.holder, run.mail, run.taken, number),
        )

    def _note_questions(self, run: int, records: Sequence[Record]) -> None:
        """Opens the questions that records ask, and closes those that they end."""
        for record in records:
            if record.kind == ASKED:
                self.connection.execute(
                    "insert into question values (?, ?, ?, ?, ?, ?)",
                    (run | record.sequence, *record[:2], record.address, record.at, record.expires_at),
                )
            elif record.question:
                self.connection.execute("delete from question where key = ?", (run | record.question,))
            elif record.kind == RunEnded.kind:
                self.connection.execute("delete from question where key between ? and ?", (run, run | MASK))

    def _remember(self, number: int, run: RunSummary) -> None:
        if len(self._known) >= KNOWN:
            self._known.clear()
        self._known[run.run_id] = Known(number, run)

    def run(self, run_id: str) -> RunSummary | None:
        """One run."""
        known = self._known.get(run_id) or self._find(run_id)
        return known and known.run

    def _find(self, run_id: str) -> Known | None:
        found = self._summaries("run_id = ?", (run_id,))
        return found[0] if found else None

    def runs(
        self, limit: int, before: RunSummary | None, tenant: str | None, status: RunStatus | None
    ) -> list[RunSummary]:
        """Runs, the latest first."""
        wanted: dict[str, Sequence[object]] = {
            "(started_at, run_id) < (?, ?)": (before.started_at, before.run_id) if before else (),
            "tenant = ?": () if tenant is None else (tenant,),
            "status = ?": () if status is None else (status,),
        }
        where, values = _where(wanted)
        found = self._summaries(where, (*values, limit), "order by started_at desc, run_id desc limit ?")
        return [known.run for known in found]

    def _summaries(self, where: str, values: Sequence[object], order: str = "") -> list[Known]:
        self.write()
        rows = self.connection.execute(_RUN.format(where=where, order=order), values).fetchall()
        behind: dict[int, tuple[int, float]] = {}
        if rows:
            last = "select run, max(sequence), at from record where id > (select upto from placed) group by run"
            behind = {number: (sequence, at) for number, sequence, at in self.connection.execute(last)}
        return [_known(row, *(behind.get(row[0]) or self._last_placed(row[0]))) for row in rows]

    def _last_placed(self, number: int) -> tuple[int, float]:
        """The sequence and the time of a run's last record, of those whose place is known."""
        found: tuple[int, float] = self.connection.execute(
            "select sequence, at from record where id ="
            " (select record from place where key between ? and ? order by key desc limit 1)",
            (number << RUN_BITS, number << RUN_BITS | MASK),
        ).fetchone() or (0, 0.0)
        return found

    def read(self, run_id: str, after: int) -> list[Record]:
        """The records of a run."""
        self.write()
        row = self.connection.execute("select number, tenant from run where run_id = ?", (run_id,)).fetchone()
        if row is None:
            return []
        number, tenant = row
        first, end = number << RUN_BITS | min(after, MASK - 1) + 1, number << RUN_BITS | MASK
        found = self.connection.execute(_PLACED, (run_id, tenant, first, end)).fetchall()
        found += self.connection.execute(_BEHIND, (run_id, tenant, number, min(after, MASK))).fetchall()
        return [Record._make(one) for one in found]

    def questions(
        self, limit: int, after: OpenQuestion | None, tenant: str | None, run_id: str | None
    ) -> list[OpenQuestion]:
        """Open questions, the oldest first."""
        first = 0 if run_id is None else self._number(run_id) << RUN_BITS
        wanted: dict[str, Sequence[object]] = {
            "(asked_at, run_id) >= (?, ?)": (after.asked_at, after.run_id) if after else (),  # what the index knows
            f"(asked_at, run_id, key & {MASK}) > (?, ?, ?)": (
                (after.asked_at, after.run_id, after.sequence) if after else ()
            ),
            "tenant = ?": () if tenant is None else (tenant,),
            "key between ? and ?": () if run_id is None else (first, first | MASK),
        }
        where, values = _where(wanted)
        found = self.connection.execute(
            f"select run_id, tenant, key & {MASK}, address, asked_at, expires_at from question"
            f" where {where} order by asked_at, run_id, key limit ?",
            (*values, limit),
        )
        return [OpenQuestion._make(one) for one in found]

    def _number(self, run_id: str) -> int:
        """The number of a run; 0, which no run has, if there is none of that id."""
        row = self.connection.execute("select number from run where run_id = ?", (run_id,)).fetchone()
        return 0 if row is None else int(row[0])

    def acquire(self, run_id: str, holder: str, ttl: float, instead_of: int | None) -> Lease:
        """Takes the lease of a run."""
        known, now = self._known.get(run_id) or self._find(run_id), time()
        run = check_acquire(known and known.run, run_id, now, instead_of)
        assert known
        after = run._replace(epoch=run.epoch + 1, holder=holder, held_until=now + ttl)
        self._update(known.number, after)
        self._remember(known.number, after)
        return Lease(run_id, after.epoch, holder, ttl)

    def renew(self, lease: Lease) -> None:
        """Makes a lease last again."""
        known = self._held(lease)
        if known is None:
            raise lease_lost(lease)
        after = known.run._replace(held_until=time() + lease.ttl)
        self._update(known.number, after)
        self._remember(known.number, after)

    def release(self, lease: Lease) -> None:
        """Gives a lease back, unless it was lost."""
        if known := self._held(lease):
            after = known.run._replace(holder="", held_until=0.0)
            self._update(known.number, after)
            self._remember(known.number, after)

    def _held(self, lease: Lease) -> Known | None:
        """The run, if the lease is still the one that it is held by."""
        known = self._known.get(lease.run_id) or self._find(lease.run_id)
        return known if known and known.run.holder and known.run.epoch == lease.epoch else None

    def delete(self, lease: Lease) -> None:
        """Takes a run out of all tables."""
        known = self._held(lease)
        if known is None:
            raise lease_lost(lease) if self.run(lease.run_id) else unknown_run(lease.run_id)
        self.write()
        own = (known.number << RUN_BITS, known.number << RUN_BITS | MASK)
        placed = "delete from record where id in (select record from place where key between ? and ?)"
        self.connection.execute(placed, own)
        behind = "delete from record where id > (select upto from placed) and run = ?"
        self.connection.execute(behind, (known.number,))
        for table in ("place", "question", "mail"):
            self.connection.execute(f"delete from {table} where key between ? and ?", own)
        self.connection.execute("delete from run where number = ?", (known.number,))
        # the next record gets the highest id and one more, which may be one of a record that is gone
        self.connection.execute("update placed set upto = min(upto, (select coalesce(max(id), 0) from record))")
        self._known.pop(lease.run_id, None)
        self._version = -1  # what lies behind those whose place is known is counted anew

    def post(self, mail: Mail, seen: int) -> bool:
        """Puts mail into the inbox of a run, if nothing was put there since."""
        known, now = self._known.get(mail.run_id) or self._find(mail.run_id), time()
        if known is None:
            raise unknown_run(mail.run_id)
        number, run = known
        key = number << RUN_BITS | mail.question if 0 < mail.question <= MASK else 0
        row = self.connection.execute("select expires_at from question where key = ?", (key,)).fetchone()
        check_post(mail, row is not None, row[0] if row else None, now)
        if run.mail != seen:
            return False
        self._put(number, mail._replace(number=seen + 1, at=now))
        after = run._replace(mail=seen + 1)
        self._update(number, after)
        self._remember(number, after)
        return True

    def _put(self, number: int, mail: Mail) -> None:
        key = number << RUN_BITS | mail.number
        values = (key, mail.kind, mail.question, mail.at, mail.voter, mail.token_hash, mail.payload)
        self.connection.execute("insert into mail values (?, ?, ?, ?, ?, ?, ?)", values)

    def restore(self, records: Sequence[Record], mail: Sequence[Mail], epoch: int, taken: int) -> None:
        """Makes a run of what was kept of it elsewhere; nobody has its lease."""
        lease = Lease(records[0].run_id, epoch, "import", 0.0)
        self.append(records, lease, taken, True)
        number, run = self._known[lease.run_id]
        for one in mail:
            self._put(number, one)
        self._update(number, run._replace(mail=len(mail)))
        self._remember(number, run._replace(mail=len(mail)))

    def inbox(self, run_id: str, after: int) -> list[Mail]:
        """The inbox of a run."""
        first = self._number(run_id) << RUN_BITS
        found = self.connection.execute(
            f"select ?, key & {MASK}, kind, question, at, payload, voter, token_hash from mail"
            " where key > ? and key <= ? order by key",
            (run_id, first | min(after, MASK), first | MASK),
        )
        return [Mail._make(one) for one in found]


def _where(wanted: Mapping[str, Sequence[object]]) -> tuple[str, list[object]]:
    """The conditions that have values, as one, and those values."""
    conditions = [condition for condition, values in wanted.items() if values]
    return " and ".join(conditions) or "true", [value for values in wanted.values() for value in values]


def _known(
    row: tuple[int, str, str | None, RunStatus, float, int, float, str, int, int], last: int, at: float
) -> Known:
    number, run_id, tenant, status, started_at, epoch, held_until, holder, mail, taken = row
    return Known(
        number, RunSummary(run_id, tenant, status, started_at, at, last, epoch, held_until, holder, mail, taken)
    )


def _row(number: int, record: Record) -> Row:
    _, _, sequence, kind, address, outcome, at, payload, epoch, expires_at, token_hash, question = record
    return number, sequence, kind, address, outcome, at, epoch, expires_at, token_hash, question, payload
