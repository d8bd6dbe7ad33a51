"""Whether a hook blocks the event loop: it neither ends nor waits, and nothing else can run meanwhile."""

from __future__ import annotations

import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from time import monotonic
from typing import Any, NamedTuple

from flujo_core.hooks.spec import HOOKS
from flujo_core.testing.conformance.driven import Driven
from flujo_core.testing.conformance.finding import Finding, Remark, where_in
from flujo_core.testing.conformance.scenario import FAILING, SOUND
from flujo_core.testing.conformance.subject import Subject
from flujo_core.testing.conformance.trial import Setup, tried
from flujo_core.testing.stand_in import Method, standing_in

LOOKS = 8
"""How often the sampler looks within the time that a hook may block."""


class Block(NamedTuple):
    """A hook that blocked the loop.

    Attributes:
        seconds: For how long.
        where: Where it was then: ``plugin.py:12``; empty if that could not be seen.
    """

    seconds: float
    where: str


def check_blocking(subject: Subject, seconds: float) -> Iterator[Finding | Remark]:
    """None of its hooks keeps the loop to itself for long.

    Args:
        subject: The plugin.
        seconds: For how long it may.
    """
    first = _blocks(subject, seconds)
    again = _blocks(subject, seconds) if first else {}
    for hook, block in first.items():
        where = f" at {block.where}" if block.where else ""
        what = f"'{hook}' blocked the loop for {block.seconds:.2g} s{where}"
        if hook in again:
            yield Finding("blocking", f"{what}; await there, or put the work into a thread: 'asyncio.to_thread(...)'")
        else:
            yield Remark("blocking", f"{what}, and did not when called again")


def _blocks(subject: Subject, seconds: float) -> Mapping[str, Block]:
    """The hooks that blocked the loop for longer than ``seconds``."""
    stopwatch = Stopwatch(seconds)
    with Sampler(stopwatch):
        for scenario in (SOUND, FAILING):
            tried([Setup(scenario, (standing_in(subject.make(), stopwatch.around),))])
    return stopwatch.blocks


class Stopwatch:
    """Times how long a hook keeps the loop.

    Args:
        limit: What is too long, in seconds.

    Attributes:
        blocks: The longest time that each hook kept the loop for too long.
        hook: The hook that has the loop, or None.
        since: When it got it.
        where: Where it was last seen.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.blocks: dict[str, Block] = {}
        self.hook: str | None = None
        self.since = 0.0
        self.where = ""

    def around(self, hook: str, method: Method) -> Method:
        """What is called in the place of a hook."""

        async def timed(*given: Any) -> Any:
            if HOOKS[hook].kind == "around":
                given = (given[0], self._apart(given[1]))
            return await Driven(method(*given), _Timing(self, hook))

        return timed

    def _apart(self, proceed: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
        """``proceed``, whose time is not the hook's."""

        async def awaited() -> Any:
            return await proceed()

        async def timed_apart() -> Any:
            return await Driven(awaited(), _Timing(self, None))

        return timed_apart

    def turn_to(self, hook: str | None) -> str | None:
        """Ends the time of who has the loop, and begins that of ``hook``; gives who had it."""
        now, before = monotonic(), self.hook
        spent = now - self.since
        if before is not None and spent > self.limit:
            longest = self.blocks.get(before)
            if longest is None or longest.seconds < spent:
                self.blocks[before] = Block(spent, self.where)
        self.hook, self.since, self.where = hook, now, ""
        return before


class _Timing:
    """Tells a stopwatch when a coroutine has the loop."""

    def __init__(self, stopwatch: Stopwatch, hook: str | None) -> None:
        self._stopwatch = stopwatch
        self._hook = hook
        self._before: str | None = None

    def resumes(self) -> None:
        """It has the loop."""
        self._before = self._stopwatch.turn_to(self._hook)

    def rests(self, waiting: bool) -> None:
        """Who had the loop before it has it again."""
        self._stopwatch.turn_to(self._before)


class Sampler:
    """A thread that looks where the thread that made it is while a hook has had the loop for half of what is too long.

    Args:
        stopwatch: What says so.
    """

    def __init__(self, stopwatch: Stopwatch) -> None:
        self._stopwatch = stopwatch
        self._ended = threading.Event()
        self._watched = threading.get_ident()
        self._thread = threading.Thread(target=self._look, name="flujo-testing-sampler", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        watch = self._stopwatch
        while not self._ended.wait(watch.limit / LOOKS):
            if watch.hook is not None and monotonic() - watch.since > watch.limit / 2:
                watch.where = where_in(sys._current_frames().get(self._watched))
