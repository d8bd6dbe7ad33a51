"""Flujo: runs a pipeline."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from time import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, overload

from pydantic import ValidationError
from typing_extensions import TypeVar

from flujo_core.builtin import Builtin
from flujo_core.config import Settings, load_settings
from flujo_core.engine.backends import Backends
from flujo_core.engine.bind import Bound, bound, capable
from flujo_core.engine.compile import BackendOf, Prepare, compiled
from flujo_core.engine.epoch import Epoch, Site, Sites
from flujo_core.engine.journal import Durability, Journal
from flujo_core.engine.lease import first_lease
from flujo_core.engine.pending import pending, recoverable
from flujo_core.engine.portable import SealKey, check_seal, has_key, stored
from flujo_core.engine.program import Beginning, Program, Recovery
from flujo_core.engine.resume import Answer, Resumption
from flujo_core.engine.run import execute
from flujo_core.engine.stream import CAPACITY, Events, RunStream, streamed
from flujo_core.errors import (
    ConfigurationError,
    DefinitionError,
    FlujoError,
    IncompatiblePipeline,
    PluginError,
    RunBusy,
    RunExists,
    did_you_mean,
)
from flujo_core.hooks.callback import OnPipelineEnd, OnPipelineStart, PostStepExecution, PreStepExecution, callbacks
from flujo_core.hooks.host import Host
from flujo_core.hooks.spec import Plugin
from flujo_core.log import warning
from flujo_core.model.compatibility import Comparison
from flujo_core.model.event import RunEvent
from flujo_core.model.flow import Node
from flujo_core.model.outcome import Veto
from flujo_core.model.question import Question
from flujo_core.model.result import PipelineResult, RunFailed
from flujo_core.model.signature import Resources
from flujo_core.model.step import Step
from flujo_core.model.surroundings import check_surroundings
from flujo_core.model.tool import Runs
from flujo_core.model.value import flaws
from flujo_core.model.wiring import wire
from flujo_core.store.byte_codec import Codec, Codecs
from flujo_core.store.cache import CacheStore, MemoryCache
from flujo_core.store.coded import CodedCache
from flujo_core.store.coding import coded
from flujo_core.store.memory import MemoryStore
from flujo_core.store.protocol import Store

if TYPE_CHECKING:
    from datetime import timedelta

    from pydantic_ai import Tool

    from flujo_core.agents.tool import ToolOptions
    from flujo_core.agents.ui import UIProtocol
    from flujo_core.engine.design import Design
    from flujo_core.engine.enclosure import Flows
    from flujo_core.engine.ledger import Metering
    from flujo_core.engine.profile import Deployment, Lack
    from flujo_core.model.budget import Budget, Price
    from flujo_core.model.context import PipelineContext
    from flujo_core.model.diff import RunDiff
    from flujo_core.model.leak import Leak
    from flujo_core.model.state import PipelineState

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)
Ctx = TypeVar("Ctx", bound="PipelineContext", default="PipelineContext", covariant=True)
I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741
X = TypeVar("X", bound="PipelineContext")
T = TypeVar("T")


class Flujo(Generic[In, Out, Ctx]):
    """Runs a pipeline, as often as you like, side by side if you like.

    Use it as an async context manager, or as it is: then it opens what it needs when it needs it.

    Args:
        pipeline: What to run: a pipeline, or a single step.
        context: The class of the state that the steps of a run share.
        resources: What steps that declare a ``Resources`` parameter get: clients, pools.
        store: Where runs are journaled: ``"sqlite:///runs.db"``, ``"memory://"``, or a store. None: nowhere, and
            nothing is serialised.
        durability: When an event is durable, unless a run says otherwise: ``"step"``, before anything that depends on
            it begins, so that a kill repeats no committed step; ``"batch"``, soon; ``"exit"``, when the run pauses or
            ends.
        seal_key: What ``PipelineState`` is sealed with, and must be sealed with to be resumed from: bytes, or a
            function that gives them. None: ``FLUJO_SEAL_KEY``, or no seal.
        on_body_change: Whether a run goes on, with a warning in the log, when the body of a step has changed that is
            under way or may run again.
        max_recoveries: How often an attempt of a step may begin without coming to anything, as its process died,
            before the step fails as ``Poisoned``.
        max_mutations: How many changes of its pipeline (``PipelineMutation``) a run may make; more are refused.
        cache: Where the outputs of nodes that have a ``Cache`` are kept; None: in memory, the 1024 that were used last.
        codecs: What values and payloads go through before they are kept, in this order: value codecs, then byte codecs,
            or the names of registered ones, as ``["zstd", AesGcmCodec(...)]``. None: what the configuration says, or
            nothing.
        budgets: What runs, steps and tenants may spend, beside what the configuration says.
        prices: What models cost, by patterns of their names, such as ``acme:*``; before those of the configuration, and
            both before the lists that there are.
        plugins: Plugins beside the installed ones.
        on_pipeline_start: Called as the hook of that name is; so are the next three.
        pre_step_execution: See ``Plugin.pre_step_execution``.
        post_step_execution: See ``Plugin.post_step_execution``.
        on_pipeline_end: See ``Plugin.on_pipeline_end``.
        settings: The configuration; None: what the nearest configuration file and the environment say.

    Raises:
        DefinitionError: The pipeline cannot be right; of a regulated deployment ``LabelLeak``, too: labelled data would
            leave it.
        ConfigurationError: The configuration cannot be, a plugin cannot be loaded, or the store's URL names none; or
            ``ProfileUnmet``: the deployment lacks what its profile asks for.
    """

    @overload
    def __init__(
        self: Flujo[I, O, X],
        pipeline: Node[I, O],
        *,
        context: type[X],
        resources: Resources | None = ...,
        store: str | Store | None = ...,
        durability: Durability = ...,
        seal_key: SealKey | None = ...,
        on_body_change: Literal["warn", "refuse"] = ...,
        max_recoveries: int = ...,
        max_mutations: int = ...,
        cache: CacheStore | None = ...,
        codecs: Sequence[Codec | str] | None = ...,
        budgets: Sequence[Budget] = ...,
        prices: Mapping[str, Price] | None = ...,
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
        durability: Durability = ...,
        seal_key: SealKey | None = ...,
        on_body_change: Literal["warn", "refuse"] = ...,
        max_recoveries: int = ...,
        max_mutations: int = ...,
        cache: CacheStore | None = ...,
        codecs: Sequence[Codec | str] | None = ...,
        budgets: Sequence[Budget] = ...,
        prices: Mapping[str, Price] | None = ...,
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
        durability: Durability = "step",
        seal_key: SealKey | None = None,
        on_body_change: Literal["warn", "refuse"] = "warn",
        max_recoveries: int = 3,
        max_mutations: int = 16,
        cache: CacheStore | None = None,
        codecs: Sequence[Codec | str] | None = None,
        budgets: Sequence[Budget] = (),
        prices: Mapping[str, Price] | None = None,
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
        self._given = pipeline
        self._context_type = context or _empty_context()
        self._resources = resources
        self._is_durable = store is not None
        self._durability: Durability = durability
        self._seal_key = seal_key
        self._settings = settings or load_settings()
        strict = self._settings.is_regulated
        self._recovery = Recovery(on_body_change == "refuse" or strict, max_recoveries, refuses_unverified=strict)
        self._max_mutations = max_mutations
        self._codec_names = self._settings.codecs if codecs is None else codecs
        self._given_cache = cache
        self._budgets = (*self._settings.budgets, *budgets)
        given = prices or {}
        self._prices = {**given, **self._settings.prices, **given}  # the first pattern that fits counts
        calls = callbacks(on_pipeline_start, pre_step_execution, post_step_execution, on_pipeline_end)
        self._plugins: tuple[Plugin, ...] = (*plugins, *calls)
        self._backends = Backends()
        self._store_given = store
        self._epoch = self._with(self._plugins)
        self._sites = Sites()
        self._owns_store = isinstance(store, str)

    def _with(self, plugins: Sequence[Plugin], last: Host | None = None) -> Epoch:
        """All that is worked out before a run, with these plugins beside the installed ones."""
        host = Host(self._settings.plugins, plugins, kernel=Builtin(), last=last)
        if last is None:
            self._codecs = host.codecs_of(self._codec_names)
            self._cache = _coded_cache(self._given_cache, self._codecs)
            kept = host.open_store(self._store_given) if isinstance(self._store_given, str) else self._store_given
            self._store = None if kept is None else coded(kept, self._codecs)
            self._metering = _metering(self._budgets, self._prices, self._store)
        pipeline, wiring = made = bound(self._given, host)
        self._check_profile(made, host)
        check_surroundings(pipeline, self._context_type, self._resources, durable=self._is_durable)
        backends = self._backends.of(host)

        def prepare(step: Step[Any, Any], address: str) -> Step[Any, Any]:
            return capable(step, address, host)

        parts = compiled(pipeline, wiring, prepare, backends)
        program = Program(
            pipeline,
            parts,
            host.hooks,
            context_type=self._context_type,
            resources=self._resources,
            models=host,
            cache=self._cache,
            takes=wiring.takes(pipeline),
            keeps_input="" in wiring.inputs,
            beginning=Beginning(pipeline, self._given, host.required),
            recovery=self._recovery,
            codecs=self._codecs,
            design=lambda: self._design(made, host, prepare, backends),
            metering=self._metering,
        )
        return Epoch(program, host, self._settings)

    def _check_profile(self, made: Bound, host: Host) -> None:
        """Checks the deployment, if its profile asks for something.

        Raises:
            ProfileUnmet: It lacks something.
            LabelLeak: Labelled data would leave it.
        """
        if self._settings.is_regulated:
            from flujo_core.engine.profile import check_profile  # noqa: PLC0415 - few deployments are regulated

            check_profile(self._deployment(made.node, host))
            self._flows(made, host).check()

    def _deployment(self, pipeline: Node[Any, Any], host: Host) -> Deployment:
        """What a profile looks at."""
        from flujo_core.engine.profile import Deployment  # noqa: PLC0415 - few deployments are regulated

        sealed = has_key(self._seal_key)
        return Deployment(self._settings, host, pipeline, self._codecs, self._is_durable, sealed, self._budgets)

    def _flows(self, made: Bound, host: Host) -> Flows:
        """The flow of labels in a pipeline."""
        from flujo_core.engine.enclosure import Flows  # noqa: PLC0415 - dear to import

        regulated = self._settings.is_regulated
        return Flows(made.node, made.wiring, self._context_type, host, refuses=regulated)

    def _design(self, made: Bound, host: Host, prepare: Prepare, backends: BackendOf) -> Design:
        """What a pipeline is made of."""
        from flujo_core.engine.design import Design, Given  # noqa: PLC0415 - few pipelines are changed by their runs

        return Design(
            made.node,
            self._given,
            made.wiring,
            host=host,
            prepare=prepare,
            backend_of=backends,
            given=Given(self._context_type, self._resources, self._is_durable, self._flows(made, host)),
            most=self._max_mutations,
        )

    @property
    def pipeline(self) -> Node[In, Out]:
        """The pipeline, with registered steps and agents in the places of their names."""
        return self._epoch.program.pipeline

    @property
    def takes(self) -> Any:
        """The type of a run's input: what the pipeline takes, or, where it ignores its input, steps take by name."""
        return self._epoch.program.takes

    @property
    def plugins(self) -> tuple[str, ...]:
        """The names of the plugins that take part, in order."""
        return tuple(self._epoch.host.plugins)

    @property
    def leaks(self) -> tuple[Leak, ...]:
        """Where labelled data would leave the boundary; worked out when it is asked for."""
        program = self._epoch.program
        wiring = wire(program.pipeline)
        return self._flows(Bound(program.pipeline, wiring), self._epoch.host).leaks

    @property
    def lacks(self) -> tuple[Lack, ...]:
        """What this deployment lacks to be a regulated one, apart from leaks; worked out when it is asked for."""
        from flujo_core.engine.profile import lacks_of  # noqa: PLC0415 - few deployments are regulated

        return lacks_of(self._deployment(self.pipeline, self._epoch.host))

    @property
    def withheld_by(self) -> tuple[str, ...]:
        """The names of the plugins for which the pieces of a stream wait until their hooks have seen the whole."""
        return tuple(self._epoch.program.hooks.withheld_by)

    async def change_plugins(self, *, add: Sequence[Plugin] = (), remove: Sequence[str] = ()) -> None:
        """Makes a new set of plugins for the runs that begin from now on; runs that go on keep theirs.

        Args:
            add: Plugins to add; they are started first.
            remove: Names of plugins that were given to this ``Flujo``, to take out; they are shut down when no run has
                them any more.

        Raises:
            ConfigurationError: There is no plugin of a name that is to be removed.
            PluginLoadError: One that is to be added cannot be loaded; nothing has changed.
            PluginError: One that is to be added does not start; nothing has changed.
        """
        site = self._sites.here
        async with site.changing:
            known = {plugin.name for plugin in self._plugins}
            for name in remove:
                if name not in known:
                    raise ConfigurationError(f"no plugin '{name}' was given to this Flujo{did_you_mean(name, known)}")
            plugins = (*(plugin for plugin in self._plugins if plugin.name not in remove), *add)
            epoch = self._with(plugins, self._epoch.host)
            await site.open(epoch)
            self._plugins, self._epoch = plugins, epoch
            await site.close(keep=epoch)

    async def __aenter__(self) -> Self:
        await self._sites.here.enter(self._epoch)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        last = True
        try:
            last = await self._sites.here.exit()
        except (PluginError, Veto) as failure:
            if error is None:
                raise
            error.add_note(str(failure))
        finally:
            if last:
                await self._backends.aclose()
            if last and self._owns_store and self._store is not None:
                await self._store.close()

    @overload
    def run(
        self: Flujo[None, O, X],
        /,
        *,
        run_id: str | None = ...,
        tenant: str | None = ...,
        subject: str | None = ...,
        context: X | None = ...,
        durability: Durability | None = ...,
    ) -> PipelineResult[O, X]: ...
    @overload
    def run(
        self,
        input: In,
        /,
        *,
        run_id: str | None = ...,
        tenant: str | None = ...,
        subject: str | None = ...,
        context: PipelineContext | None = ...,
        durability: Durability | None = ...,
    ) -> PipelineResult[Out, Ctx]: ...
    def run(self, input: Any = None, /, **keywords: Any) -> Any:
        """As ``run_async``, for code that is not async. It opens and closes what it needs.

        Raises:
            FlujoError: There is a running event loop, which this would block.
        """
        _check_no_loop("run", "run_async")
        return asyncio.run(self._alone(lambda: self.run_async(input, **keywords)))

    @overload
    async def run_async(
        self: Flujo[None, O, X],
        /,
        *,
        run_id: str | None = ...,
        tenant: str | None = ...,
        subject: str | None = ...,
        context: X | None = ...,
        durability: Durability | None = ...,
    ) -> PipelineResult[O, X]: ...
    @overload
    async def run_async(
        self,
        input: In,
        /,
        *,
        run_id: str | None = ...,
        tenant: str | None = ...,
        subject: str | None = ...,
        context: PipelineContext | None = ...,
        durability: Durability | None = ...,
    ) -> PipelineResult[Out, Ctx]: ...
    async def run_async(
        self,
        input: Any = None,
        /,
        *,
        run_id: str | None = None,
        tenant: str | None = None,
        subject: str | None = None,
        context: PipelineContext | None = None,
        durability: Durability | None = None,
    ) -> Any:
        """Runs the pipeline once, to its end, or until it waits for people.

        With the id of a run that is in the store, it goes on with that one, as ``resume_async`` without an answer does:
        one that waits, or has ended, gives what it has come to.

        Args:
            input: The pipeline's input.
            run_id: The run's id; made up, unless given.
            tenant: Whose run it is.
            subject: Whom its data is about, for ``erase_async``; the journal keeps a digest of it.
            context: The context to begin with; one with its defaults, unless given.
            durability: When an event is durable; as the ``Flujo`` says, unless given.

        Returns:
            The result of a run that completed, was stopped, or is paused.

        Raises:
            InvalidValue: The input does not fit the pipeline; there was no run.
            RunFailed: The run failed; ``.result`` has what it came to.
            RunRefused: A plugin refused it.
            RunCancelled: Somebody cancelled it.
            PluginError: A plugin did not start up; there was no run.
            RunExists: The store has a run of that id, with another input or of another tenant.
            RunBusy: Somebody else goes on with that run.
            IncompatiblePipeline: That run cannot go on with this pipeline.
            StoreError: The journal could not be kept.
        """
        journal = self._journal(run_id, tenant, subject, None, durability)
        if run_id is None or self._store is None:
            return await self._execution(journal, input, self._context(context))
        return await self._run_or_go_on(journal, input, self._context(context))

    @overload
    def stream(
        self: Flujo[None, O, X],
        /,
        *,
        run_id: str | None = ...,
        tenant: str | None = ...,
        subject: str | None = ...,
        context: X | None = ...,
        durability: Durability | None = ...,
    ) -> AbstractAsyncContextManager[RunStream[O, X]]: ...
    @overload
    def stream(
        self,
        input: In,
        /,
        *,
        run_id: str | None = ...,
        tenant: str | None = ...,
        subject: str | None = ...,
        context: PipelineContext | None = ...,
        durability: Durability | None = ...,
    ) -> AbstractAsyncContextManager[RunStream[Out, Ctx]]: ...
    def stream(
        self,
        input: Any = None,
        /,
        *,
        run_id: str | None = None,
        tenant: str | None = None,
        subject: str | None = None,
        context: PipelineContext | None = None,
        durability: Durability | None = None,
    ) -> AbstractAsyncContextManager[RunStream[Any, Any]]:
        """Runs the pipeline once, and gives its events as they happen: ``async with flujo.stream(x) as run``.

        Arguments are those of ``run_async``. Iterate over ``run``; then ``run.result`` has the result. A consumer that
        is slow makes the run wait; one that leaves the block early cancels it.
        """
        events: Events = asyncio.Queue(CAPACITY)
        journal, begin = self._journal(run_id, tenant, subject, events, durability), self._context(context)
        if run_id is None or self._store is None:
            return streamed(events, lambda: self._execution(journal, input, begin))
        return streamed(events, lambda: self._run_or_go_on(journal, input, begin))

    def stream_sse(
        self,
        input: Any = None,
        /,
        *,
        protocol: UIProtocol = "ag-ui",
        thread_id: str | None = None,
        run_id: str | None = None,
        tenant: str | None = None,
        subject: str | None = None,
        context: PipelineContext | None = None,
        durability: Durability | None = None,
    ) -> AsyncIterator[str]:
        """Runs the pipeline once, and gives it as server-sent events for a front end of AG-UI or of the Vercel AI SDK.

        What steps stream is told as text, but for that of steps whose pieces go into another; an output that is no text
        as a custom event ``flujo-output``; open questions as one called ``flujo-paused``. A client that goes away
        cancels the run.

        Args:
            input: The input.
            protocol: ``"ag-ui"`` (needs the extra of that name) or ``"vercel"`` (whose clients want the header
                ``x-vercel-ai-ui-message-stream: v1``).
            thread_id: AG-UI's name of the conversation; the run's id, unless given.
            run_id: As of ``run_async``; so are the others.
            tenant: Whose run it is.
            subject: Whom its data is about.
            context: The context to begin with.
            durability: When events are durable.

        Raises:
            ConfigurationError: There is no such protocol, or its package is missing; raised at once.
        """
        from flujo_core.agents.ui import Texts, encoded, encoder, shown_of  # noqa: PLC0415 - imports pydantic_ai

        known = new_run_id() if run_id is None else _checked_run_id(run_id)
        writer, texts = encoder(protocol, known, thread_id), Texts(shown_of(self.pipeline))
        stream = self.stream(
            input, run_id=known, tenant=tenant, subject=subject, context=context, durability=durability
        )
        return encoded(stream, writer, texts)

    async def resume_async(
        self,
        run: str | PipelineState,
        human_input: object = None,
        /,
        *,
        token: str | None = None,
        approver: str | None = None,
        retry_failed: bool = False,
    ) -> PipelineResult[Out, Ctx]:
        """Goes on with a run: with an answer to what it waits for; or, without one, with a run that has crashed.

        Args:
            run: The run's id; or the ``state`` of its result, where there is no store.
            human_input: The answer; an instance of what was asked for, or the plain data of one. None: no answer,
                unless there is a token.
            token: Which question it answers; needed where several are open.
            approver: Who answers.
            retry_failed: Whether a run that has failed is tried again, from what failed.

        Returns:
            The result of a run that completed, was stopped, or is paused. Its status is ``running`` if somebody else
            goes on with it, who will take the answer in.

        Raises:
            AlreadyAnswered: Somebody was faster.
            AmbiguousAnswer: Several questions are open, and there is no token.
            UnknownQuestion: No such question is open.
            NotAnApprover: The question names who may answer it.
            QuestionExpired: Its time is over.
            InvalidValue: The answer does not fit.
            IncompatiblePipeline: The run cannot go on with this pipeline; the answer was not taken.
            RunBusy: Somebody else goes on with it, and there was no answer.
            UnknownRun: There is no such run.
            StaleState: The store has more of the run than the state.
            SealBroken: The state's seal is missing or wrong.
            RunFailed: The run failed, was refused or cancelled: now, or before.
            ConfigurationError: There is no store, and no state.
        """
        answer = None if human_input is None and token is None else Answer(human_input, token, approver)
        store = await self._store_of(run)
        run_id = run if isinstance(run, str) else run.run_id
        return await self._resumed(store, run_id, lambda one: one.go_on(answer, retry_failed=retry_failed))

    def resume(
        self, run: str | PipelineState, human_input: object = None, /, **keywords: Any
    ) -> PipelineResult[Out, Ctx]:
        """As ``resume_async``, for code that is not async. It opens and closes what it needs.

        Raises:
            FlujoError: There is a running event loop, which this would block.
        """
        _check_no_loop("resume", "resume_async")
        return asyncio.run(self._alone(lambda: self.resume_async(run, human_input, **keywords)))

    def as_tool(
        self,
        *,
        name: str,
        description: str,
        requires_approval: bool = False,
        egress: bool | str = False,
        sequential: bool = False,
    ) -> Tool[Any]:
        """The pipeline as a tool of a pydantic-ai agent: ``Agent(..., tools=[refunds.as_tool(name="refund", ...)])``.

        A call of it is a run of this ``Flujo``: with its context, resources, plugins and store. Where a step asks the
        agent, the run's id follows from the call, so that a call which is repeated after a crash goes on with its run,
        and repeats none of the steps that it has committed, if there is a store.

        Args:
            name: What models call it.
            description: What models are told of it.
            requires_approval: Whether a person must approve each call.
            egress: Whether the data leaves for somewhere else, or a label that says where to.
            sequential: Whether no other call of the agent runs beside one of it.

        Raises:
            DefinitionError: Models cannot call it by that name, or a person is asked in the pipeline.
        """
        from flujo_core.agents.pipeline_tool import pipeline_tool  # noqa: PLC0415 - few pipelines are tools

        options: ToolOptions = {
            "name": name,
            "description": description,
            "requires_approval": requires_approval,
            "egress": egress,
            "sequential": sequential,
        }
        runs = Runs(self.pipeline, self._context_type)
        return pipeline_tool(runs, self.takes, self.run_async, options).as_tool()

    async def reissue_async(self, run_id: str, address: str, /) -> Question:
        """Gives a question that is open a new token; the one before is void.

        Args:
            run_id: The run.
            address: The address of what asks.

        Raises:
            UnknownQuestion: No question is open there.
            AlreadyAnswered: It has its answer.
            UnknownRun: There is no such run.
        """
        return await self._resumed(self._kept, run_id, lambda one: one.reissue(address))

    async def pending_async(self, *, tenant: str | None = None, run_id: str | None = None) -> Sequence[Question]:
        """The questions that are open, the oldest first; without their tokens.

        Args:
            tenant: Only this tenant's.
            run_id: Only this run's.
        """
        return await pending(self._kept, tenant, run_id)

    async def cancel_async(self, run_id: str, /) -> PipelineResult[Out, Ctx]:
        """Cancels a run, wherever it goes on.

        Returns:
            What there is of it: its status is ``running`` if somebody else goes on with it, who will cancel it; as it
            ended, if it had.

        Raises:
            UnknownRun: There is no such run.
        """
        return await self._resumed(self._kept, run_id, lambda one: one.cancel())

    async def recover_async(self, *, tenant: str | None = None) -> Sequence[PipelineResult[Out, Ctx]]:
        """Goes on with every run of this pipeline that nobody goes on with and that could: one that has crashed, or
        waits and has mail, or a question whose time is over. What fails does not keep the others from going on.

        Args:
            tenant: Only this tenant's.

        Returns:
            What each has come to.
        """
        return [one async for one in self._recovered(tenant)]

    async def _recovered(self, tenant: str | None) -> AsyncIterator[PipelineResult[Any, Any]]:
        for run_id in await recoverable(self._kept, self._epoch.program.label, tenant):
            try:
                yield await self.resume_async(run_id)
            except RunFailed as failed:
                yield failed.result
            except (RunBusy, IncompatiblePipeline) as error:
                warning("run.not_recovered", run_id=run_id, failure=str(error))

    async def events_async(self, run_id: str, /, *, after: int = 0) -> Sequence[RunEvent]:
        """The events of a run, as its journal has them: for whoever must not miss one.

        Args:
            run_id: The run.
            after: The sequence of the last event that is known; 0: none.

        Raises:
            UnknownRun: There is no such run.
        """
        return await self._resumed(self._kept, run_id, lambda one: one.events(after))

    async def fork_async(
        self, run_id: str, /, *, at: str, keep_answers: bool = False, fork_id: str | None = None
    ) -> PipelineResult[Out, Ctx]:
        """Begins a new run that keeps what another one has done before an address, and goes on with it from there.

        What is kept is all that is not causally after the address: what ran before it, and what ran beside it in other
        branches, failures too. The run that it is forked off stays as it is, whatever it is doing. The new one is of
        the same tenant; its idempotency keys and its tokens are its own.

        Args:
            run_id: The run that it is forked off.
            at: The address of the step or node that runs anew, with all that comes after it: ``"refine[2]/write"``.
            keep_answers: Whether what people have answered before counts in the new run too. If not, whoever has asked
                asks again, and what comes after that runs anew.
            fork_id: The id of the new run; made up, unless given.

        Returns:
            As ``resume_async``.

        Raises:
            UnknownAddress: Nothing has run there.
            UnknownRun: There is no such run.
            RunExists: There is a run of the new id.
            IncompatiblePipeline: The new run could not go on with this pipeline; there is none.
            Veto: A plugin does not let it begin; there is none.
            RunFailed: The new run failed, was refused or cancelled.
            ConfigurationError: There is no store.
        """
        from flujo_core.engine.offshoot import Fork  # noqa: PLC0415 - few programs do that

        store, known = self._kept, new_run_id() if fork_id is None else _checked_run_id(fork_id)
        fork = Fork(known, at, keep_answers)
        await self._resumed(store, run_id, lambda one: one.fork(fork))
        return await self._resumed(store, known, lambda one: one.go_on())

    async def replay_async(self, run_id: str, /) -> PipelineResult[Out, Ctx]:
        """What a run has come to, or where it is, worked out from its journal alone: no step, hook or agent is called.

        Unlike ``resume_async`` it raises nothing for a run that failed, goes on with none that has crashed, and checks
        that what the journal says of the end follows from what it says of the steps.

        Args:
            run_id: The run.

        Raises:
            ReplayMismatch: It does not, or the store's listings say something else than the journal.
            UnknownRun: There is no such run.
            ConfigurationError: There is no store.
        """
        return await self._resumed(self._kept, run_id, lambda one: one.replay())

    async def diff_async(self, run_id: str, other_id: str, /) -> RunDiff:
        """What is different between two runs, step by step, by their addresses.

        Args:
            run_id: One run.
            other_id: The other one.

        Raises:
            UnknownRun: There is no such run.
            ConfigurationError: There is no store.
        """
        from flujo_core.engine.history import folded  # noqa: PLC0415 - few programs do that
        from flujo_core.model.diff import diff  # noqa: PLC0415 - few programs do that

        return diff(await folded(self._kept, run_id), await folded(self._kept, other_id))

    async def delete_async(self, run_id: str, /, *, force: bool = False) -> None:
        """Deletes a run, with its records and its mail; nothing of it stays in the store.

        Args:
            run_id: The run.
            force: Whether it is deleted though it has not ended: it waits, or has crashed.

        Raises:
            RunUnfinished: It has not ended, and ``force`` does not say so.
            RunBusy: Somebody goes on with it; cancel it first.
            UnknownRun: There is no such run.
            ConfigurationError: There is no store.
        """
        from flujo_core.engine.removal import delete  # noqa: PLC0415 - few programs do that

        await delete(self._kept, run_id, force=force)

    async def prune_async(self, older_than: timedelta | None = None, /, *, tenant: str | None = None) -> Sequence[str]:
        """Deletes the runs that ended long ago, whatever pipeline they are of; those that have not ended stay.

        Args:
            older_than: How long ago they ended, at least; None: as ``[retention]`` of the configuration says.
            tenant: Only this tenant's.

        Returns:
            The ids of the runs that were deleted. One that somebody has at the moment is not.

        Raises:
            ConfigurationError: Nothing says how long ago, or it is less than ``retention.at_least``; or there is no
                store.
        """
        from flujo_core.engine.removal import prunable, prune  # noqa: PLC0415 - few programs do that
        from flujo_core.model.retention import ages_of  # noqa: PLC0415

        seconds = None if older_than is None else older_than.total_seconds()
        ages = ages_of(self._settings.retention, seconds)
        return await prune(self._kept, await prunable(self._kept, ages, tenant=tenant))

    async def erase_async(self, subject: str, /, *, tenant: str | None = None) -> Sequence[str]:
        """Deletes every run whose data is about somebody, as ``run_async(subject=...)`` said, ended or not; forks too.

        It reads the first record of each run, and so takes as long as the store is large.

        Args:
            subject: Whom the data is about.
            tenant: Only this tenant's.

        Returns:
            The ids of the runs that were deleted.

        Raises:
            RunBusy: Somebody goes on with one of them; raised after all others are deleted. Cancel it, and erase again.
            CodecError: A codec keeps something of them elsewhere, and cannot forget it; erase again.
            ConfigurationError: There is no store.
        """
        from flujo_core.engine.removal import about, erase, subject_digest  # noqa: PLC0415 - few programs do that

        digest = subject_digest(subject)
        return await erase(self._kept, await about(self._kept, digest, tenant=tenant), digest, tenant=tenant)

    async def compat_async(self, run_id: str, /) -> Comparison:
        """What a run would meet if it went on with this pipeline; nothing is run, nothing written.

        Args:
            run_id: The run.

        Raises:
            UnknownRun: There is no such run.
        """
        return await self._resumed(self._kept, run_id, lambda one: one.would_meet())

    @property
    def _kept(self) -> Store:
        """The store.

        Raises:
            ConfigurationError: There is none.
        """
        if self._store is None:
            raise ConfigurationError("this Flujo has no store; give 'store=', such as 'sqlite:///runs.db'")
        return self._store

    async def _store_of(self, run: str | PipelineState) -> Store:
        """The store that has a run; that of a state alone is in memory."""
        if isinstance(run, str):
            return self._kept
        check_seal(run, self._seal_key, needs_one=self._settings.is_regulated)
        return await stored(run, self._store, self._codecs)

    async def _resumed(self, store: Store, run_id: str, do: Callable[[Resumption], Coroutine[Any, Any, T]]) -> T:
        """Does something with an earlier run, with the plugins that are in force now."""
        epoch, site = self._epoch, self._sites.here

        def open_journal(known: str, tenant: str | None) -> Journal:
            return self._sealing(Journal(known, tenant, store, None, self._durability), store)

        try:
            with site.running(epoch):
                await site.open(epoch)
                return await do(Resumption(epoch.program, store, run_id, open_journal))
        finally:
            await site.leave(self._epoch)

    async def _run_or_go_on(self, journal: Journal, input: Any, context: PipelineContext) -> PipelineResult[Any, Any]:
        """Runs once; or goes on, if the store has a run of that id."""
        store = self._kept
        if await store.run(journal.run_id) is None:
            try:
                return await self._execution(journal, input, context)
            except RunExists:  # somebody has just begun it
                if await store.run(journal.run_id) is None or journal.is_held:
                    raise
        program, data = self._epoch.program, self._epoch.program.input(input)

        def open_journal(known: str, tenant: str | None) -> Journal:
            return self._sealing(Journal(known, tenant, store, journal.listener, journal.durability), store)

        resumption = Resumption(program, store, journal.run_id, open_journal)
        await resumption.check_input(data, journal.tenant)
        return await self._resumed(store, journal.run_id, lambda _: resumption.go_on())

    def _sealing(self, journal: Journal, store: Store | None) -> Journal:
        """A journal whose run can be taken along in a state."""
        journal.portable = self._epoch.take_along(self._seal_key, store is not None and store is self._store)
        return journal

    def _execution(
        self, journal: Journal, input: Any, context: PipelineContext
    ) -> Coroutine[Any, Any, PipelineResult[Any, Any]]:
        """One run, with the plugins that are in force now."""
        epoch, site = self._epoch, self._sites.here
        if not epoch.program.hooks.lifetime and site.is_idle:
            return execute(epoch.program, journal, input, context)
        return self._execute(epoch, site, journal, input, context)

    async def _execute(
        self, epoch: Epoch, site: Site, journal: Journal, input: Any, context: PipelineContext
    ) -> PipelineResult[Any, Any]:
        """Runs once; its plugins are started before, and shut down after the last run that has them."""
        try:
            with site.running(epoch):
                await site.open(epoch)
                return await execute(epoch.program, journal, input, context)
        finally:
            await site.leave(self._epoch)

    async def _alone(
        self, run: Callable[[], Coroutine[Any, Any, PipelineResult[Any, Any]]]
    ) -> PipelineResult[Any, Any]:
        result: PipelineResult[Any, Any] | None = None
        try:
            async with self:
                result = await run()
        except (PluginError, Veto) as failure:
            if result is None:
                raise
            warning("plugin.failure_passed_over", hook="on_shutdown", failure=str(failure))
        return result

    def _journal(
        self,
        run_id: str | None,
        tenant: str | None,
        subject: str | None,
        events: Events | None,
        durability: Durability | None,
    ) -> Journal:
        known = new_run_id() if run_id is None else _checked_run_id(run_id)
        journal = Journal(known, tenant, self._store, events, _checked_durability(durability or self._durability))
        if self._store is not None:
            journal.lease = first_lease(known)
        if subject is not None:
            from flujo_core.engine.removal import subject_digest  # noqa: PLC0415 - few runs have one

            journal.subject = subject_digest(subject)
        return self._sealing(journal, self._store)

    def _context(self, given: PipelineContext | None) -> PipelineContext:
        kind = self._context_type
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
            ) from None


