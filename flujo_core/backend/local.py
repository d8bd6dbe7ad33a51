"""Worker threads for sync steps.

The threads are daemons: one that is stuck in a step that was cancelled cannot be stopped, but it does not keep the
process from ending.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple


class _Job(NamedTuple):
    """A call, and where its outcome goes."""

    call: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


class WorkerThreads:
    """A pool of daemon threads, started as they are needed.

    Args:
        limit: How many threads at most.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._threads = 0
        self._unfinished = 0

    @property
    def is_busy(self) -> bool:
        """Whether a call goes on, or waits for a thread."""
        return self._unfinished > 0

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> asyncio.Future[Any]:
        """Calls ``function`` in a thread, with the caller's context variables.

        Returns:
            A future of the running event loop; cancelling it does not stop the thread.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        context = contextvars.copy_context()
        with self._lock:
            self._unfinished += 1
            if self._idle == 0 and self._threads < self._limit:
                self._threads += 1
                threading.Thread(target=self._serve, name="flujo-worker", daemon=True).start()
            elif self._idle:
                self._idle -= 1
        self._jobs.put(_Job(lambda: context.run(function, *args, **kwargs), loop, future))
        return future

    def _serve(self) -> None:
        while True:
            job = self._jobs.get()
            _run(job)
            del job
            with self._lock:
                self._idle += 1
                self._unfinished -= 1


def _run(job: _Job) -> None:
    try:
        result, error = job.call(), None
    except BaseException as raised:  # whatever it is, it belongs to the step, not to this thread
        result, error = None, raised
    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        job.loop.call_soon_threadsafe(_finish, job.future, result, error)


def _finish(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if isinstance(error, StopIteration):  # a future cannot hold it
        error = RuntimeError("a sync step raised StopIteration")
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


workers = WorkerThreads(limit=min(64, 4 * (os.cpu_count() or 1) + 16))
"""The threads of this process."""
