"""Work on the event loop that must not be left half done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
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


class Firm(asyncio.Future[T]):
    """A result that is waited for to the end: who is cancelled while waiting is told when it is there."""

    def cancel(self, msg: object = None) -> bool:  # False makes asyncio cancel the waiting task when it wakes up
        return False


async def uninterrupted(work: Awaitable[T]) -> T:
    """Does ``work`` to its end, whoever is cancelled meanwhile, so that it is not left half done.

    What is not ``Firm`` costs a task.

    Raises:
        asyncio.CancelledError: There was a cancellation meanwhile; what the work gave or raised is dropped.
    """
    if isinstance(work, Firm):
        found: T = await work
        return found
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
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


def _wake(waiter: asyncio.Future[None], _: asyncio.Future[Any]) -> None:
    if not waiter.done():
        waiter.set_result(None)
