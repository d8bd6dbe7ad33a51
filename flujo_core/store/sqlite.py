"""A store in one SQLite file: write-ahead log, every append durable when it returns, one writer with group commit.

All work is done by one thread, which takes what has piled up while it wrote and commits that in one transaction. The
event loop never waits for the disk. Needs no SQLite newer than 3.40.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple, TypeVar, cast

from flujo_core.errors import RunExists, StoreError, StoreRefused
from flujo_core.model.event import RunEnded
from flujo_core.store.protocol import Record, RunSummary

T = TypeVar("T")

APPLICATION_ID = 0x464C554A  # "FLUJ", in the file's header
SCHEMA_VERSION = 1
PATIENCE = 30.0
"""Seconds to wait for another process that has the file locked."""

HEADER_SIZE = 100
"""Bytes of the header of every SQLite database that is not empty."""

SCHEMA = """
create table run (
    run_id text primary key,
    tenant text,
    status text not null,
    started_at real not null,
    updated_at real not null,
    records integer not null
) without rowid;
create index run_by_age on run (started_at desc, run_id desc);
create table record (
    run_id text not null,
    sequence integer not null,
    kind text not null,
    address text not null,
    outcome text not null,
    at real not null,
    payload blob not null,
    primary key (run_id, sequence)
) without rowid;
"""


class _Job(NamedTuple):
    """Work for the writer.

    Attributes:
        work: What to do with the connection; None: close it and end.
        writes: Whether it is part of the transaction.
        done: Called with the result or the error, in the writer's thread.
    """

    work: Callable[[sqlite3.Connection], Any] | None
    writes: bool
    done: Callable[[Any, Exception | None], None]


class SQLiteStore:
    """Keeps journals in a SQLite file, made (readable by its owner only) when it is first needed.

    Args:
        path: The file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path).absolute()
        self._jobs: queue.SimpleQueue[_Job] | None = None
        self._lock = threading.Lock()
        self._finalizer: weakref.finalize[..., Any] | None = None

    async def append(self, records: Sequence[Record], /) -> None:
        await self._do(lambda connection: _append(connection, records), writes=True)

    async def read(self, run_id: str, /, *, after: int = 0) -> Sequence[Record]:
        return await self._do(lambda connection: _read(connection, run_id, after))

    async def runs(
        self, *, limit: int = 50, before: RunSummary | None = None, tenant: str | None = None
    ) -> Sequence[RunSummary]:
        return await self._do(lambda connection: _runs(connection, limit, before, tenant))

    async def close(self) -> None:
        with self._lock:
            jobs, self._jobs = self._jobs, None
            if self._finalizer:
                self._finalizer.detach()
        if jobs is not None:
            await _submit(jobs, None)

    async def _do(self, work: Callable[[sqlite3.Connection], T], *, writes: bool = False) -> T:
        return cast(T, await _submit(self._started(), work, writes))

    def _started(self) -> queue.SimpleQueue[_Job]:
        with self._lock:
            if self._jobs is None:
                self._jobs = queue.SimpleQueue()
                writer = _Writer(self._path, self._jobs)
                threading.Thread(target=writer.serve, name="flujo-sqlite", daemon=True).start()
                self._finalizer = weakref.finalize(self, self._jobs.put, _Job(None, False, _ignore))
            return self._jobs


async def _submit(
    jobs: queue.SimpleQueue[_Job], work: Callable[[sqlite3.Connection], Any] | None, writes: bool = False
) -> Any:
    """Gives the writer a job and waits for it; a job that was given is done even if the waiter is cancelled."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def finish(result: Any, error: Exception | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def done(result: Any, error: Exception | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(finish, result, error)

    jobs.put(_Job(work, writes, done))
    return await future


def _ignore(result: Any, error: Exception | None) -> None:
    """Nobody waits."""


class _Writer:
    """The writer thread's work: opens the file at the first job, and serves until it is told to end."""

    def __init__(self, path: Path, jobs: queue.SimpleQueue[_Job]) -> None:
        self._path = path
        self._jobs = jobs
        self._connection: sqlite3.Connection | None = None

    def serve(self) -> None:
        while True:
            batch = self._waiting()
            try:
                self._connection = self._connection or _open(self._path)
            except Exception as error:  # whatever it is, who waits is to hear of it
                failure = error if isinstance(error, StoreError) else self._failure(error)
                for job in batch:
                    job.done(None, None if job.work is None else failure)
            else:
                self._commit(self._connection, [job for job in batch if job.work])
            if (last := batch[-1]).work is None:
                if self._connection:
                    self._connection.close()
                last.done(None, None)
                return

    def _waiting(self) -> list[_Job]:
        """What has piled up, at least one job; ends with the job that says to end, if there is one."""
        batch = [self._jobs.get()]
        while batch[-1].work is not None and not self._jobs.empty():
            batch.append(self._jobs.get())
        return batch

    def _commit(self, connection: sqlite3.Connection, batch: Sequence[_Job]) -> None:
        """Does a batch in one transaction; a job that fails is undone alone, and nobody hears before it is durable."""
        outcomes: list[tuple[_Job, Any, Exception | None]] = []
        try:
            if any(job.writes for job in batch):
                connection.execute("begin immediate")
            outcomes += [(job, *self._attempt(connection, job)) for job in batch]
            if connection.in_transaction:
                connection.execute("commit")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("rollback")
            outcomes = [(job, None, self._failure(error)) for job in batch]
        for job, result, failure in outcomes:
            job.done(result, failure)

    def _attempt(self, connection: sqlite3.Connection, job: _Job) -> tuple[Any, Exception | None]:
        assert job.work is not None
        try:
            if job.writes:
                connection.execute("savepoint job")
            return job.work(connection), None
        except Exception as error:  # whatever it is, it belongs to the job, not to the writer
            if job.writes and connection.in_transaction:
                connection.execute("rollback to job")
            return None, error if isinstance(error, StoreError) else self._failure(error)

    def _failure(self, error: Exception) -> StoreError:
        damaged = getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        kind, what = (StoreRefused, "is damaged") if damaged else (StoreError, "could not do its work")
        made = kind(f"the store {self._path} {what} ({type(error).__name__}: {error})")
        made.__cause__ = error
        return made


