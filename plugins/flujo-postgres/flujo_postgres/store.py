"""A store in a schema of a PostgreSQL database, for any number of processes and machines."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from flujo_core import (
    Hold,
    Lease,
    Limit,
    Mail,
    OpenQuestion,
    Record,
    RunSummary,
    Shortage,
    Spend,
    Standing,
)
from flujo_postgres import ledger, queries
from flujo_postgres.service import Service
from flujo_postgres.url import location


class PostgresStore:
    """Keeps journals, leases, inboxes and ledgers in PostgreSQL, in a schema that is made when it is first needed.

    It connects when it is first used. A handle has up to three connections: one writes, one reads, one listens for
    mail; they live in a thread of their own, so no event loop waits for the server. The server's clock is the store's.

    Args:
        url: ``postgresql://USER:PASSWORD@HOST:PORT/DATABASE?schema=flujo``.

    Raises:
        ConfigurationError: The URL names no store.
    """

    def __init__(self, url: str) -> None:
        self._place = location(url)
        self._lock = threading.Lock()
        self._service: Service | None = None
        self._finalizer: weakref.finalize[..., Any] | None = None
        self._ears = Ears()

    def __repr__(self) -> str:
        return f"<PostgresStore {self._place.shown}>"

    async def append(
        self, records: Sequence[Record], lease: Lease, /, *, taken: int | None = None, release: bool = False
    ) -> None:
        kept = tuple(records)
        await self._served().write(lease.run_id, lambda batch: batch.append(kept, lease, taken, release))

    async def read(self, run_id: str, /, *, after: int = 0) -> Sequence[Record]:
        return await self._served().use(lambda connection: queries.read(connection, run_id, after))

    async def run(self, run_id: str, /) -> RunSummary | None:
        return await self._served().use(lambda connection: queries.run(connection, run_id))

    async def runs(
        self,
        *,
        limit: int = 50,
        before: RunSummary | None = None,
        tenant: str | None = None,
        status: str | None = None,
    ) -> Sequence[RunSummary]:
        return await self._served().use(lambda connection: queries.runs(connection, limit, before, tenant, status))

    async def questions(
        self,
        *,
        limit: int = 50,
        after: OpenQuestion | None = None,
        tenant: str | None = None,
        run_id: str | None = None,
    ) -> Sequence[OpenQuestion]:
        return await self._served().use(lambda connection: queries.questions(connection, limit, after, tenant, run_id))

    async def acquire(self, run_id: str, holder: str, ttl: float, /, *, instead_of: int | None = None) -> Lease:
        return await self._served().write(run_id, lambda batch: batch.acquire(run_id, holder, ttl, instead_of))

    async def renew(self, lease: Lease, /) -> None:
        await self._served().write(lease.run_id, lambda batch: batch.renew(lease))

    async def release(self, lease: Lease, /) -> None:
        await self._served().write(lease.run_id, lambda batch: batch.release(lease))

    async def post(self, mail: Mail, /, *, seen: int) -> bool:
        return await self._served().write(mail.run_id, lambda batch: batch.post(mail, seen))

    async def mail(self, run_id: str, /, *, after: int = 0) -> Sequence[Mail]:
        return await self._served().use(lambda connection: queries.mail(connection, run_id, after))

    async def delete(self, lease: Lease, /) -> None:
        await self._served().write(lease.run_id, lambda batch: batch.delete(lease))

    async def reserve(self, hold: Hold, limits: Sequence[Limit], /) -> Shortage | None:
        kept = tuple(limits)
        return await self._served().use(lambda connection: ledger.reserve(connection, hold, kept))

    async def settle(self, account: str, name: str, used: Spend, /) -> None:
        await self._served().use(lambda connection: ledger.settle(connection, account, name, used))

    async def forfeit(self, account: str, prefix: str, /) -> None:
        await self._served().use(lambda connection: ledger.forfeit(connection, account, prefix))

    async def standing(self, account: str, window: float | None = None, /) -> Standing:
        return await self._served().use(lambda connection: ledger.standing(connection, account, window))

    async def time(self) -> float:
        return await self._served().use(queries.time)

    def watch(self, heard: Callable[[str], None], /) -> Callable[[], None]:
        """Has somebody told at once when a run gets mail.

        Args:
            heard: Called with the run's id, in another thread; it must not block. While the server is away nobody is
                told, so who waits for mail looks for it now and then, too.

        Returns:
            What ends that.
        """
        self._ears.heard.append(heard)
        self._served().watch()
        return lambda: self._ears.heard.remove(heard)

    async def close(self) -> None:
        with self._lock:
            service, self._service = self._service, None
            if self._finalizer:
                self._finalizer.detach()
        if service is not None:
            await service.close()

    def _served(self) -> Service:
        with self._lock:
            if self._service is None:
                self._service = Service(self._place, self._ears.tell)
                self._finalizer = weakref.finalize(self, self._service.leave)
            return self._service


class Ears:
    """Who is told of mail; apart from the store, which the service must not keep alive."""

    def __init__(self) -> None:
        self.heard: list[Callable[[str], None]] = []

    def tell(self, run_id: str) -> None:
        """Tells all of them."""
        for heard in tuple(self.heard):
            heard(run_id)


def postgres_store(url: str) -> PostgresStore:
    """The store that a URL names.

    Args:
        url: ``postgresql://USER:PASSWORD@HOST:PORT/DATABASE?schema=flujo``, or with ``postgres://``.

    Raises:
        ConfigurationError: It names none.
    """
    return PostgresStore(url)
