"""How ``on_event`` is called: each plugin has a queue and a task of its own in each run."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from flujo_core.backend.task import uninterrupted
from flujo_core.errors import PluginError
from flujo_core.hooks.dispatch import Hooks
from flujo_core.hooks.failure import Failures, Implementation
from flujo_core.hooks.watchdog import Watch, watchdog
from flujo_core.model.event import JournaledEvent
from flujo_core.model.outcome import Veto

CAPACITY = 64
"""Events that may wait for a slow plugin before the run waits too."""


class Listeners:
    """The plugins that listen to one run.

    Args:
        hooks: The plugins' hooks.
    """

    def __init__(self, hooks: Hooks) -> None:
        self._all = [Listener(one, hooks.failures, hooks.timeout) for one in hooks.listeners]

    async def tell(self, event: JournaledEvent) -> None:
        """Puts an event into each queue; waits where one is full, and when cancelled there, leaves none out."""
        cancelled: asyncio.CancelledError | None = None
        for one in self._all:
            try:
                one.queue.put_nowait(event)
            except asyncio.QueueFull:
                try:
                    await uninterrupted(one.while_alive(one.queue.put(event)))
                except asyncio.CancelledError as error:
                    cancelled = error
        if cancelled is not None:
            raise cancelled

    def check(self) -> None:
        """Raises what a plugin has failed with.

        Raises:
            PluginError: A plugin has failed to take an event in.
        """
        for one in self._all:
            one.check()

    async def settle(self) -> None:
        """Waits until all that was told has been heard.

        Raises:
            PluginError: A plugin has failed to take an event in.
        """
        for one in self._all:
            await one.while_alive(one.queue.join())
        self.check()

    async def close(self) -> None:
        """Waits until all that was told has been heard; what failed since the last ``settle`` is logged."""
        for one in self._all:
            await one.while_alive(one.queue.join())
            await one.end()


class Listener:
    """One plugin that listens to one run.

    Attributes:
        queue: The events that it has not heard yet.
        task: Tells it one after the other.
    """

    def __init__(self, by: Implementation, failures: Failures, timeout: float) -> None:
        self.queue: asyncio.Queue[JournaledEvent] = asyncio.Queue(CAPACITY)
        self._by = by
        self._failures = failures
        self._failure: PluginError | Veto | None = None
        self._ending = False
        self.task = asyncio.create_task(self._listen(timeout))

    async def while_alive(self, work: Coroutine[Any, Any, None]) -> None:
        """Does ``work``, which waits for the task; gives it up if the task ends, as when the event loop is closed."""
        doing = asyncio.ensure_future(work)
        try:
            await asyncio.wait([doing, self.task], return_when=asyncio.FIRST_COMPLETED)
        finally:
            doing.cancel()

    def check(self) -> None:
        """Raises the failure that ended it, once."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    async def end(self) -> None:
        """Ends the task, and logs the failure that ended it before, if nobody has heard of it."""
        self._ending = True
        self.task.cancel()
        await asyncio.wait([self.task])
        if self._failure is not None:
            self._failures.pass_over(self._failure, self._by)

    async def _listen(self, timeout: float) -> None:
        try:
            await self._hear_all(timeout)
        except BaseException as error:  # nobody but the plugin, or the end of the event loop, ends it before its time
            if not self._ending:
                self._failure = self._by.failed(f"raised {type(error).__name__}", None)
            raise

    async def _hear_all(self, timeout: float) -> None:
        watch = Watch(asyncio.current_task(), timeout)
        deaf = False  # whether it has failed for good: under ``open`` it is told the next event all the same
        with watchdog().watching(watch):
            while True:
                event = await self.queue.get()
                try:
                    if not deaf:
                        await self._failures.tell(self._by, watch, event)
                except (PluginError, Veto) as failure:
                    self._failure, deaf = failure, True
                finally:
                    self.queue.task_done()
