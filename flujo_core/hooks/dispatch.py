"""How lifecycle hooks are called: each hook's implementations, compiled into one flat coroutine function.

A hook without an implementation compiles to None, so that the engine asks ``is None`` and pays nothing. What a plugin
does wrong, by raising, by what it gives back or by taking too long, is a ``PluginError``. Under the policy ``closed``
it ends the run; under ``open`` it is logged and counted, and the run goes on with what there was. A veto ends it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from flujo_core.errors import StepError
from flujo_core.hooks.apart import apart
from flujo_core.hooks.call import AuthorizationRequest, Decision, RunEnd, RunStart, StepCall
from flujo_core.hooks.failure import Failures, Implementation, Refusal, wrong
from flujo_core.hooks.lifetime import Lifetime
from flujo_core.hooks.onion import AroundRun, AroundStep, Onion
from flujo_core.hooks.watchdog import Watch
from flujo_core.model.draft import ContextBase
from flujo_core.model.event import Chunk
from flujo_core.model.outcome import PauseForHumanInput, Skip, Stop
from flujo_core.model.result import PipelineResult
from flujo_core.model.run import StepResult
from flujo_core.model.slotted import NamedTuple, frozen

Authorize: TypeAlias = Callable[[Watch, AuthorizationRequest], Awaitable[bool]]
StartHook: TypeAlias = Callable[[Watch, RunStart], Awaitable[RunStart | Stop]]
ErrorHook: TypeAlias = Callable[[Watch, StepCall, StepError], Awaitable[StepResult | None]]
EndHook: TypeAlias = Callable[[Watch, RunStart, RunEnd], Awaitable[RunEnd]]


class Gate(NamedTuple):
    """A hook asks a person before the step, or its result, goes on.

    Attributes:
        pause: What it asks.
        plugin: Its plugin.
        value: The call or the result, as the hooks before it have left it.
    """

    pause: PauseForHumanInput[Any]
    plugin: str
    value: Any


class PreHook(Protocol):
    """The compiled ``pre_step_execution``."""

    async def __call__(
        self, watch: Watch, call: StepCall, first: int = 0, reply: Any = None, /
    ) -> StepCall | Stop | Skip[Any] | Gate:
        """Calls the plugins from one on; that one is given the reply to what it has asked."""
        ...


class ChunkHook(Protocol):
    """The compiled ``transform_chunk``."""

    async def __call__(self, watch: Watch, call: StepCall | None, chunk: Chunk, /) -> Chunk:
        """What the plugins make of a piece."""
        ...


class PostHook(Protocol):
    """The compiled ``post_step_execution``."""

    async def __call__(
        self, watch: Watch, call: StepCall, result: StepResult, first: int = 0, reply: Any = None, /
    ) -> StepResult | Stop | Gate:
        """Calls the plugins from one on; that one is given the reply to what it has asked."""
        ...


@frozen()
class Hooks:
    """The compiled lifecycle hooks of one set of plugins; None where no plugin has the hook.

    Attributes:
        authorize: ``authorize``; raises where the answer is no, and gives whether any plugin has decided.
        start: ``on_pipeline_start``.
        around_run: ``around_run``.
        pre: ``pre_step_execution``.
        around_step: ``around_step``.
        step_error: ``on_step_error``.
        post: ``post_step_execution``.
        chunk: ``transform_chunk``.
        pre_plugins: The plugins that have ``pre_step_execution``, in calling order.
        post_plugins: The plugins that have ``post_step_execution``, in calling order.
        end: ``on_pipeline_end``.
        listeners: The implementations of ``on_event``.
        lifetime: What starts the plugins up and shuts them down.
        withheld_by: The plugins for which pieces of an output wait until their hooks have seen the whole.
        timeout: How long one call of one plugin may take, in seconds.
        failures: What a failure means.
    """

    authorize: Authorize | None
    start: StartHook | None
    around_run: AroundRun | None
    pre: PreHook | None
    around_step: AroundStep | None
    step_error: ErrorHook | None
    post: PostHook | None
    chunk: ChunkHook | None
    pre_plugins: Sequence[str]
    post_plugins: Sequence[str]
    end: EndHook | None
    listeners: Sequence[Implementation]
    lifetime: Lifetime
    withheld_by: Sequence[str]
    timeout: float
    failures: Failures

    @property
    def withholds_chunks(self) -> bool:
        """Whether pieces of an output may not leave a step before its hooks have seen the whole."""
        return bool(self.withheld_by)

    @property
    def on_steps(self) -> bool:
        """Whether any hook is called at each step."""
        return any((self.authorize, self.pre, self.around_step, self.step_error, self.post, self.chunk))

    @property
    def on_runs(self) -> bool:
        """Whether any hook is called in a run."""
        return self.on_steps or bool(self.listeners) or any((self.start, self.around_run, self.end))


def compile_hooks(found: Mapping[str, Sequence[Implementation]], timeout: float) -> Hooks:
    """Compiles the implementations of each lifecycle hook, given in calling order.

    Args:
        found: The implementations of each hook.
        timeout: How long one call may take, in seconds.
    """
    failures = Failures()
    start = Transform(RunStart, (Stop,), failures, lambda answer: isinstance(answer.context, ContextBase))
    pre = Transform(StepCall, (Stop, Skip, PauseForHumanInput), failures)
    post = Transform(StepResult, (Stop, PauseForHumanInput), failures)
    end = Transform(RunEnd, (), failures, _is_whole_end)
    return Hooks(
        authorize=_authorize(found["authorize"], failures),
        start=start.compile(found["on_pipeline_start"]),
        around_run=Onion(RunEnd, failures, _is_whole_end, once=True).compile(found["around_run"]),
        pre=pre.compile([apart(one, StepCall, Stop, Skip, PauseForHumanInput) for one in found["pre_step_execution"]]),
        around_step=Onion(StepResult, failures).compile(found["around_step"]),
        step_error=_step_error([apart(one, StepResult) for one in found["on_step_error"]], failures),
        post=post.compile_about(
            [apart(one, StepResult, Stop, PauseForHumanInput) for one in found["post_step_execution"]]
        ),
        chunk=Transform(Chunk, (), failures).compile_about(found["transform_chunk"]),
        pre_plugins=[one.plugin for one in found["pre_step_execution"]],
        post_plugins=[one.plugin for one in found["post_step_execution"]],
        end=end.compile_about(found["on_pipeline_end"]),
        listeners=found["on_event"],
        lifetime=Lifetime(found["on_startup"], found["on_shutdown"], failures),
        withheld_by=withholding(found),
        timeout=timeout,
        failures=failures,
    )


def withholding(found: Mapping[str, Sequence[Implementation]]) -> list[str]:
    """The plugins that may veto, replace or repeat what a step gives, and do not look at its pieces."""
    may = [one.plugin for hook in ("post_step_execution", "on_step_error", "around_step") for one in found[hook]]
    looking = {one.plugin for one in found["transform_chunk"]}
    return [name for name in dict.fromkeys(may) if name not in looking]


def _is_whole_end(end: RunEnd) -> bool:
    return isinstance(end.pipeline_result, PipelineResult)


class Transform:
    """A hook that transforms what it is given: what plugins may answer, and what becomes of those that do not.

    Args:
        kind: The class of what is transformed.
        outcomes: The outcomes that may be given instead.
        failures: What a failure means.
        whole: Whether a changed copy still has what must be in it.
    """

    def __init__(
        self,
        kind: type,
        outcomes: tuple[type, ...],
        failures: Failures,
        whole: Callable[[Any], bool] = lambda answer: True,
    ) -> None:
        self._kind = kind
        self._outcomes = outcomes
        self._failures = failures
        self._whole = whole

    def compile(self, chain: Sequence[Implementation]) -> Any:
        """One coroutine function for a hook with one argument; None if no plugin has it."""
        links = [(one.function, one) for one in chain]

        async def call(watch: Watch, value: Any, first: int = 0, reply: Any = None) -> Any:
            for function, one in links[first:] if first else links:
                watch.pending = pending = function(value if reply is None else value._replace(answer=reply))
                reply = None
                try:
                    answer = await pending
                    if watch.expired is not None:
                        raise TimeoutError  # pragma: no cover - coverage loses a frame that a cancellation resumed
                except BaseException as error:
                    self._failures.settle(error, one, watch, value)
                    continue
                if answer is not None:
                    watch.pending = None
                    if isinstance(answer, self._outcomes):
                        return Gate(answer, one.plugin, value) if isinstance(answer, PauseForHumanInput) else answer
                    value = answer if self._is_whole(answer, one, value) else value
                    if getattr(value, "answer", None) is not None:  # it is for the hook that has asked, and no other
                        value = value._replace(answer=None)
            watch.pending = None
            return value

        return call if links else None

    def compile_about(self, chain: Sequence[Implementation]) -> Any:
        """The same for a hook with two arguments, of which it transforms the second.

        A loop of its own: one loop for both, with ``*args``, costs half as much again for each call.
        """
        links = [(one.function, one) for one in chain]

        async def call(watch: Watch, about: Any, value: Any, first: int = 0, reply: Any = None) -> Any:
            for function, one in links[first:] if first else links:
                watch.pending = pending = function(about if reply is None else about._replace(answer=reply), value)
                reply = None
                try:
                    answer = await pending
                    if watch.expired is not None:
                        raise TimeoutError  # pragma: no cover - coverage loses a frame that a cancellation resumed
                except BaseException as error:
                    self._failures.settle(error, one, watch, about)
                    continue
                if answer is not None:
                    watch.pending = None
                    if isinstance(answer, self._outcomes):
                        return Gate(answer, one.plugin, value) if isinstance(answer, PauseForHumanInput) else answer
                    value = answer if self._is_whole(answer, one, about) else value
            watch.pending = None
            return value

        return call if links else None

    def _is_whole(self, answer: Any, by: Implementation, about: object) -> bool:
        """Whether an answer may take the place of what the hook was given; one that may not is an error."""
        if type(answer) is self._kind and self._whole(answer):
            return True
        self._failures.fail(by.failed(wrong(answer, self._kind, *self._outcomes), about), by)
        return False


def _authorize(chain: Sequence[Implementation], failures: Failures) -> Authorize | None:
    """Asks until a plugin decides. One that fails has said no, whatever its policy."""
    closed = [one._replace(policy="closed") for one in chain]
    ask = _first_answer(closed, Decision, failures, lambda decision: isinstance(decision.allowed, bool))

    async def authorize(watch: Watch, request: AuthorizationRequest) -> bool:
        found = await ask(watch, request)
        if found is not None and not found[0].allowed:
            raise Refusal(found[0].reason, found[1], request)
        return found is not None

    return authorize if chain else None


def _step_error(chain: Sequence[Implementation], failures: Failures) -> ErrorHook | None:
    ask = _first_answer(chain, StepResult, failures)

    async def step_error(watch: Watch, call: StepCall, error: StepError) -> StepResult | None:
        found = await ask(watch, call, error)
        return None if found is None else found[0]

    return step_error if chain else None


def _first_answer(
    chain: Sequence[Implementation],
    kind: type,
    failures: Failures,
    whole: Callable[[Any], bool] = lambda answer: True,
) -> Callable[..., Awaitable[tuple[Any, Implementation] | None]]:
    """Asks one plugin after the other until one gives something; gives that, and who gave it."""

    async def ask(watch: Watch, about: Any, *more: Any) -> tuple[Any, Implementation] | None:
        for one in chain:
            try:
                answer = await watch.seen(one.function(about, *more))
            except BaseException as error:
                failures.settle(error, one, watch, about)
                continue
            if type(answer) is kind and whole(answer):
                return answer, one
            if answer is not None:
                failures.fail(one.failed(wrong(answer, kind), about), one)
        return None

    return ask