def _open(path: Path, patience: float = PATIENCE) -> sqlite3.Connection:
    """Opens the file, or makes it; one that is not ours is left as it is."""
    try:
        if path.is_file() and 0 < path.stat().st_size < HEADER_SIZE:
            raise StoreRefused(f"{path} is no SQLite database; it was left as it is")  # SQLite would write over it
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=patience)
    except (OSError, ValueError, sqlite3.Error) as error:
        raise StoreError(f"the store {path} cannot be opened ({type(error).__name__}: {error})") from error
    try:
        _prepare(connection, path, patience)
    except sqlite3.Error as error:
        connection.close()
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise StoreError(f"the store {path} is locked by another process") from error
        raise StoreRefused(f"{path} cannot be read as a Flujo store ({error}); it was left as it is") from error
    except StoreRefused:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, patience: float) -> None:
    owner = connection.execute("pragma application_id").fetchone()[0]
    if owner == 0:
        _create(connection, path)
    elif owner != APPLICATION_ID:
        raise StoreRefused(f"{path} is a database of another application; give the store a file of its own")
    version = connection.execute("pragma user_version").fetchone()[0]
    if version != SCHEMA_VERSION:
        raise StoreRefused(
            f"{path} has a store of version {version}, and this Flujo reads version {SCHEMA_VERSION};"
            " use the Flujo that wrote it; it was left as it is"
        )
    _use_write_ahead_log(connection, patience)
    connection.execute("pragma synchronous = full")


def _use_write_ahead_log(connection: sqlite3.Connection, patience: float) -> None:
    """Switches the file over; SQLite does not wait by itself for another process that does the same."""
    end = monotonic() + patience
    while True:
        try:
            connection.execute("pragma journal_mode = wal")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or monotonic() > end:
                raise
            sleep(0.01)


def _create(connection: sqlite3.Connection, path: Path) -> None:
    """Makes the tables, unless another process just has; the file must be empty."""
    connection.execute("begin immediate")
    try:
        if connection.execute("pragma application_id").fetchone()[0] == APPLICATION_ID:
            return
        if connection.execute("select count(*) from sqlite_master").fetchone()[0]:
            raise StoreRefused(f"{path} is a database of something else; give the store a file of its own")
        for statement in SCHEMA.split(";\n"):
            connection.execute(statement)
        connection.execute(f"pragma application_id = {APPLICATION_ID}")
        connection.execute(f"pragma user_version = {SCHEMA_VERSION}")
        connection.execute("commit")
    finally:
        if connection.in_transaction:
            connection.execute("rollback")


def _append(connection: sqlite3.Connection, records: Sequence[Record]) -> None:
    first, last = records[0], records[-1]
    status = last.outcome if last.kind == RunEnded.kind else "running"
    if first.sequence == 1:
        written = connection.execute(
            "insert into run values (?, ?, ?, ?, ?, ?) on conflict do nothing",
            (first.run_id, first.tenant, status, first.at, last.at, last.sequence),
        )
    else:
        written = connection.execute(
            "update run set status = ?, updated_at = ?, records = ? where run_id = ? and records = ?",
            (status, last.at, last.sequence, first.run_id, first.sequence - 1),
        )
    if written.rowcount != 1:
        raise RunExists(f"run '{first.run_id}' is in the store already; give the new run another id")
    connection.executemany(
        "insert into record values (?, ?, ?, ?, ?, ?, ?)",
        [(r.run_id, r.sequence, r.kind, r.address, r.outcome, r.at, r.payload) for r in records],
    )


def _read(connection: sqlite3.Connection, run_id: str, after: int) -> list[Record]:
    rows = connection.execute(
        "select record.run_id, tenant, sequence, kind, address, outcome, at, payload from record"
        " join run using (run_id) where record.run_id = ? and sequence > ? order by sequence",
        (run_id, after),
    )
    return [Record(*row) for row in rows]


def _runs(
    connection: sqlite3.Connection, limit: int, before: RunSummary | None, tenant: str | None
) -> list[RunSummary]:
    age, run_id = (before.started_at, before.run_id) if before else (float("inf"), "")
    rows = connection.execute(
        "select run_id, tenant, status, started_at, updated_at, records from run"
        " where (started_at, run_id) < (?, ?) and (? is null or tenant = ?)"
        " order by started_at desc, run_id desc limit ?",
        (age, run_id, tenant, tenant, limit),
    )
    return [RunSummary(*row) for row in rows]
