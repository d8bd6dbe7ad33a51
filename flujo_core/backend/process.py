"""ProcessPool: runs steps in processes, which can be stopped by force, and whose end is not the end of the run."""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from multiprocessing.connection import wait
from multiprocessing.util import Finalize
from time import monotonic
from typing import NamedTuple

from flujo_core.backend.local import WorkerThreads
from flujo_core.backend.protocol import (
    RemoteCall,
    RemoteFailure,
    RemoteItem,
    RemoteOutcome,
    decoded_outcome,
)
from flujo_core.backend.slots import Slots
from flujo_core.backend.task import uninterrupted
from flujo_core.backend.worker import serve
from flujo_core.errors import ConfigurationError, StepTimeout, WorkerCrashed

GRACE = 2.0
"""Seconds that an idle worker has to end by itself, and one that has closed its pipe to be gone."""

LOOK = 1.0
"""Seconds between two looks whether a worker lives: what it has started may hold its pipe open."""

CLOSED = "the process pool was closed before it was done"

_waiting = WorkerThreads(limit=1024)
"""The threads that wait for workers, of all pools; apart from those of sync steps, which may all be taken."""

_processes = threading.Lock()
"""Held while a process is started, killed or reaped: a number that is killed must not be another process's by then."""


class _Answer(NamedTuple):
    """What became of a call.

    Attributes:
        data: The outcome as it was sent; None if there is none.
        why: Else why there is none.
        is_late: Whether it had run for too long.
        is_unbegun: Whether the worker had died while it was idle, so that another one can be asked.
    """

    data: bytes | None
    why: str = ""
    is_late: bool = False
    is_unbegun: bool = False


