"""Virtual time: waits that a clock would end are over at once, so that a test of a backoff of an hour takes no time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from selectors import BaseSelector
from typing import Any, Protocol, cast

from flujo_core.backend.local import workers
from flujo_core.backend.task import outside
from flujo_core.errors import FlujoError

GRACE = 0.001
"""Seconds that are waited for in earnest before time jumps: for what comes from other threads."""


class VirtualTime:
    """The time that has passed on a loop, real or not.

    Attributes:
        skipped: How many seconds were jumped over.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._real = loop.time
        self._start = loop.time()
        self.skipped = 0.0

    def time(self) -> float:
        """The loop's time."""
        return self._real() + self.skipped

    @property
    def elapsed(self) -> float:
        """Seconds since virtual time began."""
        return self.time() - self._start


class _Loop(Protocol):
    """What is changed of a loop of the standard library."""

    _selector: Any
    time: Any


class _Jumping:
    """A selector that, where the loop would only wait for its clock, lets that jump instead."""

    def __init__(self, selector: BaseSelector, clock: VirtualTime) -> None:
        self._selector = selector
        self._clock = clock

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None or timeout <= GRACE:
            return self._selector.select(timeout)
        is_busy = workers.is_busy or outside.count > 0  # asked first: what ends meanwhile has woken the loop by then
        found = self._selector.select(GRACE)
        if is_busy or found:
            return found
        self._clock.skipped += timeout
        return []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._selector, name)


@contextmanager
def virtual_time() -> Iterator[VirtualTime]:
    """Lets the clock of the running loop jump, for as long as the block lasts, wherever the loop would wait for it.

    Timeouts, backoffs and ``asyncio.sleep`` are over at once, in the order in which they would be. The loop still waits
    in earnest for sync steps in their threads; but not for a server: a timeout of a call over the network may be over
    before the answer comes.

    Raises:
        FlujoError: The loop is not one of the standard library.
    """
    loop = asyncio.get_running_loop()
    if not isinstance(loop, asyncio.SelectorEventLoop):
        raise FlujoError(f"virtual time needs a loop of asyncio's own, not {type(loop).__name__!r}")
    clock, changed = VirtualTime(loop), cast(_Loop, loop)
    selector, changed._selector = changed._selector, _Jumping(changed._selector, clock)
    before = vars(loop).get("time")  # of a virtual time around this one
    changed.time = clock.time
    try:
        yield clock
    finally:
        changed._selector = selector
        if before is None:
            del changed.time
        else:
            changed.time = before
