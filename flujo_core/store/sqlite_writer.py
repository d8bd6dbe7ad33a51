"""The thread that a SQLite store works in: it takes what has piled up while it wrote, and commits that at once."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from time import sleep
from typing import Any, NamedTuple, TypeAlias

from flujo_core.errors import FlujoError, StoreError
from flujo_core.store.sqlite_file import Synchronous, failure, open_file
from flujo_core.store.sqlite_tables import Tables

CROWD = 8
"""From how many jobs in a batch on it is thought worth while to wait for more."""

GATHERING = 5e-5
"""For how many seconds is waited then, as long as more come."""

MANY = 1000
"""How many jobs are enough."""

Work: TypeAlias = Callable[[Tables], Any]


class Waiter(NamedTuple):
    """Who waits for a job."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


class Job(NamedTuple):
    """Work for the writer.

    Attributes:
        work: What to do with the tables; it can be done again if it was undone. None: close it and end.
        writes: Whether it needs a transaction.
        waiter: Who waits for it, if anybody does.
    """

    work: Work | None
    writes: bool = False
    waiter: Waiter | None = None


Outcome: TypeAlias = tuple[Job, Any, Exception | None]
"""A job with its result or its error."""


class _Spoiled(Exception):
    """A job has failed in the middle of its writing: the transaction is to be undone."""


class Writer:
    """The thread's work: opens the file at the first job, and serves until it is told to end.

    Args:
        path: The file.
        synchronous: When the disk is waited for.
        jobs: Where the jobs come from.
    """

    def __init__(self, path: Path, synchronous: Synchronous, jobs: queue.SimpleQueue[Job]) -> None:
        self._path = path
        self._synchronous: Synchronous = synchronous
        self._jobs = jobs
        self._tables: Tables | None = None
        self._is_crowded = False

    def serve(self) -> None:
        """Does jobs, in the order in which they come, until one says to end."""
        while True:
            batch = self._waiting()
            tell(self._done([job for job in batch if job.work]))
            if (last := batch[-1]).work is None:
                if self._tables:
                    self._tables.connection.close()
                tell([(last, None, None)])
                return

    def _waiting(self) -> list[Job]:
        """What has piled up, at least one job; ends with the job that says to end, if there is one."""
        batch = [self._jobs.get()]
        if self._is_crowded:
            self._gather()
        while batch[-1].work is not None and not self._jobs.empty():
            batch.append(self._jobs.get())
        self._is_crowded = len(batch) >= CROWD
        return batch

    def _gather(self) -> None:
        """Waits while jobs come in quick succession: who was told of the last commit is about to give the next one."""
        seen = -1
        while seen < (seen := self._jobs.qsize()) < MANY:
            sleep(GATHERING)

    def _done(self, batch: Sequence[Job]) -> list[Outcome]:
        try:
            self._tables = self._tables or Tables(open_file(self._path, self._synchronous))
        except Exception as error:  # whatever it is, who waits is to hear of it
            failed = error if isinstance(error, StoreError) else failure(self._path, error)
            return [(job, None, failed) for job in batch]
        return self.commit(self._tables, batch)

    def commit(self, tables: Tables, batch: Sequence[Job]) -> list[Outcome]:
        """Does a batch in one transaction; nobody hears of it before it is durable.

        A job that is refused is left out. One that fails in the middle of its writing is undone with the others, which
        are done again, each alone.
        """
        try:
            return self._together(tables, batch)
        except _Spoiled:
            return [self._alone(tables, job) for job in batch]

    def _alone(self, tables: Tables, job: Job) -> Outcome:
        try:
            return self._together(tables, [job])[0]
        except _Spoiled as spoiled:
            assert isinstance(spoiled.__cause__, Exception)
            return job, None, failure(self._path, spoiled.__cause__)

    def _together(self, tables: Tables, batch: Sequence[Job]) -> list[Outcome]:
        try:
            tables.begin(writes=any(job.writes for job in batch))
            outcomes = [self._attempt(tables, job) for job in batch]
            _write(tables)
            tables.commit()
        except sqlite3.Error as error:
            tables.rollback()
            return [(job, None, failure(self._path, error)) for job in batch]
        except _Spoiled:
            tables.rollback()
            raise
        return outcomes

    def _attempt(self, tables: Tables, job: Job) -> Outcome:
        assert job.work is not None
        try:
            return job, job.work(tables), None
        except FlujoError as error:  # it was refused before it wrote
            return job, None, error
        except Exception as error:  # whatever it is, it belongs to the job, not to the writer
            raise _Spoiled from error


def _write(tables: Tables) -> None:
    try:
        tables.write()
    except Exception as error:  # whatever it is, it belongs to one of the jobs
        raise _Spoiled from error


def tell(outcomes: Iterable[Outcome]) -> None:
    """Tells all who wait how it went, those of one loop at once: it costs a system call to wake one."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any, Exception | None]]] = {}
    for job, result, error in outcomes:
        if job.waiter:
            by_loop.setdefault(job.waiter.loop, []).append((job.waiter.future, result, error))
    for loop, settled in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle, settled)


def _settle(settled: Iterable[tuple[asyncio.Future[Any], Any, Exception | None]]) -> None:
    for future, result, error in settled:
        if future.done():  # who waited was cancelled
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
