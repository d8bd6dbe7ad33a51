"""Worker threads for sync steps."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import textwrap
import threading
from typing import Any

import pytest

from flujo_core.backend.local import WorkerThreads


def test_a_call_gives_its_result_or_its_error() -> None:
    async def main() -> None:
        workers = WorkerThreads(2)
        assert await workers.submit(lambda a, *, b: a + b, 1, b=2) == 3
        with pytest.raises(ZeroDivisionError):
            await workers.submit(lambda: 1 // 0)
        with pytest.raises(RuntimeError, match="StopIteration"):
            await workers.submit(next, iter(()))

    asyncio.run(main())


def test_no_more_threads_than_the_limit_and_idle_ones_are_used_again() -> None:
    async def main() -> None:
        workers = WorkerThreads(3)
        names: set[int] = set()
        running, most, lock = 0, 0, threading.Lock()

        def work() -> None:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
                names.add(threading.get_ident())
            barrier.wait(0.01)
            with lock:
                running -= 1

        barrier = threading.Event()
        await asyncio.gather(*(workers.submit(work) for _ in range(20)))
        assert most <= 3 and len(names) <= 3
        for _ in range(10):
            await workers.submit(work)
        assert len(names) <= 3

    asyncio.run(main())


def test_one_call_after_the_other_needs_one_thread() -> None:
    async def main() -> None:
        workers = WorkerThreads(8)
        names: set[int] = set()
        for _ in range(10):
            await workers.submit(lambda: names.add(threading.get_ident()))
            await asyncio.sleep(0.005)
        assert len(names) == 1

    asyncio.run(main())


def test_context_variables_come_along_and_do_not_go_back() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    def work() -> str:
        seen = variable.get()
        variable.set("changed in the thread")
        return seen

    async def main() -> None:
        variable.set("mine")
        assert await WorkerThreads(1).submit(work) == "mine"
        assert variable.get() == "mine"

    asyncio.run(main())


def test_cancelling_gives_up_the_wait_and_the_thread_serves_on() -> None:
    async def main() -> None:
        workers = WorkerThreads(1)
        go = threading.Event()
        first = asyncio.ensure_future(workers.submit(go.wait, 10))
        await asyncio.sleep(0.01)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        second = workers.submit(lambda: "served")
        go.set()
        assert await asyncio.wait_for(second, 5) == "served"

    asyncio.run(main())


def test_a_result_for_a_loop_that_is_gone_is_dropped() -> None:
    workers = WorkerThreads(1)
    go = threading.Event()

    async def hasty() -> None:
        workers.submit(go.wait, 10)
        await asyncio.sleep(0.01)

    asyncio.run(hasty())
    go.set()

    async def later() -> Any:
        return await workers.submit(lambda: 5)

    assert asyncio.run(asyncio.wait_for(later(), 5)) == 5


def test_a_thread_that_is_stuck_does_not_keep_the_process() -> None:
    code = """
        import time
        from flujo_core import Flujo, RunFailed, step

        @step(timeout=0.05)
        def stuck(value: int) -> int:
            time.sleep(60)
            return value

        try:
            Flujo(stuck).run(1)
        except RunFailed as failed:
            print(type(failed.__cause__).__name__)
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "StepTimeout", "")
