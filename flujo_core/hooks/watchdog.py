"""The watchdog: ends hooks that take too long.

There is one for each event loop, with one timer, which runs only while runs with hooks do. A hook that is called costs
no clock, no timer and no registration: the run's watch holds the coroutine that is waited for, and a coroutine that the
watchdog has seen there for as long as the timeout is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

TICKS = 4
"""How often the watchdog looks within one timeout; a hook may take that share longer before it is ended."""


class Watch:
    """What the watchdog sees of one task that calls hooks.

    Attributes:
        task: The task.
        pending: The hook's coroutine that is waited for, or what stands for it, or None.
        expired: What took too long, or None.
        timeout: How long a hook may take, in seconds.
        cancelling: Counts the cancellations of the task that were asked for.
        before: That number before hooks were called: more of them are cancellations of the run.
    """

    __slots__ = ("_cancels", "_seen", "_waited", "before", "cancelling", "expired", "pending", "task", "timeout")

    def __init__(self, task: asyncio.Task[Any] | None, timeout: float) -> None:
        self.task = task
        self.cancelling: Callable[[], int] = int if task is None else task.cancelling
        self.before = self.cancelling()
        self.timeout = timeout
        self.pending: object | None = None
        self.expired: object | None = None
        self._seen: object | None = None
        self._waited = 0.0
        self._cancels = 0

    async def seen(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Awaits a hook's coroutine under the watchdog's eyes.

        Raises:
            TimeoutError: It took too long, and gave something all the same.
        """
        self.pending = work
        answer = await work
        if self.expired is not None:
            raise TimeoutError  # pragma: no cover - coverage loses a frame that a cancellation resumed
        self.pending = None
        return answer

    def look(self, interval: float) -> None:
        """Notes what is waited for, and cancels what was so in each look of a whole timeout.

        The clock is not read: a loop that stood still has not given the hook that time.

        Args:
            interval: How far looks are apart, in seconds.
        """
        if self.pending is not self._seen:
            self._seen, self._waited = self.pending, 0.0
            return
        self._waited += interval
        if self.pending is not None and self._waited >= self.timeout and self.task is not None:
            self.expired = self.pending
            self._cancels += 1
            self.task.cancel()

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody has cancelled the run; else a cancellation is an error of the hook that raised it."""
        return self.cancelling() > self.before

    def take_back(self) -> None:
        """Takes note that a timeout has ended, and has taken back the cancellation that it had asked for."""
        self.before = min(self.before, self.cancelling())

    async def forgive(self) -> None:
        """Takes what a step has left behind for no cancellation of the run: a TaskGroup may, before Python 3.13.

        Raises:
            asyncio.CancelledError: It is one, and was about to be raised.
        """
        if self.is_cancelled:
            await asyncio.sleep(0)
            self.before = self.cancelling()

    def acknowledge(self) -> bool:
        """Takes the watchdog's cancellations back; says whether the task was cancelled by nobody else."""
        self.expired = None
        while self._cancels and self.task is not None:
            self._cancels -= 1
            self.task.uncancel()
        return not self.is_cancelled


class Watchdog:
    """The watchdog of one event loop."""

    def __init__(self) -> None:
        self._watches: set[Watch] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._interval = 0.0

    @contextmanager
    def watching(self, watch: Watch) -> Iterator[None]:
        """Looks at ``watch`` for as long as the block lasts."""
        self._watches.add(watch)
        if self._timer is None or watch.timeout / TICKS < self._interval:
            self._wait()
        try:
            yield
        finally:
            self._watches.discard(watch)
            if not self._watches and self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._interval = min(watch.timeout for watch in self._watches) / TICKS
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._tick)

    def _tick(self) -> None:
        for watch in list(self._watches):
            watch.look(self._interval)
        self._wait()


_watchdogs: WeakKeyDictionary[asyncio.AbstractEventLoop, Watchdog] = WeakKeyDictionary()


def watchdog() -> Watchdog:
    """The watchdog of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _watchdogs.get(loop)
    if found is None:
        found = _watchdogs[loop] = Watchdog()
    return found
