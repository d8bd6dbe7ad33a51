"""Whether a run that is cancelled while a hook of the plugin waits ends at once, as cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from flujo_core.hooks.spec import HOOKS
from flujo_core.testing.conformance.driven import Driven
from flujo_core.testing.conformance.experiment import findings
from flujo_core.testing.conformance.finding import Finding
from flujo_core.testing.conformance.remains import flaws
from flujo_core.testing.conformance.scenario import FAILING, SOUND
from flujo_core.testing.conformance.subject import Subject
from flujo_core.testing.conformance.trial import Seen, Setup, current, tried
from flujo_core.testing.conformance.witness import Witness
from flujo_core.testing.stand_in import Method, standing_in

PROMPT = 1.0
"""Seconds in which a cancelled run has ended."""

MOST = 4
"""At how many of its waits a hook is cancelled."""


def check_cancellation(subject: Subject, patience: float) -> Iterator[Finding]:
    """A run that is cancelled at a wait of any of its hooks ends at once, as cancelled.

    Args:
        subject: The plugin.
        patience: How long one call of one hook may take, in seconds.
    """
    experiments: list[CancelledAt] = []
    for hook in subject.hooks:
        counting = CancelledAt(subject, hook, 0)
        tried([counting.setup()])
        experiments += [CancelledAt(subject, hook, wait) for wait in range(1, min(counting.waits, MOST) + 1)]
        if counting.waits == 0 and HOOKS[hook].kind != "lifetime":
            experiments.append(CancelledAt(subject, hook, 1))
    yield from findings("cancellation", subject, experiments, max(patience, PROMPT))


class CancelledAt:
    """A run is cancelled while the first call of a hook waits; where it does not wait, right after it.

    Args:
        subject: The plugin.
        hook: The hook.
        wait: At which of its waits, from 1; what goes on in ``proceed`` is one wait. 0: not at all.

    Attributes:
        waits: How often the hook has waited.
    """

    def __init__(self, subject: Subject, hook: str, wait: int) -> None:
        self._subject = subject
        self._hook = hook
        self._wait = wait
        self._begin()

    def _begin(self) -> None:
        self._witness = Witness()
        self.waits = 0
        self._called = False
        self._inside = False
        self._cancelled_at: float | None = None

    @property
    def when(self) -> str:
        """What is going on."""
        return f"a run is cancelled while '{self._hook}' waits"

    def setup(self) -> Setup:
        """What the trial is made of."""
        self._begin()
        plugin = standing_in(self._subject.make(), self._around)
        return Setup(FAILING if self._hook == "on_step_error" else SOUND, (plugin,))

    def judge(self, seen: Seen) -> Iterator[str]:
        """What was wrong."""
        yield from flaws(seen, self._witness, self._subject.name)
        if seen.stuck or self._cancelled_at is None or seen.blames(self._subject.name) is not None:
            return
        if not isinstance(seen.error, asyncio.CancelledError) or seen.status not in self._statuses:
            yield f"the run ended as '{seen.status}'; let the cancellation through"
        elif seen.ended - self._cancelled_at > PROMPT:
            yield f"the run ended later than {PROMPT:g} s after that; do not wait for long when you are cancelled"

    @property
    def _statuses(self) -> tuple[str, ...]:
        if HOOKS[self._hook].kind == "lifetime":
            return ("not started", "completed")
        return ("cancelled",)

    def _around(self, hook: str, method: Method) -> Method:
        return self._witness.around(hook, self._cancelling(method) if hook == self._hook else method)

    def _cancelling(self, method: Method) -> Method:
        async def called(*given: Any) -> Any:
            if self._called:
                return await method(*given)
            self._called = True
            if HOOKS[self._hook].kind == "around":
                given = (given[0], self._within(given[1]))
            answer = await Driven(method(*given), self)
            if self._wait > 0 and self._cancelled_at is None:
                self._cancel()
                await asyncio.sleep(0)
            return answer

        return called

    def _within(self, proceed: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
        async def proceeding() -> Any:
            self._inside = True
            self.waits += 1
            self._maybe_cancel()
            try:
                return await proceed()
            finally:
                self._inside = False

        return proceeding

    def _cancel(self) -> None:
        self._cancelled_at = asyncio.get_running_loop().time()
        current().cancel()

    def _maybe_cancel(self) -> None:
        if self.waits == self._wait:
            self._cancel()

    def resumes(self) -> None:
        """The hook goes on."""

    def rests(self, waiting: bool) -> None:
        """The hook gives the loop back; cancels, if it is time to."""
        if waiting and not self._inside:
            self.waits += 1
            self._maybe_cancel()
