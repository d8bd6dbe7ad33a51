"""PluginHarness: runs pipelines with exactly the plugins that it is given."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, TypedDict, TypeVar

from typing_extensions import Unpack

from flujo_core.config import PluginSettings, Policy, Settings
from flujo_core.flujo import Flujo
from flujo_core.hooks.host import Host
from flujo_core.hooks.spec import Plugin
from flujo_core.model.context import PipelineContext
from flujo_core.model.event import RunStatus
from flujo_core.model.flow import Node
from flujo_core.model.result import PipelineResult, RunFailed, RunRefused
from flujo_core.model.signature import Resources
from flujo_core.store.protocol import Store
from flujo_core.testing.recorder import HookCall, recorded

I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741


class RunOptions(TypedDict, total=False):
    """What may be said of one run.

    Attributes:
        context: The context to begin with, of whatever class.
        run_id: The run's id.
        tenant: Whose run it is.
    """

    context: PipelineContext
    run_id: str
    tenant: str


class PluginHarness:
    """Runs pipelines with exactly these plugins: no installed ones, no configuration file, no environment.

    Each run has a ``Flujo`` of its own, so plugins are started up before it and shut down after it. What each hook was
    given, and what it gave, is in ``calls``.

    Args:
        plugins: The plugins, in any order.
        policies: What an error in a plugin means, by the plugin's name: ``closed``, unless it is ``open``.
        hook_timeout: How long one call of one plugin may take, in seconds.
        order: Names of plugins that are called first, in this order.
        resources: What steps get as their resources.
        store: Where runs are journaled: a store, or its URL. None: nowhere.

    Attributes:
        calls: Each call of an async hook of one of the plugins, in order, over all runs; ``calls.clear()`` forgets.

    Raises:
        PluginLoadError: One of the plugins cannot be loaded.
    """

    def __init__(
        self,
        *plugins: Plugin,
        policies: Mapping[str, Policy] | None = None,
        hook_timeout: float = 5.0,
        order: Sequence[str] = (),
        resources: Resources | None = None,
        store: str | Store | None = None,
    ) -> None:
        settings = PluginSettings(allow=(), policies=policies or {}, hook_timeout=hook_timeout, order=tuple(order))
        Host(settings, plugins)  # says what is wrong with them, before anything stands in for them
        self.calls: list[HookCall] = []
        self._plugins = [recorded(plugin, self.calls) for plugin in plugins]
        self._settings = Settings(settings)
        self._resources = resources
        self._store = store

    def calls_of(self, hook: str, plugin: str | None = None) -> list[HookCall]:
        """The calls of one hook.

        Args:
            hook: Its name: ``pre_step_execution``.
            plugin: The name of the plugin; of all, unless given.
        """
        return [call for call in self.calls if call.hook == hook and plugin in (None, call.plugin)]

    def flujo(self, pipeline: Node[I, O], *, context: type[PipelineContext] = PipelineContext) -> Flujo[I, O, Any]:
        """A ``Flujo`` with these plugins, for what ``run`` cannot do: streams, several runs, ``change_plugins``.

        Args:
            pipeline: What it runs.
            context: The class of the context.
        """
        return Flujo(
            pipeline,
            context=context,
            resources=self._resources,
            store=self._store,
            plugins=self._plugins,
            settings=self._settings,
        )

    async def run_async(
        self, pipeline: Node[I, O], input: I, /, **options: Unpack[RunOptions]
    ) -> PipelineResult[O, Any]:
        """Runs a pipeline, or a single step, once.

        Args:
            pipeline: What to run.
            input: Its input.
            options: ``context``, ``run_id``, ``tenant``.

        Returns:
            The result of a run that completed or was stopped.

        Raises:
            RunFailed: The run failed; ``failed`` expects that.
            RunRefused: A plugin refused it; ``refused`` expects that.
            PluginError: A plugin did not start up, or not shut down.
        """
        context = options.get("context") or PipelineContext()
        async with self.flujo(pipeline, context=type(context)) as flujo:
            result: PipelineResult[O, Any] = await flujo.run_async(input, **options)
            return result

    def run(self, pipeline: Node[I, O], input: I, /, **options: Unpack[RunOptions]) -> PipelineResult[O, Any]:
        """As ``run_async``, for tests that are not async."""
        return asyncio.run(self.run_async(pipeline, input, **options))

    async def failed_async(self, pipeline: Node[I, Any], input: I, /, **options: Unpack[RunOptions]) -> RunFailed:
        """Runs a pipeline that is to fail by itself.

        Returns:
            The error: ``.result`` is what the run came to, ``__cause__`` what ended it.

        Raises:
            AssertionError: The run ended in another way; a refusal is another way.
        """
        return await self._ended("failed", self.run_async(pipeline, input, **options))

    def failed(self, pipeline: Node[I, Any], input: I, /, **options: Unpack[RunOptions]) -> RunFailed:
        """As ``failed_async``, for tests that are not async."""
        return asyncio.run(self.failed_async(pipeline, input, **options))

    async def refused_async(self, pipeline: Node[I, Any], input: I, /, **options: Unpack[RunOptions]) -> RunRefused:
        """Runs a pipeline that a plugin is to refuse.

        Returns:
            The refusal: ``.result`` is what the run came to, ``__cause__`` the ``Veto`` or the ``PluginError``.

        Raises:
            AssertionError: The run ended in another way.
        """
        refused = await self._ended("refused", self.run_async(pipeline, input, **options))
        assert isinstance(refused, RunRefused)
        return refused

    def refused(self, pipeline: Node[I, Any], input: I, /, **options: Unpack[RunOptions]) -> RunRefused:
        """As ``refused_async``, for tests that are not async."""
        return asyncio.run(self.refused_async(pipeline, input, **options))

    async def _ended(self, status: RunStatus, run: Awaitable[PipelineResult[Any, Any]]) -> RunFailed:
        """The error of a run that ended with that status."""
        try:
            result = await run
        except RunFailed as error:
            if error.result.status == status:
                return error
            raise AssertionError(f"the run was to end as '{status}', and {error}") from error
        raise AssertionError(f"the run was to end as '{status}', and ended as '{result.status}'")
