"""A store that passes everything on to another one: for tests that watch what a run writes, or get in its way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from flujo_core import MemoryStore, Record, Store
from flujo_core.store.passing import PassingStore
from flujo_core.store.protocol import Lease, Mail

T = TypeVar("T")


class Passing(PassingStore):
    """A store that passes everything on to another, and calls ``around`` for what writes."""

    def __init__(self, kept: Store | None = None) -> None:
        super().__init__(MemoryStore() if kept is None else kept)

    async def around(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        return await call()

    async def append(
        self, records: Sequence[Record], lease: Lease, /, *, taken: int | None = None, release: bool = False
    ) -> None:
        await self.around("append", lambda: self.kept.append(records, lease, taken=taken, release=release))

    async def acquire(self, run_id: str, holder: str, ttl: float, /, *, instead_of: int | None = None) -> Lease:
        return await self.around("acquire", lambda: self.kept.acquire(run_id, holder, ttl, instead_of=instead_of))

    async def renew(self, lease: Lease, /) -> None:
        await self.around("renew", lambda: self.kept.renew(lease))

    async def release(self, lease: Lease, /) -> None:
        await self.around("release", lambda: self.kept.release(lease))

    async def post(self, mail: Mail, /, *, seen: int) -> bool:
        return await self.around("post", lambda: self.kept.post(mail, seen=seen))

    async def delete(self, lease: Lease, /) -> None:
        await self.around("delete", lambda: self.kept.delete(lease))
