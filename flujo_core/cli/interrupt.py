"""What an interrupt does to a command that runs a pipeline: it cancels, and waits until that is recorded."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from flujo_core.flujo import Flujo

T = TypeVar("T")

PATIENCE = 5.0
"""Seconds after an interrupt during which another one is ignored."""


def within(flujo: Flujo[Any, Any, Any], work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Does ``work`` in a loop of its own, while a ``Flujo`` is open.

    What ``work`` prints is printed, however well plugins shut down after it.

    Raises:
        KeyboardInterrupt: It was interrupted; what was done was cancelled.
    """

    async def opened() -> T:
        async with flujo:
            return await work()

    try:
        return asyncio.run(_interruptible(opened()))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _interruptible(work: Coroutine[Any, Any, T]) -> T:
    """Does ``work``; the first interrupt cancels it, and further ones are ignored while its end is being recorded."""
    task, loop = asyncio.ensure_future(work), asyncio.get_running_loop()

    def interrupt() -> None:
        task.cancel()
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        loop.call_later(PATIENCE, signal.signal, signal.SIGINT, signal.default_int_handler)

    with suppress(NotImplementedError):  # this platform has asyncio's own answer to an interrupt
        loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        return await task
    finally:
        with suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)