def _metering(budgets: Sequence[Budget], prices: Mapping[str, Price], store: Store | None) -> Metering | None:
    """What the runs of a program may spend; without a store, the ledgers of tenants are in memory."""
    if not budgets:
        return None
    from flujo_core.engine.ledger import metering  # noqa: PLC0415 - few programs have budgets

    return metering(budgets, prices, MemoryStore() if store is None else store)


def _check_no_loop(name: str, twin: str) -> None:
    with suppress(RuntimeError):  # there is none, as there should be
        asyncio.get_running_loop()
        raise FlujoError(f"'{name}' would block the running event loop; write 'await flujo.{twin}(...)'")


def _checked_durability(durability: Durability) -> Durability:
    if durability not in ("step", "batch", "exit"):
        raise ConfigurationError("'durability' is 'step', 'batch' or 'exit'")
    return durability


def _checked_run_id(run_id: object) -> str:
    if not isinstance(run_id, str) or not run_id.strip():
        raise ConfigurationError("a run's id is text that is not empty")
    return run_id


def _coded_cache(given: CacheStore | None, codecs: Codecs | None) -> CacheStore:
    """Where cached outputs are kept; what stays in memory needs no codecs."""
    if given is None:
        return MemoryCache()
    return given if codecs is None else CodedCache(given, codecs)


def new_run_id() -> str:
    """An id for a run: the time in milliseconds and 48 random bits, in hexadecimal, so that later ids sort later."""
    return f"{int(time() * 1000):012x}{os.urandom(6).hex()}"


def _empty_context() -> type[PipelineContext]:
    from flujo_core.model.context import PipelineContext  # noqa: PLC0415 - dear to import

    return PipelineContext
