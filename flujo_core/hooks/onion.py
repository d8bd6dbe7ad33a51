"""How around hooks are called: each within the one before it, like the skins of an onion.

A skin may look at what goes on within, change what comes of it, and, for a step, try again. It cannot swallow what is
not its business: a veto, a stop, a cancellation, another plugin's failure and a store's are raised again as it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from flujo_core.errors import FlujoError, StepError
from flujo_core.hooks.call import RunEnd, RunStart, StepCall
from flujo_core.hooks.failure import Failures, Implementation, wrong
from flujo_core.hooks.watchdog import Watch
from flujo_core.model.run import StepResult

Proceed: TypeAlias = Callable[[], Awaitable[Any]]
AroundRun: TypeAlias = Callable[[Watch, RunStart, Callable[[], Awaitable[RunEnd]]], Awaitable[RunEnd]]
AroundStep: TypeAlias = Callable[[Watch, StepCall, Callable[[], Awaitable[StepResult]]], Awaitable[StepResult]]


class Onion:
    """A hook that goes around something.

    Args:
        kind: The class of what comes of that.
        failures: What a failure means.
        whole: Whether a changed copy still has what must be in it.
        once: Whether it has to happen, and only once.
    """

    def __init__(
        self, kind: type, failures: Failures, whole: Callable[[Any], bool] = lambda answer: True, *, once: bool = False
    ) -> None:
        self.kind = kind
        self.failures = failures
        self.whole = whole
        self.once = once

    def compile(self, chain: Sequence[Implementation]) -> Any:
        """One coroutine function, which gets what is at the heart; None if no plugin has the hook."""

        async def call(watch: Watch, about: Any, proceed: Proceed) -> Any:
            for one in reversed(chain):
                proceed = self._around(one, watch, about, proceed)
            return await proceed()

        return call if chain else None

    def _around(self, one: Implementation, watch: Watch, about: Any, within: Proceed) -> Proceed:
        return lambda: Skin(self, one, watch, about, within).call()


class Skin:
    """One call of one plugin's around hook."""

    def __init__(self, onion: Onion, by: Implementation, watch: Watch, about: Any, within: Proceed) -> None:
        self._onion = onion
        self._by = by
        self._watch = watch
        self._about = about
        self._within = within
        self._calls = 0
        self._inner: asyncio.Task[Any] | None = None
        self._ended = False
        self._result: Any = None
        self._errors: list[StepError] = []
        self._through: BaseException | None = None
        self._cut = False

    async def call(self) -> Any:
        """What the plugin makes of it."""
        watch = self._watch
        try:
            answer = await watch.seen(self._by.function(self._about, self._proceed))
        except BaseException as error:
            self._ended = True
            await self._end_what_runs(error)
            if self._through is not None:
                self._withdraw()
            elif watch.expired is not None or not any(error is one for one in self._errors):
                self._onion.failures.settle(error, self._by, watch, self._about)
            return await self._without()
        finally:
            self._ended = True
            watch.pending = None
        await self._end_what_runs(None)
        if self._through is None and self._cut and watch.is_cancelled:
            raise asyncio.CancelledError  # pragma: no cover - coverage loses a frame that a cancellation resumed
        if self._through is not None:
            raise self._through
        if (what := self._misuse(answer)) is not None:
            self._onion.failures.fail(self._by.failed(what, self._about), self._by)
            return await self._without()
        return answer

    async def _end_what_runs(self, cause: BaseException | None) -> None:
        """Cancels what is within if it still runs, in a task that the plugin has made for it.

        Raises:
            PluginError: It did; under any policy, for there is nothing to go on with.
        """
        task = self._inner
        if task is None or task is asyncio.current_task():
            return
        task.cancel()
        await asyncio.wait([task])
        _ = task.cancelled() or task.exception()
        self._withdraw()
        raise self._by.failed("ended while 'proceed' ran", self._about) from cause

    def _withdraw(self) -> None:
        """Takes the watchdog's cancellation back, if there was one: something else is raised."""
        if self._watch.expired is not None:
            self._watch.acknowledge()

    async def _proceed(self) -> Any:
        """What the plugin is given: goes on with what is within.

        Raises:
            StepError: The step failed; the plugin may handle it. What else it raises goes on outwards.
            FlujoError: It is not the time for it.
        """
        if self._watch.expired is not None:
            raise asyncio.CancelledError
        if self._ended or self._inner is not None or self._through is not None or (self._calls and self._onion.once):
            raise FlujoError(f"'proceed' of '{self._by.hook}' is called {self._why_not()}")
        self._calls += 1
        self._inner = asyncio.current_task()
        self._result = None
        self._watch.pending = None
        try:
            self._result = await self._within()
        except StepError as error:
            self._errors.append(error)
            raise
        except asyncio.CancelledError:
            self._cut = True
            raise
        except BaseException as error:
            self._through = error
            raise
        finally:
            self._inner = None
            self._watch.pending = object()  # the plugin's own time begins anew
        await self._watch.forgive()
        return self._result

    def _why_not(self) -> str:
        if self._ended:
            return "after the hook has ended"
        return "again" if self._inner is None else "while it runs"

    def _misuse(self, answer: Any) -> str | None:
        """What is wrong with what the plugin gave, or None."""
        if type(answer) is not self._onion.kind or not self._onion.whole(answer):
            return wrong(answer, self._onion.kind, none=False)
        return "did not await 'proceed'" if self._onion.once and not self._calls else None

    async def _without(self) -> Any:
        """What comes of it as if the plugin were not there."""
        if self._through is not None:
            raise self._through
        if self._result is not None:
            return self._result
        if self._errors:
            raise self._errors[-1]
        if self._onion.once and self._calls:
            raise self._by.failed("cut off what it goes around", self._about)
        return await self._within()
