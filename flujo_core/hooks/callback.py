"""Callbacks given to ``Flujo``: each is a plugin with one method."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, TypeAlias, TypeVar

from flujo_core.errors import PluginLoadError
from flujo_core.hooks.call import RunEnd, RunStart, StepCall
from flujo_core.hooks.spec import Plugin
from flujo_core.model.outcome import PauseForHumanInput, Skip, Stop
from flujo_core.model.run import StepResult
from flujo_core.model.signature import is_async

OnPipelineStart: TypeAlias = Callable[[RunStart], Awaitable[RunStart | Stop | None]]
PreStepExecution: TypeAlias = Callable[
    [StepCall], Awaitable[StepCall | Stop | Skip[Any] | PauseForHumanInput[Any] | None]
]
PostStepExecution: TypeAlias = Callable[
    [StepCall, StepResult], Awaitable[StepResult | Stop | PauseForHumanInput[Any] | None]
]
OnPipelineEnd: TypeAlias = Callable[[RunStart, RunEnd], Awaitable[RunEnd | None]]

F = TypeVar("F", bound=Callable[..., Any])


def callbacks(
    start: OnPipelineStart | None,
    pre: PreStepExecution | None,
    post: PostStepExecution | None,
    end: OnPipelineEnd | None,
) -> list[Plugin]:
    """The plugins that stand for the callbacks that are there.

    Raises:
        PluginLoadError: One is not an async function.
    """
    made: list[Plugin] = []
    if start is not None:
        made.append(_on_start(_checked("on_pipeline_start", start)))
    if pre is not None:
        made.append(_pre_step(_checked("pre_step_execution", pre)))
    if post is not None:
        made.append(_post_step(_checked("post_step_execution", post)))
    if end is not None:
        made.append(_on_end(_checked("on_pipeline_end", end)))
    return made


def _checked(hook: str, function: F) -> F:
    if not is_async(function):
        raise PluginLoadError(f"the callback '{hook}' is not an async function; write 'async def'")
    return function


def _on_start(function: OnPipelineStart) -> Plugin:
    class Callback(Plugin):
        name: ClassVar[str] = "callback on_pipeline_start"

        async def on_pipeline_start(self, run: RunStart, /) -> RunStart | Stop | None:
            return await function(run)

    return Callback()


def _pre_step(function: PreStepExecution) -> Plugin:
    class Callback(Plugin):
        name: ClassVar[str] = "callback pre_step_execution"

        async def pre_step_execution(
            self, call: StepCall, /
        ) -> StepCall | Stop | Skip[Any] | PauseForHumanInput[Any] | None:
            return await function(call)

    return Callback()


def _post_step(function: PostStepExecution) -> Plugin:
    class Callback(Plugin):
        name: ClassVar[str] = "callback post_step_execution"

        async def post_step_execution(
            self, call: StepCall, result: StepResult, /
        ) -> StepResult | Stop | PauseForHumanInput[Any] | None:
            return await function(call, result)

    return Callback()


def _on_end(function: OnPipelineEnd) -> Plugin:
    class Callback(Plugin):
        name: ClassVar[str] = "callback on_pipeline_end"

        async def on_pipeline_end(self, run: RunStart, end: RunEnd, /) -> RunEnd | None:
            return await function(run, end)

    return Callback()
