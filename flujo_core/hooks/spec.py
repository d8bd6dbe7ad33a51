"""Plugin: every hook that there is, typed, documented and empty. A plugin overrides what it needs.

A hook is one method here, marked with its kind, which says who calls it and how. To add one, write its method and
docstring, let the engine (or who else consumes it) call it, and test it: loading, ordering, policies, timeouts and the
reference of the hooks follow from the method.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar

from pluggy import HookimplMarker, HookspecMarker

from flujo_core.agents.tool import FlujoTool
from flujo_core.backend.protocol import BackendFactory
from flujo_core.errors import StepError
from flujo_core.hooks.call import AgentInfo, AppInfo, AuthorizationRequest, Decision, RunEnd, RunStart, StepCall
from flujo_core.hooks.registry import Registry, anything
from flujo_core.model.agent import ModelFactory
from flujo_core.model.event import Chunk, RunEvent
from flujo_core.model.flow import Check
from flujo_core.model.outcome import PauseForHumanInput, Skip, Stop
from flujo_core.model.policy import Validator
from flujo_core.model.run import StepResult
from flujo_core.model.slotted import NamedTuple
from flujo_core.model.step import Step
from flujo_core.store.byte_codec import CodecFactory
from flujo_core.store.protocol import StoreFactory
from flujo_core.store.value_codec import ValueCodec

PROJECT = "flujo"
HOOK_API = "1.0"
"""The version of this specification: a plugin's ``api`` says which ones it is written for."""

HookKind: TypeAlias = Literal["configure", "contribute", "lifetime", "transform", "around", "answer", "notify", "agent"]
"""How a hook is called; ``docs/reference/hooks.md`` says what each means."""

F = TypeVar("F", bound=Callable[..., Any])

hookspec = HookspecMarker(PROJECT)
hookimpl = HookimplMarker(PROJECT)
"""Marks a plugin's method as called first or last: ``@hookimpl(tryfirst=True)``."""


class Hook(NamedTuple):
    """What the host knows of a hook.

    Attributes:
        name: The method's name.
        kind: How it is called.
        mirrored: Whether plugins are called in the reverse order.
        what: For a contribution: what is registered, in the singular ("agent").
        accepts: For a contribution: whether something can be one.
    """

    name: str
    kind: HookKind
    mirrored: bool
    what: str
    accepts: Callable[[object], bool]

    @property
    def is_async(self) -> bool:
        """Whether it is a coroutine function."""
        return self.kind not in ("configure", "contribute", "agent")


_hooks: dict[str, Hook] = {}


def _hook(
    kind: HookKind, *, mirrored: bool = False, what: str = "", accepts: Callable[[object], bool] = callable
) -> Callable[[F], F]:
    def marked(method: F) -> F:
        _hooks[method.__name__] = Hook(method.__name__, kind, mirrored, what, accepts)
        return hookspec(method)

    return marked


