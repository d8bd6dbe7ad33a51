"""Many writes as one transaction: their runs are locked and read, each is decided in turn, and all are written at once.

Whatever a method refuses, it refuses before it changes anything, so the others of the batch are not touched by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import asyncpg

from flujo_core import Lease, Mail, OpenQuestion, Record, RunSummary
from flujo_postgres.rules import (
    ASKED,
    ENDED,
    LIFE,
    check_acquire,
    check_post,
    check_records,
    check_release,
    holds,
    lease_lost,
    unknown_run,
)

MAIL = "flujo_mail"
"""The channel, followed by the schema, on which is told that a run has mail."""

SUMMARY = "run_id, tenant, status, started_at, updated_at, records, epoch, held_until, holder, mail, taken"
NOW = "extract(epoch from clock_timestamp())::float8"

_LOCK = f"select {SUMMARY}, {NOW} as now from run where run_id = any($1::text[]) order by run_id for update"
_QUESTIONS = (
    "select run_id, tenant, sequence, address, asked_at, expires_at from question where run_id = any($1::text[])"
)
_RUN_TYPES = ("text", "text", "text", "float8", "float8", "bigint", "bigint", "float8", "text", "bigint", "bigint")
_RECORD_TYPES = (
    "text", "bigint", "text", "text", "text", "float8", "bytea", "bigint", "float8", "text", "bigint",
)  # fmt: skip
_QUESTION_TYPES = ("text", "text", "bigint", "text", "float8", "float8")
_MAIL_TYPES = ("text", "bigint", "text", "bigint", "float8", "bytea", "text", "text")


def _unnest(types: Sequence[str]) -> str:
    return "unnest(" + ", ".join(f"${place}::{kind}[]" for place, kind in enumerate(types, 1)) + ")"


_MAKE = f"insert into run select * from {_unnest(_RUN_TYPES)} on conflict do nothing returning run_id"
_CHANGE = (
    "update run set status = new.status, updated_at = new.updated_at, records = new.records, epoch = new.epoch,"
    f" held_until = new.held_until, holder = new.holder, mail = new.mail, taken = new.taken from {_unnest(_RUN_TYPES)}"
    f" as new ({SUMMARY}) where run.run_id = new.run_id"
)
_RECORDS = f"insert into record select * from {_unnest(_RECORD_TYPES)}"
_ASK = f"insert into question select * from {_unnest(_QUESTION_TYPES)}"
_CLOSE = "delete from question using unnest($1::text[], $2::bigint[]) as old (run_id, sequence)"
_CLOSE += " where question.run_id = old.run_id and question.sequence = old.sequence"
_POST = f"insert into mail select * from {_unnest(_MAIL_TYPES)}"


class Overtaken(Exception):
    """Another transaction has made a run of the same id meanwhile; the batch is to be done again."""


class Batch:
    """The runs of some writes, as they are while the transaction has them locked.

    Args:
        connection: Where the transaction is open.
    """

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._runs: dict[str, RunSummary] = {}
        self._there: dict[str, RunSummary] = {}
        self._open: dict[tuple[str, int], OpenQuestion] = {}
        self._opened: dict[tuple[str, int], OpenQuestion] = {}
        self._records: list[Record] = []
        self._mail: list[Mail] = []
        self._gone: list[str] = []
        self._now = 0.0

    async def load(self, run_ids: Iterable[str]) -> None:
        """Locks runs, in an order that is everybody's, and reads them and their open questions."""
        wanted = sorted(set(run_ids))
        rows = await self._connection.fetch(_LOCK, wanted)
        self._there = {row["run_id"]: RunSummary._make(tuple(row)[:-1]) for row in rows}
        self._now = max((row["now"] for row in rows), default=0.0) or await self._connection.fetchval(f"select {NOW}")
        self._runs = dict(self._there)
        asked = await self._connection.fetch(_QUESTIONS, list(self._there)) if self._there else ()
        self._opened = {(row["run_id"], row["sequence"]): OpenQuestion._make(row) for row in asked}
        self._open = dict(self._opened)

    def append(self, records: Sequence[Record], lease: Lease, taken: int | None, release: bool) -> None:
        """Keeps records, and with them what becomes of the lease."""
        found = self._runs.get(lease.run_id)
        check_records(found, records, lease)
        if release:
            check_release(found, lease.run_id, taken)
        run = found or _begun(records[0], lease)
        lives = [record.outcome or "running" for record in records if record.kind in LIFE]
        last = records[-1] if records else None
        self._runs[run.run_id] = RunSummary._make(
            (
                run.run_id, run.tenant, lives[-1] if lives else run.status, run.started_at,
                last.at if last else run.updated_at, last.sequence if last else run.records, run.epoch,
                0.0 if release else self._now + lease.ttl, "" if release else run.holder, run.mail,
                run.taken if taken is None else taken,
            )
        )  # fmt: skip
        self._records += records
        for record in records:
            self._note_question(record)

    def _note_question(self, record: Record) -> None:
        """Opens the question that a record asks, or closes those that it ends."""
        if record.kind == ASKED:
            self._open[record.run_id, record.sequence] = OpenQuestion(
                record.run_id, record.tenant, record.sequence, record.address, record.at, record.expires_at
            )
        elif record.question:
            self._open.pop((record.run_id, record.question), None)
        elif record.kind == ENDED:
            for key in [key for key in self._open if key[0] == record.run_id]:
                del self._open[key]

    def acquire(self, run_id: str, holder: str, ttl: float, instead_of: int | None) -> Lease:
        """Takes the lease of a run."""
        run = check_acquire(self._runs.get(run_id), run_id, self._now, instead_of)
        self._runs[run_id] = run._replace(epoch=run.epoch + 1, holder=holder, held_until=self._now + ttl)
        return Lease(run_id, run.epoch + 1, holder, ttl)

    def renew(self, lease: Lease) -> None:
        """Makes a lease last again."""
        run = self._runs.get(lease.run_id)
        if run is None or not holds(run, lease):
            raise lease_lost(lease)
        self._runs[lease.run_id] = run._replace(held_until=self._now + lease.ttl)

    def release(self, lease: Lease) -> None:
        """Gives a lease back, unless it was lost."""
        run = self._runs.get(lease.run_id)
        if run is not None and holds(run, lease):
            self._runs[lease.run_id] = run._replace(holder="", held_until=0.0)

    def delete(self, lease: Lease) -> None:
        """Takes a run out, with all that is of it, also what this batch has put there."""
        run_id = lease.run_id
        run = self._runs.get(run_id)
        if run is None:
            raise unknown_run(run_id)
        if not holds(run, lease):
            raise lease_lost(lease)
        del self._runs[run_id]
        if self._there.pop(run_id, None) is not None:
            self._gone.append(run_id)
        self._records = [one for one in self._records if one.run_id != run_id]
        self._mail = [one for one in self._mail if one.run_id != run_id]
        for asked in (self._open, self._opened):
            for key in [key for key in asked if key[0] == run_id]:
                del asked[key]

    def post(self, mail: Mail, seen: int) -> bool:
        """Puts mail into the inbox of a run, if nothing was put there since."""
        run = self._runs.get(mail.run_id)
        if run is None:
            raise unknown_run(mail.run_id)
        question = self._open.get((mail.run_id, mail.question))
        check_post(mail, question is not None, question.expires_at if question else None, self._now)
        if run.mail != seen:
            return False
        self._mail.append(mail._replace(number=seen + 1, at=self._now))
        self._runs[mail.run_id] = run._replace(mail=seen + 1)
        return True

    async def write(self, channel: str) -> None:
        """Writes what was decided.

        Raises:
            Overtaken: A run of the same id as one that was to be made is there now.
        """
        if self._gone:
            for table in ("record", "question", "mail", "run"):
                await self._connection.execute(f"delete from {table} where run_id = any($1::text[])", self._gone)
        made = [run for run_id, run in sorted(self._runs.items()) if run_id not in self._there]
        if made and len(await self._connection.fetch(_MAKE, *_columns(made))) < len(made):
            raise Overtaken
        changed = [run for run_id, run in self._runs.items() if self._there.get(run_id) not in (None, run)]
        await self._execute(_CHANGE, changed)
        await self._execute(_RECORDS, [(one.run_id, *one[2:]) for one in self._records])
        await self._execute(_CLOSE, [key for key in self._opened if key not in self._open])
        await self._execute(_ASK, [one for key, one in self._open.items() if key not in self._opened])
        await self._execute(_POST, self._mail)
        told = {mail.run_id for mail in self._mail}
        await self._execute(f"select pg_notify('{channel}', run_id) from unnest($1::text[]) as run_id", zip(told))

    async def _execute(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        if kept := list(rows):
            await self._connection.execute(statement, *_columns(kept))


def _columns(rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
    return list(zip(*rows, strict=True))


def _begun(first: Record, lease: Lease) -> RunSummary:
    """A run that has no record yet."""
    return RunSummary(
        first.run_id, first.tenant, "running", first.at, first.at, 0, epoch=lease.epoch, holder=lease.holder
    )