class _Worker:
    """One worker process, as the process sees it that starts it. What blocks, ``ask`` and ``end``, is for threads."""

    def __init__(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, self._theirs = spawn.Pipe()
        self._process = spawn.Process(target=serve, args=(self._theirs,), name="flujo-worker")
        self._is_started = False
        self._is_ready = False
        self._is_unwanted = False
        self._code: int | None = None

    def ask(self, data: bytes, limit: float | None) -> _Answer:
        """Sends a call, and waits for what it comes to; without an outcome, the worker is gone afterwards.

        Args:
            data: The call.
            limit: For how many seconds it may run, or None.
        """
        was_idle, has_begun = self._is_ready, False
        try:
            if not self._start():
                return _Answer(None, CLOSED)
        except Exception as error:  # what starts processes may raise anything
            return _Answer(None, f"a worker process cannot be started ({type(error).__name__})")
        try:
            if not self._is_ready:
                self._receive(None)  # it says that it is
                self._is_ready = True
            self._pipe.send_bytes(data)
            self._receive(None)  # it says that it begins
            has_begun = True
            return _Answer(self._receive(None if limit is None else monotonic() + limit))
        except TimeoutError:
            self.end()
            return _Answer(None, f"it ran longer than the {limit:g} s that it has", is_late=True)
        except (EOFError, OSError):
            is_unbegun = was_idle and not has_begun and not self._is_unwanted
            return _Answer(None, self._ended(), is_unbegun=is_unbegun)

    def kill(self) -> None:
        """Kills the process and what it has started; it does not wait until they are gone."""
        with _processes:
            self._is_unwanted = True
            if self._is_started and self._code is None:
                self._kill()

    def end(self, grace: float = 0.0) -> int:
        """Sees to it that the process is gone; gives its exit code, which is negative if a signal has ended it.

        Args:
            grace: How many seconds it has to end by itself, now that nothing more comes.
        """
        if grace:
            self._pipe.close()
            wait([self._process.sentinel], grace)
        with _processes:
            self._is_unwanted = True
            if self._is_started and self._code is None:
                self._kill()
                self._process.join()
                self._code = self._process.exitcode
        return self._code or 0

    def _start(self) -> bool:
        """Starts the process, unless it was started, or killed before that could be; whether it is to be asked."""
        with _processes:
            if not (self._is_started or self._is_unwanted):
                self._process.start()
                self._is_started = True
                self._theirs.close()
            return self._is_started

    def _kill(self) -> None:
        if sys.platform != "win32":
            with suppress(ProcessLookupError, PermissionError):  # it has not made its group yet, or it is empty
                os.killpg(self._pid, signal.SIGKILL)
        self._process.kill()

    @property
    def _pid(self) -> int:
        pid = self._process.pid
        assert pid is not None
        return pid

    def _receive(self, until: float | None) -> bytes:
        """What the worker sends next.

        Raises:
            TimeoutError: It has not, until then.
            EOFError: It is gone.
        """
        while True:
            left = LOOK if until is None else min(LOOK, until - monotonic())
            if left <= 0:
                raise TimeoutError
            ready = wait([self._pipe, self._process.sentinel], left)
            if self._pipe in ready:
                return self._pipe.recv_bytes()
            with _processes:
                if not self._process.is_alive():
                    raise EOFError

    def _ended(self) -> str:
        """Why there is no outcome, of a process that has ended, or is about to."""
        if self._is_unwanted:
            return CLOSED
        wait([self._process.sentinel], GRACE)  # so that its own exit code is told, and not that it was killed
        code = self.end()
        how = f"with exit code {code}" if code >= 0 else f"by signal {_signal(-code)}"
        if self._is_ready:
            return f"its worker process was ended {how} before it was done"
        return (
            f"its worker process was ended {how} before it was ready; the program must be one that can be imported:"
            " put what runs a pipeline below \"if __name__ == '__main__':\""
        )


def _signal(number: int) -> str:
    try:
        return f"{number} ({signal.Signals(number).name})"
    except ValueError:
        return str(number)


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class ProcessPool:
    """Runs steps in processes of this machine.

    A worker process is started when a call needs one and none is idle, with ``spawn``: it imports the program, so what
    a script runs stands below ``if __name__ == "__main__":``. It does one call after the other. One that has to be
    stopped is killed, with all that it has started.

    ``cpu`` and ``max_runtime`` of ``ResourceHints`` are honoured: a step takes as many of the workers' places as it has
    cores, and is killed after ``max_runtime``.

    Args:
        workers: How many processes at most; None: one for each core that this process may use.

    Raises:
        ConfigurationError: ``workers`` is not at least 1.
    """

    honours: frozenset[str] = frozenset({"cpu", "max_runtime"})
    isolates: bool = True

    def __init__(self, workers: int | None = None) -> None:
        self._places = usable_cores() if workers is None else workers
        if self._places < 1:
            raise ConfigurationError(f"'workers' of a ProcessPool is at least 1, not {workers}")
        self._slots = Slots(self._places)
        self._idle: list[_Worker] = []
        self._workers: set[_Worker] = set()
        Finalize(self, _kill_all, (self._workers,), exitpriority=10)  # before Python waits for them at its end

    async def execute(self, call: RemoteCall, /) -> AsyncIterator[RemoteItem]:
        """Does one attempt; if it is cancelled, its worker is gone before the cancellation goes on.

        Raises:
            ConfigurationError: The step wants more cores than there are places.
        """
        wanted = max(1, math.ceil(call.hints.cpu or 1))
        if wanted > self._places and "cpu" in call.hints.needed:
            raise ConfigurationError(
                f"step '{call.info.address}' wants {wanted} cores, and the process pool has {self._places} workers"
            )
        async with self._slots.taken(min(wanted, self._places)):
            outcome = await self._outcome(call)
        yield outcome

    async def aclose(self) -> None:
        """Ends the workers; what still runs in one fails. The pool may be used again afterwards."""
        workers, idle = [*self._workers], {*self._idle}
        self._idle.clear()
        await asyncio.gather(*(_waiting.submit(one.end, GRACE if one in idle else 0.0) for one in workers))
        self._workers.difference_update(workers)

    async def _outcome(self, call: RemoteCall) -> RemoteOutcome:
        answer = await self._asked(call)
        while answer.is_unbegun:
            answer = await self._asked(call)
        if answer.data is not None:
            return decoded_outcome(answer.data)
        kind = StepTimeout if answer.is_late else WorkerCrashed
        return RemoteFailure(answer.why, (f"{kind.__module__}:{kind.__qualname__}",))

    async def _asked(self, call: RemoteCall) -> _Answer:
        """What becomes of a call in one worker, which is idle again afterwards, or gone."""
        worker, answer = self._worker(), _Answer(None)
        try:
            answer = await _asked(worker, call)
        finally:
            if answer.data is None:
                self._workers.discard(worker)
            elif worker in self._workers:  # else the pool was closed
                self._idle.append(worker)
        return answer

    def _worker(self) -> _Worker:
        """A worker that is idle, or one that has not been started."""
        try:
            return self._idle.pop()
        except IndexError:
            worker = _Worker()
            self._workers.add(worker)
            return worker


async def _asked(worker: _Worker, call: RemoteCall) -> _Answer:
    """What becomes of a call; the worker of one that is cancelled is gone then."""
    asking = _waiting.submit(worker.ask, call.encoded(), call.limit)
    try:
        return await asyncio.shield(asking)
    except asyncio.CancelledError:
        worker.kill()
        await uninterrupted(asking)
        raise


def _kill_all(workers: set[_Worker]) -> None:
    for worker in workers:
        worker.end()
