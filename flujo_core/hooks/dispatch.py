"""How lifecycle hooks are called: each hook's implementations, compiled into one flat coroutine function.

A hook without an implementation compiles to None, so that the engine asks ``is None`` and pays nothing. What a plugin
does wrong, by raising, by what it gives back or by taking too long, is a ``PluginError``. Under the policy ``closed``
it ends the run; under ``open`` it is logged and counted, and the run goes on with what there was. A veto ends it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from flujo_core.config import Policy
from flujo_core.errors import PluginError
from flujo_core.hooks.call import RunEnd, RunStart, StepCall
from flujo_core.hooks.watchdog import Watch
from flujo_core.log import warning
from flujo_core.model.check import type_name
from flujo_core.model.draft import ContextBase
from flujo_core.model.outcome import Skip, Stop, Veto
from flujo_core.model.run import PipelineResult, StepResult


class Implementation(NamedTuple):
    """One plugin's implementation of one hook.

    Attributes:
        function: The bound method.
        hook: The hook's name.
        plugin: The plugin's name.
        distribution: What brought the plugin, or None.
        version: That distribution's version, or None.
        policy: What an error in it means.
    """

    function: Callable[..., Coroutine[Any, Any, Any]]
    hook: str
    plugin: str
    distribution: str | None
    version: str | None
    policy: Policy = "closed"

    def failed(self, what: str, step: str | None) -> PluginError:
        """The error that says what this implementation did wrong."""
        return PluginError(
            what, plugin=self.plugin, distribution=self.distribution, version=self.version, hook=self.hook, step=step
        )


StartHook: TypeAlias = Callable[[Watch, RunStart], Awaitable[RunStart | Stop]]
PreHook: TypeAlias = Callable[[Watch, StepCall], Awaitable[StepCall | Stop | Skip[Any]]]
PostHook: TypeAlias = Callable[[Watch, StepCall, StepResult], Awaitable[StepResult | Stop]]
EndHook: TypeAlias = Callable[[Watch, RunStart, RunEnd], Awaitable[RunEnd]]


FAILING = (Exception, SystemExit, asyncio.CancelledError)
"""What a hook may raise: an error, a veto, or the cancellation that the watchdog sends it; it ends no process."""


class Hooks(NamedTuple):
    """The compiled lifecycle hooks of one set of plugins.

    Attributes:
        start: ``on_pipeline_start``, or None where no plugin has it; so are the next three.
        pre: ``pre_step_execution``.
        post: ``post_step_execution``.
        end: ``on_pipeline_end``.
        timeout: How long one call of one plugin may take, in seconds.
        failures: How often each plugin's errors were passed over, by its name.
    """

    start: StartHook | None
    pre: PreHook | None
    post: PostHook | None
    end: EndHook | None
    timeout: float
    failures: Counter[str]


class Refusal(Veto):
    """A veto, with who raised it and where."""

    def __init__(self, veto: Veto, by: Implementation, step: str | None) -> None:
        place = f" before step '{step}' was committed" if step else ""
        super().__init__(f"plugin '{by.plugin}' refused the run in '{by.hook}'{place}: {veto.reason}")


def compile_hooks(found: Mapping[str, Sequence[Implementation]], timeout: float) -> Hooks:
    """Compiles the implementations of each lifecycle hook, given in calling order.

    Args:
        found: The implementations of each hook.
        timeout: How long one call may take, in seconds.
    """
    failures: Counter[str] = Counter()
    start = Transform(RunStart, (Stop,), failures, lambda answer: isinstance(answer.context, ContextBase))
    pre = Transform(StepCall, (Stop, Skip), failures)
    post = Transform(StepResult, (Stop,), failures)
    end = Transform(RunEnd, (), failures, lambda answer: isinstance(answer.pipeline_result, PipelineResult))
    return Hooks(
        start=start.compile(found["on_pipeline_start"]),
        pre=pre.compile(found["pre_step_execution"]),
        post=post.compile_about(found["post_step_execution"]),
        end=end.compile_about(found["on_pipeline_end"]),
        timeout=timeout,
        failures=failures,
    )


class Transform:
    """A hook that transforms what it is given: what plugins may answer, and what becomes of those that do not.

    Args:
        kind: The class of what is transformed.
        outcomes: The outcomes that may be given instead.
        failures: Counts the errors that are passed over, by plugin.
        whole: Whether a changed copy still has what must be in it.
    """

    def __init__(
        self,
        kind: type,
        outcomes: tuple[type, ...],
        failures: Counter[str],
        whole: Callable[[Any], bool] = lambda answer: True,
    ) -> None:
        self._kind = kind
        self._outcomes = outcomes
        self._failures = failures
        self._whole = whole

    def compile(self, chain: Sequence[Implementation]) -> Any:
        """One coroutine function for a hook with one argument; None if no plugin has it."""
        links = [(one.function, one) for one in chain]

        async def call(watch: Watch, value: Any) -> Any:
            for function, one in links:
                watch.pending = pending = function(value)
                try:
                    answer = await pending
                    if watch.expired is not None:
                        raise TimeoutError  # pragma: no cover - coverage loses a frame that a cancellation resumed
                except FAILING as error:
                    self._failed(error, one, watch, value)
                    continue
                if answer is not None:
                    watch.pending = None
                    if isinstance(answer, self._outcomes):
                        return answer
                    value = answer if self._is_whole(answer, one, value) else value
            watch.pending = None
            return value

        return call if links else None

    def compile_about(self, chain: Sequence[Implementation]) -> Any:
        """The same for a hook with two arguments, of which it transforms the second.

        A loop of its own: one loop for both, with ``*args``, costs half as much again for each call.
        """
        links = [(one.function, one) for one in chain]

        async def call(watch: Watch, about: Any, value: Any) -> Any:
            for function, one in links:
                watch.pending = pending = function(about, value)
                try:
                    answer = await pending
                    if watch.expired is not None:
                        raise TimeoutError  # pragma: no cover - coverage loses a frame that a cancellation resumed
                except FAILING as error:
                    self._failed(error, one, watch, about)
                    continue
                if answer is not None:
                    watch.pending = None
                    if isinstance(answer, self._outcomes):
                        return answer
                    value = answer if self._is_whole(answer, one, about) else value
            watch.pending = None
            return value

        return call if links else None

    def _is_whole(self, answer: Any, by: Implementation, about: RunStart | StepCall) -> bool:
        """Whether an answer may take the place of what the hook was given; one that may not is an error."""
        if type(answer) is self._kind and self._whole(answer):
            return True
        self._fail(by.failed(_wrong(answer, self._kind, self._outcomes), _step_of(about)), by, None)
        return False

    def _failed(self, error: BaseException, by: Implementation, watch: Watch, about: RunStart | StepCall) -> None:
        """What an error means; a cancellation that is not the watchdog's goes through."""
        watch.pending = None
        if watch.expired is not None:
            if not watch.acknowledge():
                raise asyncio.CancelledError from error
            self._fail(by.failed(f"took longer than {watch.timeout:g} s", _step_of(about)), by, error)
        elif isinstance(error, asyncio.CancelledError):
            raise error
        elif isinstance(error, Veto):
            raise Refusal(error, by, _step_of(about)) from error
        else:
            self._fail(by.failed(f"raised {type(error).__name__}", _step_of(about)), by, error)

    def _fail(self, failure: PluginError, by: Implementation, cause: BaseException | None) -> None:
        """Raises the failure, or logs and counts it, as the plugin's policy says."""
        if by.policy == "closed":
            raise failure from cause
        self._failures[by.plugin] += 1
        count = self._failures[by.plugin]
        warning("plugin.failure_passed_over", plugin=by.plugin, hook=by.hook, failure=str(failure), count=count)


def _step_of(about: RunStart | StepCall) -> str | None:
    return about.address if isinstance(about, StepCall) else None


def _wrong(answer: object, kind: type, outcomes: tuple[type, ...]) -> str:
    if type(answer) is kind:
        return f"gave back a '{kind.__name__}' that is not whole: make it with 'replace'"
    allowed = ", ".join(f"'{type_name(one)}'" for one in (kind, *outcomes))
    return f"gave back {type(answer).__name__!r}, not {allowed} or None,"
