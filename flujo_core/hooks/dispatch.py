"""How lifecycle hooks are called: each hook's implementations, compiled into one flat coroutine function.

A hook without an implementation compiles to None, so that the engine asks ``is None`` and pays nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from flujo_core.errors import PluginError
from flujo_core.hooks.call import RunEnd, RunStart, StepCall
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
    """

    function: Callable[..., Awaitable[Any]]
    hook: str
    plugin: str
    distribution: str | None
    version: str | None

    def failed(self, what: str, step: str | None) -> PluginError:
        """The error that says what this implementation did wrong."""
        return PluginError(
            what, plugin=self.plugin, distribution=self.distribution, version=self.version, hook=self.hook, step=step
        )


StartHook: TypeAlias = Callable[[RunStart], Awaitable[RunStart | Stop]]
PreHook: TypeAlias = Callable[[StepCall], Awaitable[StepCall | Stop | Skip[Any]]]
PostHook: TypeAlias = Callable[[StepCall, StepResult], Awaitable[StepResult | Stop]]
EndHook: TypeAlias = Callable[[RunStart, RunEnd], Awaitable[RunEnd]]


class Hooks(NamedTuple):
    """The compiled lifecycle hooks of one set of plugins."""

    start: StartHook | None = None
    pre: PreHook | None = None
    post: PostHook | None = None
    end: EndHook | None = None


class Refusal(Veto):
    """A veto, with who raised it and where."""

    def __init__(self, veto: Veto, by: Implementation, step: str | None) -> None:
        place = f" before step '{step}' was committed" if step else ""
        super().__init__(f"plugin '{by.plugin}' refused the run in '{by.hook}'{place}: {veto.reason}")


def compile_hooks(found: dict[str, Sequence[Implementation]]) -> Hooks:
    """Compiles the implementations of each lifecycle hook, given in calling order."""
    return Hooks(
        start=_transform(found["on_pipeline_start"], RunStart, (Stop,), _start_is_whole),
        pre=_transform(found["pre_step_execution"], StepCall, (Stop, Skip)),
        post=_transform(found["post_step_execution"], StepResult, (Stop,)),
        end=_transform(found["on_pipeline_end"], RunEnd, (), _end_is_whole),
    )


Whole: TypeAlias = Callable[[Any], bool]
"""Whether a changed copy still has what must be in it."""


def _whole(answer: Any) -> bool:
    return True


def _start_is_whole(answer: RunStart) -> bool:
    return isinstance(answer.context, ContextBase)


def _end_is_whole(answer: RunEnd) -> bool:
    return isinstance(answer.pipeline_result, PipelineResult)


def _transform(chain: Sequence[Implementation], kind: type, outcomes: tuple[type, ...], whole: Whole = _whole) -> Any:
    """A hook that transforms its last argument; the others say what it is about."""
    if not chain:
        return None

    async def call(*given: Any) -> Any:
        about, value = given[:-1], given[-1]
        for one in chain:
            try:
                answer = await one.function(*about, value)
            except Exception as error:
                raise _attributed(error, one, _step_of(given[0])) from error
            if answer is None:
                continue
            if type(answer) is not kind or not whole(answer):
                if isinstance(answer, outcomes):
                    return answer
                raise one.failed(_wrong(answer, kind, outcomes), _step_of(given[0]))
            value = answer
        return value

    return call


def _attributed(error: Exception, by: Implementation, step: str | None) -> Exception:
    if isinstance(error, Veto):
        return Refusal(error, by, step)
    return by.failed(f"raised {type(error).__name__}", step)


def _step_of(about: RunStart | StepCall) -> str | None:
    return about.address if isinstance(about, StepCall) else None


def _wrong(answer: object, kind: type, outcomes: tuple[type, ...]) -> str:
    if type(answer) is kind:
        return f"gave back a '{kind.__name__}' that is not whole: make it with 'replace'"
    allowed = ", ".join(f"'{type_name(one)}'" for one in (kind, *outcomes))
    return f"gave back {type(answer).__name__!r}, not {allowed} or None,"
