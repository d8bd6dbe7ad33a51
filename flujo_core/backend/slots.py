"""Slots: how much may go on at once; who comes first is served first, on whatever event loop."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class _Waiter:
    """Somebody who waits.

    Attributes:
        count: For how many slots.
        loop: Their event loop.
        future: Done when they have them.
        has_them: Whether they have them, which is known here before it is there.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()
        self.has_them = False


class Slots:
    """A number of slots.

    Args:
        count: How many there are.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._lock = threading.Lock()
        self._waiting: deque[_Waiter] = deque()

    @asynccontextmanager
    async def taken(self, count: int) -> AsyncIterator[None]:
        """Has ``count`` slots while the block lasts; waits for them before."""
        waiter = _Waiter(count)
        with self._lock:
            self._waiting.append(waiter)
            self._serve()
        try:
            await waiter.future
            yield
        finally:
            self._leave(waiter)

    def _leave(self, waiter: _Waiter) -> None:
        with self._lock:
            if waiter.has_them:
                self._free += waiter.count
            else:
                self._waiting.remove(waiter)
            self._serve()

    def _serve(self) -> None:
        while self._waiting and self._waiting[0].count <= self._free:
            waiter = self._waiting.popleft()
            self._free -= waiter.count
            waiter.has_them = True
            try:
                waiter.loop.call_soon_threadsafe(_tell, waiter.future)
            except RuntimeError:  # its loop is closed: nobody waits there any more
                self._free += waiter.count


def _tell(future: asyncio.Future[None]) -> None:
    with suppress(asyncio.InvalidStateError):  # who waited was cancelled meanwhile
        future.set_result(None)
