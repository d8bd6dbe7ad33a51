"""Where cached outputs are kept: a place for bytes by key."""

from __future__ import annotations

from collections import OrderedDict
from time import monotonic
from typing import Protocol


class CacheStore(Protocol):
    """A place that keeps the outputs of nodes that have a ``Cache``. An entry may be gone at any time.

    What a method raises is logged, and the node runs as if it had no cache.
    """

    async def get(self, key: str, /) -> bytes | None:
        """The entry of a key, or None."""
        ...

    async def put(self, key: str, entry: bytes, /, *, ttl: float | None = None) -> None:
        """Keeps an entry.

        Args:
            key: Its key, a digest: it tells nothing of the input.
            entry: What is kept.
            ttl: For how long, in seconds; None: as long as there is room.
        """
        ...


class MemoryCache:
    """Keeps the entries that were used last in memory.

    Args:
        limit: How many entries at most.
    """

    def __init__(self, limit: int = 1024) -> None:
        self._limit = limit
        self._entries: OrderedDict[str, tuple[bytes, float | None]] = OrderedDict()

    async def get(self, key: str, /) -> bytes | None:
        entry, ends_at = self._entries.get(key, (None, None))
        if ends_at is not None and monotonic() >= ends_at:
            del self._entries[key]
            return None
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    async def put(self, key: str, entry: bytes, /, *, ttl: float | None = None) -> None:
        self._entries[key] = entry, None if ttl is None else monotonic() + ttl
        self._entries.move_to_end(key)
        while len(self._entries) > self._limit:
            self._entries.popitem(last=False)
