"""Witness: sees what the hooks of the plugin do in one trial, from outside them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

from flujo_core.errors import StepError
from flujo_core.hooks.spec import HOOKS, Plugin
from flujo_core.model.outcome import Veto
from flujo_core.testing.stand_in import Method, standing_in


class Injected(Exception):
    """An error that a trial raises in the place of a hook; nobody is to blame for it."""


class Witness:
    """Sees what the hooks of one plugin do in one trial.

    Attributes:
        hooks: The async hooks that the plugin overrides.
        began: How often each hook was called.
        ended: How often each hook came to its end, without an error.
        longest: The seconds that the longest call of a hook took, without what it waited for in ``proceed``.
        failed: What hooks raised of their own, with the hook's name.
        swallowed: What around hooks made of what was not theirs to handle, a sentence each.
    """

    def __init__(self) -> None:
        self.hooks: set[str] = set()
        self.began: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.longest = 0.0
        self.failed: list[tuple[str, BaseException]] = []
        self.swallowed: list[str] = []

    def beside(self, plugin: Plugin) -> Plugin:
        """The plugin, with the witness beside each of its hooks."""
        return standing_in(plugin, self.around)

    def around(self, hook: str, method: Method) -> Method:
        """What is called in the place of a hook."""
        self.hooks.add(hook)
        if HOOKS[hook].kind == "around":
            return self._around_hook(hook, method)

        async def witnessed(*given: Any) -> Any:
            self.began[hook] += 1
            start = monotonic()
            try:
                answer = await method(*given)
            except BaseException as error:
                self._note_failure(hook, error)
                raise
            self.longest = max(self.longest, monotonic() - start)
            self.ended[hook] += answer is None or HOOKS[hook].kind != "lifetime"
            return answer

        return witnessed

    def _around_hook(self, hook: str, method: Method) -> Method:
        async def witnessed(about: Any, proceed: Callable[[], Awaitable[Any]]) -> Any:
            self.began[hook] += 1
            inner = _Proceeding(proceed)
            start = monotonic()
            try:
                answer = await method(about, inner.proceed)
            except BaseException as error:
                if inner.passing is None:
                    self._note_failure(hook, error)
                elif not _holds(error, inner.passing):
                    self._note(hook, f"raised {type(error).__name__}", inner.passing)
                raise
            if inner.passing is not None:
                self._note(hook, "gave an answer", inner.passing)
            self.longest = max(self.longest, monotonic() - start - inner.seconds)
            self.ended[hook] += 1
            return answer

        return witnessed

    def _note_failure(self, hook: str, error: BaseException) -> None:
        if not isinstance(error, StepError | Veto | Injected | asyncio.CancelledError | GeneratorExit):
            self.failed.append((hook, error))

    def _note(self, hook: str, did: str, passing: BaseException) -> None:
        raised = "Veto" if isinstance(passing, Veto) else type(passing).__name__
        self.swallowed.append(
            f"'{hook}' {did} although 'proceed' had raised {raised}; of what 'proceed' raises, only"
            " StepError may be handled: write 'except StepError', and let everything else through"
        )


class _Proceeding:
    """What an around hook is given to go on with, and what came of that."""

    def __init__(self, proceed: Callable[[], Awaitable[Any]]) -> None:
        self._proceed = proceed
        self.passing: BaseException | None = None
        self.seconds = 0.0

    async def proceed(self) -> Any:
        start = monotonic()
        try:
            return await self._proceed()
        except StepError:
            raise
        except BaseException as error:
            self.passing = error
            raise
        finally:
            self.seconds += monotonic() - start


def _holds(error: BaseException, passing: BaseException) -> bool:
    """Whether what leaves a hook is what went through it, as it is or in a group."""
    if isinstance(error, BaseExceptionGroup):
        return any(_holds(one, passing) for one in error.exceptions)
    both_cancelled = isinstance(error, asyncio.CancelledError) and isinstance(passing, asyncio.CancelledError)
    return error is passing or both_cancelled
