"""What carries the pieces of one streaming step to the next: bounded, so that the faster of the two waits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Protocol, runtime_checkable

CAPACITY = 16
"""How many pieces may wait for the step that takes them."""


class Channel:
    """A stream between two tasks: one puts pieces in, the other iterates over it.

    Args:
        limit: How many pieces may wait in it.

    Attributes:
        taken: How many pieces were taken.
        is_left: Whether nobody takes pieces any more.
    """

    __slots__ = ("_ended", "_limit", "_pieces", "_waiter", "is_left", "taken")

    def __init__(self, limit: int = CAPACITY) -> None:
        self._limit = limit
        self._pieces: deque[Any] = deque()
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None  # of the side that waits: never of both
        self.taken = 0
        self.is_left = False

    async def put(self, piece: Any) -> bool:
        """Puts a piece in, once there is room; False if nobody takes pieces any more."""
        while len(self._pieces) >= self._limit and not self.is_left:
            await self._change()
        if self.is_left:
            return False
        self._pieces.append(piece)
        self._wake()
        return True

    def end(self) -> None:
        """Says that no more pieces come."""
        self._ended = True
        self._wake()

    def leave(self) -> None:
        """Says that no more pieces are taken."""
        if not (self._ended and not self._pieces):
            self.is_left = True
        self._wake()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        while not self._pieces:
            if self._ended:
                raise StopAsyncIteration
            await self._change()
        self.taken += 1
        piece = self._pieces.popleft()
        self._wake()
        return piece

    async def _change(self) -> None:
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        try:
            await waiter
        finally:
            if self._waiter is waiter:  # else the other side waits by now, which was not woken yet
                self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Inlet:
    """The stream that a step takes, as all but the step see it: nobody else can read it.

    Args:
        channel: Where the pieces come from.
    """

    __slots__ = ("channel",)

    def __init__(self, channel: Channel) -> None:
        self.channel = channel

    def __repr__(self) -> str:
        return "<a stream>"


@runtime_checkable
class _Closable(Protocol):
    """An async generator, and what is like one."""

    async def aclose(self) -> None: ...


async def close(source: AsyncIterator[Any]) -> None:
    """Closes an async generator; others need no closing."""
    if isinstance(source, _Closable):
        await source.aclose()
