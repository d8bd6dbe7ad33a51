"""Work on the event loop that must not be left half done."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


class Outside:
    """Counts what goes on outside of the event loop that the loop waits for.

    Attributes:
        count: How much does.
    """

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> None:
        self.count += 1

    def __exit__(self, *_: object) -> None:
        self.count -= 1


outside = Outside()
"""What stores do in threads of theirs."""


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """Does ``work`` to its end, whoever is cancelled meanwhile, so that it is not left half done.

    Raises:
        asyncio.CancelledError: There was a cancellation meanwhile; what the work gave or raised is dropped.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        waiter = loop.create_future()  # 'asyncio.wait' does the same at twice the price, and each step pays it
        task.add_done_callback(partial(_wake, waiter))
        try:
            await waiter
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        task.exception()
        raise cancelled
    return task.result()


def _wake(waiter: asyncio.Future[None], _: asyncio.Task[Any]) -> None:
    if not waiter.done():
        waiter.set_result(None)
