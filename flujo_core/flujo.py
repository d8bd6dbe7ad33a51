"""Flujo: runs a pipeline."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from time import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, overload

from pydantic import ValidationError
from typing_extensions import TypeVar

from flujo_core.config import Settings, load_settings
from flujo_core.engine.call import Leaf
from flujo_core.engine.journal import Journal
from flujo_core.engine.run import Program, execute
from flujo_core.engine.stream import CAPACITY, Events, RunStream, streamed
from flujo_core.errors import ConfigurationError, DefinitionError, FlujoError
from flujo_core.hooks.callback import OnPipelineEnd, OnPipelineStart, PostStepExecution, PreStepExecution, callbacks
from flujo_core.hooks.host import Host
from flujo_core.hooks.spec import Plugin
from flujo_core.model.action import AgentAction
from flujo_core.model.check import type_name
from flujo_core.model.flow import Node, Pipeline, walk
from flujo_core.model.run import PipelineResult
from flujo_core.model.signature import Resources
from flujo_core.model.step import Step, with_agent
from flujo_core.model.value import flaws
from flujo_core.store.protocol import Store
from flujo_core.store.url import store_of

if TYPE_CHECKING:
    from flujo_core.model.context import PipelineContext

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)
Ctx = TypeVar("Ctx", bound="PipelineContext", default="PipelineContext", covariant=True)
I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741
X = TypeVar("X", bound="PipelineContext")


class Flujo(Generic[In, Out, Ctx]):
    """Runs a pipeline, as often as you like, side by side if you like.

    Use it as an async context manager, or as it is: then it opens what it needs when it needs it.

    Args:
        pipeline: What to run: a pipeline, or a single step.
        context: The class of the state that the steps of a run share.
        resources: What steps that declare a ``Resources`` parameter get: clients, pools.
        store: Where runs are journaled: ``"sqlite:///runs.db"``, ``"memory://"``, or a store. None: nowhere, and
            nothing is serialised.
        plugins: Plugins beside the installed ones.
        on_pipeline_start: Called as the hook of that name is; so are the next three.
        pre_step_execution: See ``Plugin.pre_step_execution``.
        post_step_execution: See ``Plugin.post_step_execution``.
        on_pipeline_end: See ``Plugin.on_pipeline_end``.
        settings: The configuration; None: what the nearest configuration file and the environment say.

    Raises:
        DefinitionError: The pipeline cannot be right.
        ConfigurationError: The configuration cannot be, a plugin cannot be loaded, or the store's URL names none.
    """

    @overload
    def __init__(
        self: Flujo[I, O, X],
        pipeline: Node[I, O],
        *,
        context: type[X],
        resources: Resources | None = ...,
        store: str | Store | None = ...,
        plugins: Sequence[Plugin] = ...,
        on_pipeline_start: OnPipelineStart | None = ...,
        pre_step_execution: PreStepExecution | None = ...,
        post_step_execution: PostStepExecution | None = ...,
        on_pipeline_end: OnPipelineEnd | None = ...,
        settings: Settings | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: Flujo[I, O, PipelineContext],
        pipeline: Node[I, O],
        *,
        resources: Resources | None = ...,
        store: str | Store | None = ...,
        plugins: Sequence[Plugin] = ...,
        on_pipeline_start: OnPipelineStart | None = ...,
        pre_step_execution: PreStepExecution | None = ...,
        post_step_execution: PostStepExecution | None = ...,
        on_pipeline_end: OnPipelineEnd | None = ...,
        settings: Settings | None = ...,
    ) -> None: ...
    def __init__(
        self,
        pipeline: Node[Any, Any],
        *,
        context: type[PipelineContext] | None = None,
        resources: Resources | None = None,
        store: str | Store | None = None,
        plugins: Sequence[Plugin] = (),
        on_pipeline_start: OnPipelineStart | None = None,
        pre_step_execution: PreStepExecution | None = None,
        post_step_execution: PostStepExecution | None = None,
        on_pipeline_end: OnPipelineEnd | None = None,
        settings: Settings | None = None,
    ) -> None:
        if not isinstance(pipeline, Node):
            raise DefinitionError(f"Flujo runs a pipeline or a step, not {type(pipeline).__name__!r}")
        pipeline.check()
        given = callbacks(on_pipeline_start, pre_step_execution, post_step_execution, on_pipeline_end)
        host = Host((settings or load_settings()).plugins, [*plugins, *given])
        bound = _bound(pipeline, host)
        kind = context or _empty_context()
        leaves = [(address, step) for address, step in walk(bound) if isinstance(step, Step)]
        for address, step in leaves:
            _check_surroundings(address, step, kind, resources)
        self._program = Program(
            bound, [Leaf(step, address) for address, step in leaves], host.hooks, kind, resources, host
        )
        self._store = store_of(store) if isinstance(store, str) else store
        self._owns_store = isinstance(store, str)

    @property
    def pipeline(self) -> Node[In, Out]:
        """The pipeline, with registered agents in the places of their names."""
        return self._program.pipeline

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        if self._owns_store and self._store is not None:
            await self._store.close()

    @overload
    def run(
        self: Flujo[None, O, X], /, *, run_id: str | None = ..., tenant: str | None = ..., context: X | None = ...
    ) -> PipelineResult[O, X]: ...
    @overload
    def run(
        self, input: In, /, *, run_id: str | None = ..., tenant: str | None = ..., context: PipelineContext | None = ...
    ) -> PipelineResult[Out, Ctx]: ...
    def run(self, input: Any = None, /, **keywords: Any) -> Any:
        """As ``run_async``, for code that is not async. It opens and closes what it needs.

        Raises:
            FlujoError: There is a running event loop, which this would block.
        """
        with suppress(RuntimeError):  # there is none, as there should be
            asyncio.get_running_loop()
            raise FlujoError("'run' would block the running event loop; write 'await flujo.run_async(...)'")
        return asyncio.run(self._run_alone(input, **keywords))

    @overload
    async def run_async(
        self: Flujo[None, O, X], /, *, run_id: str | None = ..., tenant: str | None = ..., context: X | None = ...
    ) -> PipelineResult[O, X]: ...
    @overload
    async def run_async(
        self, input: In, /, *, run_id: str | None = ..., tenant: str | None = ..., context: PipelineContext | None = ...
    ) -> PipelineResult[Out, Ctx]: ...
    async def run_async(
        self,
        input: Any = None,
        /,
        *,
        run_id: str | None = None,
        tenant: str | None = None,
        context: PipelineContext | None = None,
    ) -> Any:
        """Runs the pipeline once, to its end.

        Args:
            input: The pipeline's input.
            run_id: The run's id; made up, unless given.
            tenant: Whose run it is.
            context: The context to begin with; one with its defaults, unless given.

        Returns:
            The result of a run that completed or was stopped.

        Raises:
            InvalidValue: The input does not fit the pipeline; there was no run.
            RunFailed: The run failed; ``.result`` has what it came to.
            RunRefused: A plugin refused it.
            RunExists: The store has a run of that id.
            StoreError: The journal could not be kept.
        """
        return await execute(self._program, self._journal(run_id, tenant, None), input, self._context(context))

    @overload
    def stream(
        self: Flujo[None, O, X], /, *, run_id: str | None = ..., tenant: str | None = ..., context: X | None = ...
    ) -> AbstractAsyncContextManager[RunStream[O, X]]: ...
    @overload
    def stream(
        self, input: In, /, *, run_id: str | None = ..., tenant: str | None = ..., context: PipelineContext | None = ...
    ) -> AbstractAsyncContextManager[RunStream[Out, Ctx]]: ...
    def stream(
        self,
        input: Any = None,
        /,
        *,
        run_id: str | None = None,
        tenant: str | None = None,
        context: PipelineContext | None = None,
    ) -> AbstractAsyncContextManager[RunStream[Any, Any]]:
        """Runs the pipeline once, and gives its events as they happen: ``async with flujo.stream(x) as run``.

        Arguments are those of ``run_async``. Iterate over ``run``; then ``run.result`` has the result. A consumer that
        is slow makes the run wait; one that leaves the block early cancels it.
        """
        events: Events = asyncio.Queue(CAPACITY)
        journal, begin = self._journal(run_id, tenant, events), self._context(context)
        return streamed(events, lambda: execute(self._program, journal, input, begin))

    async def _run_alone(self, input: Any, **keywords: Any) -> PipelineResult[Any, Any]:
        async with self:
            result: PipelineResult[Any, Any] = await self.run_async(input, **keywords)
            return result

    def _journal(self, run_id: str | None, tenant: str | None, events: Events | None) -> Journal:
        known = new_run_id() if run_id is None else _checked_run_id(run_id)
        return Journal(known, tenant, self._store, events)

    def _context(self, given: PipelineContext | None) -> PipelineContext:
        kind = self._program.context_type
        if given is not None:
            if type(given) is not kind:
                raise ConfigurationError(
                    f"'context' is of type '{type(given).__name__}', and the pipeline runs with '{kind.__name__}'"
                )
            return given
        try:
            return kind()
        except ValidationError as error:
            raise ConfigurationError(
                f"context '{kind.__name__}' does not begin with its defaults alone ({flaws(error, kind)});"
                f" give 'context={kind.__name__}(...)' to the run"
            ) from error


def _checked_run_id(run_id: object) -> str:
    if not isinstance(run_id, str) or not run_id.strip():
        raise ConfigurationError("a run's id is text that is not empty")
    return run_id


def new_run_id() -> str:
    """An id for a run: the time in milliseconds and 48 random bits, in hexadecimal, so that later ids sort later."""
    return f"{int(time() * 1000):012x}{os.urandom(6).hex()}"


def _empty_context() -> type[PipelineContext]:
    from flujo_core.model.context import PipelineContext  # noqa: PLC0415 - dear to import

    return PipelineContext


def _bound(node: Node[Any, Any], host: Host) -> Node[Any, Any]:
    """``node`` with registered agents in the places of their names; edges are checked again, as types are known now."""
    if isinstance(node, Pipeline):
        return replace(node, nodes=tuple(_bound(part, host) for part in node.nodes))
    if isinstance(node, Step) and isinstance(node.action, AgentAction) and isinstance(node.action.agent, str):
        return with_agent(node, host.agents.get(node.action.agent))
    return node


def _check_surroundings(
    address: str, step: Step[Any, Any], context: type[PipelineContext], resources: Resources | None
) -> None:
    for signature in step.signatures:
        if signature.context is not None and not issubclass(context, signature.context):
            raise DefinitionError(
                f"step '{address}' takes a context of type '{type_name(signature.context)}', and the run's is"
                f" '{context.__name__}'; give 'Flujo(..., context={type_name(signature.context)})'"
            )
        if signature.resources is not None and not isinstance(resources, signature.resources):
            raise DefinitionError(
                f"step '{address}' takes resources of type '{type_name(signature.resources)}', and Flujo was given"
                f" {type(resources).__name__!r}; give 'Flujo(..., resources={type_name(signature.resources)}(...))'"
            )