class Plugin:
    """What a plugin may do: override a hook, and it is called.

    A distribution names its subclasses (or instances, or functions that make one) in the entry point group
    ``flujo.plugins``; ``Flujo(plugins=[...])`` takes instances.

    An error in a hook stops the run with a ``PluginError``; a ``Veto`` refuses it. Plugins are called in the order that
    the configuration gives, then ``tryfirst`` before and ``trylast`` after the others, then as ``before`` and ``after``
    say, then by name; ``post_step_execution``, ``on_pipeline_end`` and ``on_shutdown`` in the reverse order, so that
    what was wrapped first is unwrapped last.

    Attributes:
        name: Unique among the plugins of a process; the first part of the names that it registers.
        api: The versions of this specification that the plugin is written for.
        before: Names of plugins that it is called before, where they are there.
        after: Names of plugins that it is called after, where they are there.
        clears: Labels that nothing carries any more which a pydantic-ai agent sends to its model, as this plugin's
            capabilities have masked it. ``flujo check`` counts on it while an error in the plugin ends the run.
        inside: Names that it registers, without the plugin's: of models and backends to which labelled data may go, as
            it stays within the boundary.
        assures: What it assures a regulated deployment of: ``"strict-audit"``, that nothing goes on which is not on
            record.
        codecs: Value codecs that what is kept goes through, before those that ``Flujo(codecs=...)`` or the
            configuration lists; one of a name that is listed there stands where it is listed, as what is listed.
        dormant: Whether, while it is only installed, it does no more than ``configure`` and contribute: its other hooks
            are called once the deployment means it, which is when the configuration has ``[plugins.NAME]`` or lists it
            as required, or it was given to ``Flujo``.
    """

    name: ClassVar[str]
    api: ClassVar[str] = ">=1,<2"
    before: ClassVar[Sequence[str]] = ()
    after: ClassVar[Sequence[str]] = ()
    clears: Sequence[str] = ()
    inside: Sequence[str] = ()
    assures: Sequence[str] = ()
    codecs: Sequence[ValueCodec] = ()
    dormant: ClassVar[bool] = False

    @_hook("configure")
    def configure(self, table: Mapping[str, Any], /) -> None:
        """Takes what the configuration says of it: the table ``[plugins.NAME]``, by its distribution's name or its own.

        Called once while plugins load, before it contributes; where there is no table, only if it is dormant and
        required, with an empty one. An error refuses the start, as for all that keeps a plugin from being loaded. A
        plugin that does not override it has nothing to say, and a table refuses the start.
        """

    @_hook("lifetime")
    async def on_startup(self, app: AppInfo, /) -> None:
        """Called once before the first run of a ``Flujo`` on an event loop: the place to open clients.

        A ``Flujo`` that is used with ``async with`` starts up as the block begins. An error means that nothing runs;
        the plugins that were started are shut down.
        """

    @_hook("lifetime", mirrored=True)
    async def on_shutdown(self) -> None:
        """Called once when the ``async with`` block of a ``Flujo`` ends, after its runs: the place to close clients.

        A plugin that was not started is not shut down; each one that was is, whatever the others do.
        """

    @_hook("contribute", what="step", accepts=lambda one: isinstance(one, Step))
    def register_steps(self, registry: Registry[Step[Any, Any]], /) -> None:
        """Contributes steps by name: ``registry.add("mask", mask)``.

        Called while plugins load. ``Step.registered("acme/mask", takes=str, gives=str)`` stands for one of them.
        """

    @_hook("contribute", what="agent", accepts=anything)
    def register_agents(self, registry: Registry[Any], /) -> None:
        """Contributes agents by name: ``registry.add("underwriter", agent)``.

        Called while plugins load. ``Step.agent("decide", "acme/underwriter")`` asks one of them.
        """

    @_hook("contribute", what="model prefix")
    def register_models(self, registry: Registry[ModelFactory], /) -> None:
        """Contributes model name prefixes: ``registry.add("local", factory)`` makes ``"local:NAME"`` a model name.

        Called while plugins load. The factory gets what follows the colon and gives a pydantic-ai ``Model``.
        """

    @_hook("contribute", what="tool", accepts=lambda one: isinstance(one, FlujoTool))
    def register_tools(self, registry: Registry[FlujoTool[Any, Any]], /) -> None:
        """Contributes tools by name: ``registry.add("find_order", find_order)``.

        Called while plugins load. ``AgentBuilder().with_tool("acme/find_order")`` gives an agent one of them, and
        ``Step.registered("acme/find_order", takes=str, gives=Order)`` runs one as a step.
        """

    @_hook("contribute", what="store")
    def register_stores(self, registry: Registry[StoreFactory], /) -> None:
        """Contributes stores by the scheme of their URLs: ``registry.add("redis", factory)`` makes ``redis://...`` one.

        Called while plugins load. The factory gets the whole URL and gives a ``Store``.
        """

    @_hook("contribute", what="backend")
    def register_backends(self, registry: Registry[BackendFactory], /) -> None:
        """Contributes backends by name: ``registry.add("ray", factory)`` makes ``backend="ray"`` one, of a step.

        Called while plugins load. The factory takes nothing and gives a ``Backend``. It is called once for each
        ``Flujo`` that has a step on it, and the backend is closed with that.
        """

    @_hook("contribute", what="codec")
    def register_codecs(self, registry: Registry[CodecFactory], /) -> None:
        """Contributes codecs by name: ``registry.add("kms", factory)`` makes ``codecs = ["kms"]`` one.

        Called while plugins load. The factory takes nothing and gives a ``ByteCodec`` or a ``ValueCodec``. It is called
        once for each ``Flujo`` that names it.
        """

    @_hook("contribute", what="check")
    def register_checks(self, registry: Registry[Check], /) -> None:
        """Contributes checks of pipelines: ``registry.add("eu-only", check)``.

        Called while plugins load. A check gets the pipeline, with registered steps and agents in the places of
        their names, and gives what is wrong with it, a sentence each. ``Flujo(...)`` and ``flujo check`` refuse a
        pipeline with which anything is wrong.
        """

    @_hook("contribute", what="validator")
    def register_validators(self, registry: Registry[Validator], /) -> None:
        """Contributes validators of outputs: ``registry.add("polite", polite)``.

        Called while plugins load. ``validators=["acme/polite"]`` of a step names one: a function of the output and, if
        it has a parameter ``context``, of the context, which gives None, or what is wrong.
        """

    @_hook("contribute", what="command")
    def register_commands(self, registry: Registry[Any], /) -> None:
        """Contributes commands to the command line: ``registry.add("audit", app)`` makes ``flujo audit ...`` one.

        Called while plugins load. The target is a ``typer.Typer`` or a function; name it as ``module:attr``, so
        that it is imported only when the command is used.
        """

    @_hook("answer")
    async def authorize(self, request: AuthorizationRequest, /) -> Decision | None:
        """Called before a run begins and before each step, before any other hook.

        The first plugin whose answer is not None decides. An error, an answer of another kind, or no answer in time
        means no, under any policy.

        Returns:
            ``Decision.allow()``, ``Decision.deny("why")``, or None: the next plugin is asked. If all have given None,
            it is allowed.
        """

    @_hook("transform")
    async def on_pipeline_start(self, run: RunStart, /) -> RunStart | Stop | None:
        """Called before a run begins, and before anything of it is recorded.

        Returns:
            None to leave the run as it is, a changed copy (``run.replace(initial_input=...)``), or Stop.
        """

    @_hook("around")
    async def around_run(self, run: RunStart, proceed: Callable[[], Awaitable[RunEnd]], /) -> RunEnd:
        """Called around the steps of a run, between ``on_pipeline_start`` and ``on_pipeline_end``.

        ``await proceed()`` runs the plugins further in and the steps, and gives how that ended; it raises nothing for
        a run that failed. It is awaited exactly once: a run happens once.

        Returns:
            What ``proceed`` gave, or a changed copy, as from ``on_pipeline_end``.
        """
        return await proceed()

    @_hook("transform")
    async def pre_step_execution(
        self, call: StepCall, /
    ) -> StepCall | Stop | Skip[Any] | PauseForHumanInput[Any] | None:
        """Called before a step's first attempt.

        Returns:
            None to leave the call as it is, a changed copy (``call.replace(step_input=...)``), Skip with the output
            that stands for the step's, or Stop. After a Skip or a Stop no other plugin is asked; the post hooks of all
            plugins follow a Skip.
        """

    @_hook("around")
    async def around_step(self, call: StepCall, proceed: Callable[[], Awaitable[StepResult]], /) -> StepResult:
        """Called around all attempts of a step, between the pre and the post hooks; not for a skipped step.

        ``await proceed()`` runs the plugins further in and the step, and gives its result. It raises ``StepError`` if
        the step failed; awaited again, it tries the step again. ``call.context`` is what the step will see, and
        after ``proceed`` what it left.

        Returns:
            What ``proceed`` gave, a changed copy (``result.replace(output=...)``), or a result without the step having
            run: ``call.result(output)``.

        Raises:
            StepError: What ``proceed`` raised may be raised again.
        """
        return await proceed()

    @_hook("answer")
    async def on_step_error(self, call: StepCall, error: StepError, /) -> StepResult | None:
        """Called when a step has failed for good, before that is recorded.

        The first plugin whose answer is not None decides.

        Returns:
            None to let the step fail, or what stands for its result: ``call.result(output)``.
        """

    @_hook("transform", mirrored=True)
    async def post_step_execution(
        self, call: StepCall, result: StepResult, /
    ) -> StepResult | Stop | PauseForHumanInput[Any] | None:
        """Called when a step has its output, before that is committed; for a skipped step too.

        Returns:
            None to leave the result as it is, a changed copy (``result.replace(output=...)``), or Stop, which drops
            the step.
        """

    @_hook("transform", mirrored=True)
    async def transform_chunk(self, call: StepCall, chunk: Chunk, /) -> Chunk | None:
        """Called with each piece of an output that is on its way, before it leaves its step: the streaming twin of
        ``post_step_execution``.

        A plugin that has ``post_step_execution``, ``on_step_error`` or ``around_step``, and not this, makes pieces wait
        until its hooks have let the whole output pass. One that holds text back (for a name that may be cut in two)
        gives ``chunk.replace(text="")``, and lets it go when the chunk whose ``last`` is true comes: that one is empty,
        and comes when the stream has ended.

        Returns:
            None to leave the chunk as it is, or a changed copy: ``chunk.replace(text=...)``, or of a piece that is no
            text ``chunk.replace(item=...)``.
        """

    @_hook("transform", mirrored=True)
    async def on_pipeline_end(self, run: RunStart, end: RunEnd, /) -> RunEnd | None:
        """Called when a run is about to end, in whatever way, except when it is cancelled.

        Returns:
            None to leave the end as it is, or a changed copy:
            ``end.replace(pipeline_result=end.pipeline_result.replace(output=...))``. The context is there to look at.
        """

    @_hook("notify")
    async def on_event(self, event: RunEvent, /) -> None:
        """Called with each event of a run after it is durable: in order, beside the run, at most once.

        A plugin that is slow makes the run wait once 64 events wait for it. An error refuses the run at its next
        event; one in the last event, when the run has ended, is logged.
        """

    @_hook("agent")
    def agent_capabilities(self, agent: AgentInfo, /) -> Sequence[object]:
        """Contributes pydantic-ai capabilities to an agent of the pipeline.

        Called for each such agent when a ``Flujo`` is made. The capabilities take part in each of the agent's runs,
        after the agent's own; ``RunContext.metadata["flujo"]`` has the run's id, tenant, subject, address and attempt.
        A capability that overrides a method that the installed pydantic-ai does not have is refused: it would not be
        called.
        """
        return ()


HOOKS: Mapping[str, Hook] = _hooks
"""Every hook, by name."""
