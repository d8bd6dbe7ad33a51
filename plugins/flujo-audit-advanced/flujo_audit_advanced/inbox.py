"""What waits to be written: given from any thread, taken by the writer's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from threading import Condition
from typing import Any, NamedTuple

from flujo_audit_advanced.errors import AuditError, LogFailed, LogOverloaded


class Item(NamedTuple):
    """A record that waits.

    Attributes:
        record: Its bytes.
        done: Gets its number when it is durable; None if nobody waits for that.
    """

    record: bytes
    done: asyncio.Future[int] | None


class Job(NamedTuple):
    """Something that the writer does between two batches, after all that was given before it.

    Attributes:
        work: What is done.
        done: Gets what comes of it.
    """

    work: Callable[[], Any]
    done: Future[Any]


class Inbox:
    """Records and jobs that wait for the writer.

    Args:
        most: Bytes of records that may wait.
    """

    def __init__(self, most: int) -> None:
        self._most, self._bytes = most, 0
        self._items: list[Item] = []
        self._jobs: list[Job] = []
        self._idle = self._lingering = False
        self._closed: AuditError | None = None
        self._changed = Condition()

    def give(self, item: Item) -> None:
        """Takes a record on.

        Raises:
            LogOverloaded: More waits than may wait.
            LogFailed: The log is closed, or has failed.
        """
        with self._changed:
            if self._closed is not None:
                raise self._closed.with_traceback(None)  # which would else grow with each time
            if self._bytes > self._most:
                raise LogOverloaded(
                    f"{self._bytes:,} bytes of records wait to be written and {self._most:,} may; wait for some of them"
                )
            self._items.append(item)
            self._bytes += len(item.record)
            if self._idle or (self._lingering and item.done is not None):
                self._idle = self._lingering = False
                self._changed.notify()

    def ask(self, work: Callable[[], Any]) -> Future[Any]:
        """Takes a job on; it is done even if the log has failed, but not when it is closed."""
        done: Future[Any] = Future()
        with self._changed:
            if isinstance(self._closed, Closed):
                done.set_exception(self._closed)
                return done
            self._jobs.append(Job(work, done))
            if self._idle or self._lingering:
                self._idle = self._lingering = False
                self._changed.notify()
        return done

    def close(self, error: AuditError, last: Callable[[], Any] | None = None) -> None:
        """Takes no more records: who gives one gets an error. A last job may be given, after which none is taken."""
        with self._changed:
            self._closed = error
            if last is not None:
                self._jobs.append(Job(last, Future()))
                self._changed.notify()

    def __len__(self) -> int:
        return len(self._items)

    def linger(self, seconds: float) -> None:
        """Lets more come in for some time, unless there is a job: somebody waits for that."""
        if not self._jobs:
            time.sleep(seconds)

    def idle(self, seconds: float) -> None:
        """Lets more come in for some time, until somebody waits for one of them, or for a job."""
        with self._changed:
            if self._jobs or self._closed is not None or any(item.done is not None for item in self._items):
                return
            self._lingering = True
            self._changed.wait(seconds)
            self._lingering = False

    def take(self) -> tuple[list[Item], list[Job]]:
        """All that waits, when something does."""
        with self._changed:
            while not self._items and not self._jobs:
                self._idle = True
                self._changed.wait()
            items, self._items = self._items, []
            jobs, self._jobs = self._jobs, []
            self._bytes = 0
            return items, jobs


class Closed(LogFailed):
    """The log was closed by who has opened it."""
