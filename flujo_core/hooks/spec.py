"""Plugin: every hook that there is, typed, documented and empty. A plugin overrides what it needs."""

from __future__ import annotations

from typing import Any, ClassVar

from pluggy import HookimplMarker, HookspecMarker

from flujo_core.hooks.call import RunEnd, RunStart, StepCall
from flujo_core.hooks.registry import Registry
from flujo_core.model.agent import ModelFactory
from flujo_core.model.outcome import Skip, Stop
from flujo_core.model.run import StepResult

PROJECT = "flujo"

hookspec = HookspecMarker(PROJECT)
hookimpl = HookimplMarker(PROJECT)
"""Marks a plugin's method as called first or last: ``@hookimpl(tryfirst=True)``."""


class Plugin:
    """What a plugin may do: override a hook, and it is called.

    A distribution names its subclasses (or instances, or functions that make one) in the entry point group
    ``flujo.plugins``; ``Flujo(plugins=[...])`` takes instances.

    An error in a hook stops the run with a ``PluginError``; a ``Veto`` refuses it. Plugins are called in the order of
    their names, ``tryfirst`` before and ``trylast`` after the others; ``post_step_execution`` and ``on_pipeline_end``
    in the reverse order, so that what was wrapped first is unwrapped last.

    Attributes:
        name: Unique among the plugins of a process; the first part of the names that it registers.
    """

    name: ClassVar[str]

    @hookspec
    def register_agents(self, registry: Registry[Any], /) -> None:
        """Contributes agents by name: ``registry.add("underwriter", agent)``.

        Called once, while plugins load. ``Step.agent("decide", "acme/underwriter")`` asks one of them.
        """

    @hookspec
    def register_models(self, registry: Registry[ModelFactory], /) -> None:
        """Contributes model name prefixes: ``registry.add("local", factory)`` makes ``"local:NAME"`` a model name.

        Called once, while plugins load. The factory gets what follows the colon and gives a pydantic-ai ``Model``.
        """

    @hookspec
    async def on_pipeline_start(self, run: RunStart, /) -> RunStart | Stop | None:
        """Called before a run begins, and before anything of it is recorded.

        Returns:
            None to leave the run as it is, a changed copy (``run.replace(initial_input=...)``), or Stop.
        """

    @hookspec
    async def pre_step_execution(self, call: StepCall, /) -> StepCall | Stop | Skip[Any] | None:
        """Called before a step's first attempt.

        Returns:
            None to leave the call as it is, a changed copy (``call.replace(step_input=...)``), Skip with the output
            that stands for the step's, or Stop. After a Skip or a Stop no other plugin is asked; the post hooks of all
            plugins follow a Skip.
        """

    @hookspec
    async def post_step_execution(self, call: StepCall, result: StepResult, /) -> StepResult | Stop | None:
        """Called when a step has its output, before that is committed; for a skipped step too.

        Returns:
            None to leave the result as it is, a changed copy (``result.replace(output=...)``), or Stop, which drops
            the step.
        """

    @hookspec
    async def on_pipeline_end(self, run: RunStart, end: RunEnd, /) -> RunEnd | None:
        """Called when a run is about to end, in whatever way, except when it is cancelled.

        Returns:
            None to leave the end as it is, or a changed copy:
            ``end.replace(pipeline_result=end.pipeline_result.replace(output=...))``. The context is there to look at.
        """


REGISTRATIONS = ("register_agents", "register_models")
"""The hooks that contribute; sync, called once, at load."""

LIFECYCLE = ("on_pipeline_start", "pre_step_execution", "post_step_execution", "on_pipeline_end")
"""The hooks that act on runs; async."""

HOOKS = (*REGISTRATIONS, *LIFECYCLE)

NOT_CALLED = ("agent_capabilities", "authorize", "transform_chunk")
"""Hooks of the design that this version does not call. A plugin that counts on one is refused: it would fail open."""
