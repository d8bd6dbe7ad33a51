"""Tasks that run side by side within one node, and never outlive it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from flujo_core.backend.task import uninterrupted
from flujo_core.engine.failure import PASSING, Stopped
from flujo_core.engine.journal import Journal
from flujo_core.engine.past import Edge
from flujo_core.engine.question import Paused
from flujo_core.errors import StepError, StoreError


class Crew:
    """The tasks of one node.

    Args:
        limit: How many may run at the same time, or None.
        collects: Whether the others run on when one fails.
        edge: Where the tasks of a resumed run wait for each other.

    Attributes:
        collects: Whether the others run on when one fails.
        is_broken: Whether the others are to end, as something went wrong in one.
        is_paused: Whether one waits for people.
        is_closed: Whether nothing more is to begin in any of them, even if it does not heed its cancellation.
    """

    def __init__(self, limit: int | None, *, collects: bool, edge: Edge | None = None) -> None:
        self._limit = limit
        self.collects = collects
        self._edge = edge
        self.is_paused = False
        self._running: set[asyncio.Task[Any]] = set()
        self._failures: list[BaseException] = []
        self._waiter: asyncio.Future[None] | None = None
        self.is_broken = False
        self.is_closed = False
        self._expects = False

    @property
    def is_last(self) -> bool:
        """Whether one is at work at most, and nothing else is waited for."""
        return len(self._running) <= 1 and not self._expects

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Starts one more."""
        if self._edge is not None:
            self._edge.enter()
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)

    async def room(self) -> None:
        """Waits until one more may run, or the crew is broken."""
        while self._limit is not None and len(self._running) >= self._limit and not self.is_broken:
            await self._change()

    async def until(self, work: asyncio.Future[Any]) -> None:
        """Waits until ``work`` is done, or the crew is broken."""
        work.add_done_callback(self._wake)
        self._expects = True
        while not work.done() and not self.is_broken:
            await self._change()
        self._expects = False

    @asynccontextmanager
    async def at_work(self, journal: Journal) -> AsyncIterator[None]:
        """Waits, at the end of the block, until all tasks have ended; none outlives it, however it is left.

        Raises:
            BaseException: The worst of what went wrong in the tasks, if the crew is broken.
        """
        try:
            yield
            while self._running and not self.is_broken:
                await self._change()
            if self.is_paused and not self.is_broken:
                raise Paused
            if self.is_broken and self._running and journal.live:
                await self._recorded(journal)
        except Exception as error:
            self._failures.append(error)
            self.is_broken = True
        finally:
            self.is_closed = True
            for task in self._running:
                task.cancel()
            if self._running:
                await uninterrupted(self._drained())
        if self.is_broken:
            raise min(self._failures, key=_rank)

    async def _recorded(self, journal: Journal) -> None:
        """Makes the failure durable before its siblings are cancelled."""
        try:
            await journal.flush()
        except Exception as error:
            self._failures.append(error)

    async def _drained(self) -> None:
        while self._running:
            await asyncio.wait(self._running)

    async def _change(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        if self._edge is not None:
            self._edge.leave()
        try:
            await self._waiter
        except BaseException:
            if self._edge is not None and self._waiter.cancelled():
                self._edge.enter()
            raise
        finally:
            self._waiter = None

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if isinstance(error, Paused):
            self.is_paused = True
        elif error is not None:
            self._failures.append(error)
            if not self.collects or not isinstance(error, StepError):
                self.is_broken = True
        if self.is_broken or not self._running or self._limit is not None:
            self._wake()
        if self._edge is not None:
            self._edge.leave()

    def _wake(self, _: object = None) -> None:
        if self._waiter is not None and not self._waiter.done():
            if self._edge is not None:
                self._edge.enter()
            self._waiter.set_result(None)


def _rank(error: BaseException) -> int:
    """Which of several ways to end a run counts: a refusal before a stop, a stop before a failure."""
    if isinstance(error, PASSING):
        return 0
    if isinstance(error, Stopped):
        return 1
    if isinstance(error, asyncio.CancelledError):
        return 4
    return 3 if isinstance(error, Exception) and not isinstance(error, StoreError) else 2
