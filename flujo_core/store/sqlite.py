"""A store in one SQLite file: write-ahead log, every append durable when it returns, one writer with group commit.

All work is done by one thread (``sqlite_writer.py``), so the event loop never waits for the disk. Needs no SQLite newer
than 3.40.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import weakref
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from time import time
from typing import Any, TypeVar

from flujo_core.backend.task import Firm
from flujo_core.model.event import RunStatus
from flujo_core.model.spend import Limit, Spend, Standing
from flujo_core.store import sqlite_ledger as ledger
from flujo_core.store.ledger import Hold, Shortage
from flujo_core.store.protocol import Lease, Mail, OpenQuestion, Record, RunSummary
from flujo_core.store.sqlite_file import Synchronous
from flujo_core.store.sqlite_tables import Tables
from flujo_core.store.sqlite_writer import Job, Waiter, Writer

T = TypeVar("T")


class SQLiteStore:
    """Keeps journals, leases and inboxes in a SQLite file, made (readable by its owner only) when it is first needed.

    Args:
        path: The file.
        synchronous: ``"full"``: what was appended outlasts a loss of power. ``"normal"``: it outlasts the process, but
            the last appends may be gone after a loss of power, never out of order; several times as fast on most disks.
    """

    def __init__(self, path: str | os.PathLike[str], *, synchronous: Synchronous = "full") -> None:
        self._path = Path(path).absolute()
        self._synchronous: Synchronous = synchronous
        self._jobs: queue.SimpleQueue[Job] | None = None
        self._lock = threading.Lock()
        self._finalizer: weakref.finalize[..., Any] | None = None

    def append(
        self, records: Sequence[Record], lease: Lease, /, *, taken: int | None = None, release: bool = False
    ) -> Awaitable[None]:
        kept = tuple(records)
        done: Firm[None] = Firm(loop=asyncio.get_running_loop())
        self._give(lambda tables: tables.append(kept, lease, taken, release), True, done)
        return done

    async def read(self, run_id: str, /, *, after: int = 0) -> Sequence[Record]:
        return await self._do(lambda tables: tables.read(run_id, after))

    async def run(self, run_id: str, /) -> RunSummary | None:
        return await self._do(lambda tables: tables.run(run_id))

    async def runs(
        self,
        *,
        limit: int = 50,
        before: RunSummary | None = None,
        tenant: str | None = None,
        status: RunStatus | None = None,
    ) -> Sequence[RunSummary]:
        return await self._do(lambda tables: tables.runs(limit, before, tenant, status))

    async def questions(
        self,
        *,
        limit: int = 50,
        after: OpenQuestion | None = None,
        tenant: str | None = None,
        run_id: str | None = None,
    ) -> Sequence[OpenQuestion]:
        return await self._do(lambda tables: tables.questions(limit, after, tenant, run_id))

    async def acquire(self, run_id: str, holder: str, ttl: float, /, *, instead_of: int | None = None) -> Lease:
        return await self._do(lambda tables: tables.acquire(run_id, holder, ttl, instead_of), writes=True)

    async def renew(self, lease: Lease, /) -> None:
        await self._do(lambda tables: tables.renew(lease), writes=True)

    async def release(self, lease: Lease, /) -> None:
        await self._do(lambda tables: tables.release(lease), writes=True)

    async def post(self, mail: Mail, /, *, seen: int) -> bool:
        return await self._do(lambda tables: tables.post(mail, seen), writes=True)

    async def mail(self, run_id: str, /, *, after: int = 0) -> Sequence[Mail]:
        return await self._do(lambda tables: tables.inbox(run_id, after))

    async def delete(self, lease: Lease, /) -> None:
        from flujo_core.store.sqlite_upkeep import scrub  # noqa: PLC0415 - few programs delete

        await self._do(lambda tables: tables.delete(lease), writes=True)
        await asyncio.to_thread(scrub, self._path)

    async def reserve(self, hold: Hold, limits: Sequence[Limit], /) -> Shortage | None:
        kept = tuple(limits)
        return await self._do(lambda tables: ledger.reserve(tables.connection, hold, kept, time()), writes=True)

    async def settle(self, account: str, name: str, used: Spend, /) -> None:
        await self._do(lambda tables: ledger.settle(tables.connection, account, name, used, time()), writes=True)

    async def forfeit(self, account: str, prefix: str, /) -> None:
        await self._do(lambda tables: ledger.forfeit(tables.connection, account, prefix, time()), writes=True)

    async def standing(self, account: str, window: float | None = None, /) -> Standing:
        return await self._do(lambda tables: ledger.standing(tables.connection, account, window, time()))

    async def time(self) -> float:
        return time()

    async def close(self) -> None:
        with self._lock:
            jobs, self._jobs = self._jobs, None
            if self._finalizer:
                self._finalizer.detach()
            if jobs is None:
                return
            loop = asyncio.get_running_loop()
            closed = loop.create_future()
            jobs.put(Job(None, False, Waiter(loop, closed)))
        await closed

    async def _do(self, work: Callable[[Tables], T], *, writes: bool = False) -> T:
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._give(work, writes, done)  # it is done even if nobody waits for it any more
        return await done

    def _give(self, work: Callable[[Tables], T], writes: bool, done: asyncio.Future[T]) -> None:
        job = Job(work, writes, Waiter(done.get_loop(), done))
        with self._lock:  # so that no job comes behind the one that ends the writer
            (self._jobs or self._started()).put(job)

    def _started(self) -> queue.SimpleQueue[Job]:
        jobs = self._jobs = queue.SimpleQueue()
        threading.Thread(
            target=Writer(self._path, self._synchronous, jobs).serve, name="flujo-sqlite", daemon=True
        ).start()
        self._finalizer = weakref.finalize(self, jobs.put, Job(None))
        return jobs
