"""A store that passes everything on to another one: the base of stores that change some of it on its way."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from flujo_core.model.event import RunStatus
from flujo_core.model.spend import Limit, Spend, Standing
from flujo_core.store.ledger import Hold, Shortage
from flujo_core.store.protocol import Lease, Mail, OpenQuestion, Record, RunSummary, Store


class PassingStore:
    """A store that passes everything on to another one.

    Args:
        kept: The other one.
    """

    def __init__(self, kept: Store) -> None:
        self.kept = kept

    def append(
        self, records: Sequence[Record], lease: Lease, /, *, taken: int | None = None, release: bool = False
    ) -> Awaitable[None]:
        return self.kept.append(records, lease, taken=taken, release=release)

    async def read(self, run_id: str, /, *, after: int = 0) -> Sequence[Record]:
        return await self.kept.read(run_id, after=after)

    async def run(self, run_id: str, /) -> RunSummary | None:
        return await self.kept.run(run_id)

    async def runs(
        self,
        *,
        limit: int = 50,
        before: RunSummary | None = None,
        tenant: str | None = None,
        status: RunStatus | None = None,
    ) -> Sequence[RunSummary]:
        return await self.kept.runs(limit=limit, before=before, tenant=tenant, status=status)

    async def questions(
        self,
        *,
        limit: int = 50,
        after: OpenQuestion | None = None,
        tenant: str | None = None,
        run_id: str | None = None,
    ) -> Sequence[OpenQuestion]:
        return await self.kept.questions(limit=limit, after=after, tenant=tenant, run_id=run_id)

    async def acquire(self, run_id: str, holder: str, ttl: float, /, *, instead_of: int | None = None) -> Lease:
        return await self.kept.acquire(run_id, holder, ttl, instead_of=instead_of)

    async def renew(self, lease: Lease, /) -> None:
        await self.kept.renew(lease)

    async def release(self, lease: Lease, /) -> None:
        await self.kept.release(lease)

    async def post(self, mail: Mail, /, *, seen: int) -> bool:
        return await self.kept.post(mail, seen=seen)

    async def mail(self, run_id: str, /, *, after: int = 0) -> Sequence[Mail]:
        return await self.kept.mail(run_id, after=after)

    async def delete(self, lease: Lease, /) -> None:
        await self.kept.delete(lease)

    async def reserve(self, hold: Hold, limits: Sequence[Limit], /) -> Shortage | None:
        return await self.kept.reserve(hold, limits)

    async def settle(self, account: str, name: str, used: Spend, /) -> None:
        await self.kept.settle(account, name, used)

    async def forfeit(self, account: str, prefix: str, /) -> None:
        await self.kept.forfeit(account, prefix)

    async def standing(self, account: str, window: float | None = None, /) -> Standing:
        return await self.kept.standing(account, window)

    async def time(self) -> float:
        return await self.kept.time()

    async def close(self) -> None:
        await self.kept.close()
