"""The interpreter: runs a pipeline from its start to its end, whatever that end is."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from flujo_core.backend.task import uninterrupted
from flujo_core.engine.failure import PASSING, Stopped, told
from flujo_core.engine.frame import Frame, Parts, owned, run_all
from flujo_core.engine.journal import EMPTY, NULL, Journal, now
from flujo_core.errors import InvalidValue, PluginError, StoreError
from flujo_core.hooks.call import AuthorizationRequest, RunEnd, RunStart
from flujo_core.hooks.dispatch import Hooks
from flujo_core.hooks.listen import Listeners
from flujo_core.hooks.onion import AroundRun
from flujo_core.hooks.watchdog import Watch, watchdog
from flujo_core.model.agent import ModelSource
from flujo_core.model.check import type_name
from flujo_core.model.draft import State, draft, state_of
from flujo_core.model.event import RunEnded, RunStarted, RunStatus
from flujo_core.model.flow import Node
from flujo_core.model.outcome import Stop, Veto
from flujo_core.model.run import PipelineResult, RunFailed, RunRefused
from flujo_core.model.signature import Resources
from flujo_core.model.value import adapter, concrete, encoded, flaws, validated
from flujo_core.store.cache import CacheStore

if TYPE_CHECKING:
    from flujo_core.model.context import PipelineContext


class Program:
    """A pipeline, ready to run, with all that its runs have in common.

    Args:
        pipeline: The pipeline.
        parts: Its nodes, ready to run.
        hooks: The plugins' hooks.
        context_type: The class of the context.
        resources: What steps get as their resources.
        models: Where plugins' models are found.
        cache: Where cached outputs are.
        takes: The type of its input.
        keeps_input: Whether a step names the input of the run.

    Attributes:
        label: The pipeline's name.
        gives: The type of its output.
        on_steps: Whether any hook is called at each step.
        on_runs: Whether any hook is called in a run.
    """

    __slots__ = (
        "cache", "context_type", "gives", "hooks", "keeps_input", "label", "models", "on_runs", "on_steps", "parts",
        "pipeline", "resources", "takes", "validate",
    )  # fmt: skip

    def __init__(
        self,
        pipeline: Node[Any, Any],
        parts: Parts,
        hooks: Hooks,
        *,
        context_type: type[PipelineContext],
        resources: Resources | None,
        models: ModelSource,
        cache: CacheStore,
        takes: Any,
        keeps_input: bool = False,
    ) -> None:
        self.pipeline = pipeline
        self.parts = parts
        self.hooks = hooks
        self.context_type = context_type
        self.resources = resources
        self.models = models
        self.cache = cache
        self.keeps_input = keeps_input
        self.label = pipeline.label
        self.takes = concrete(takes)
        self.gives = pipeline.gives
        self.on_steps = hooks.on_steps
        self.on_runs = hooks.on_runs
        self.validate = adapter(self.takes).validator.validate_python

    def input(self, value: Any) -> Any:
        """An input, validated.

        Raises:
            InvalidValue: It does not fit.
        """
        try:
            return self.validate(value)
        except ValidationError as error:
            what = f"the input of pipeline '{self.label}' is not a '{type_name(self.takes)}'"
            raise InvalidValue(f"{what}: {flaws(error, self.takes)}") from error


UNWATCHED = Watch(None, 0)
"""What the watchdog sees of a run that calls no hooks: nothing."""


UNGUARDED = nullcontext()


class LiveRun:
    """One run while it goes on."""

    __slots__ = (
        "bare", "cache", "context_type", "hooked", "hooks", "input", "journal", "models", "pipeline", "resources",
        "start", "state", "streams_text", "threads", "watch", "watched",
    )  # fmt: skip

    def __init__(self, program: Program, journal: Journal, start: RunStart) -> None:
        self.journal = journal
        self.pipeline = program.label
        self.hooks = program.hooks
        self.hooked = program.on_steps
        self.watched = program.on_runs
        self.bare = not journal.live and not self.hooked
        self.streams_text = journal.listener is not None and not program.hooks.withholds_chunks
        self.context_type = program.context_type
        self.resources = program.resources
        self.models = program.models
        self.cache = program.cache
        self.input: Any = None
        self.start = start
        self.state: State = {}
        self.threads: dict[str, asyncio.Future[Any]] = {}
        self.watch = Watch(asyncio.current_task(), program.hooks.timeout) if program.on_runs else UNWATCHED

    def begin(self, start: RunStart) -> None:
        """Takes the start in as the plugins left it; what they see of its context from now on is a copy.

        Where none will see it, it is let go: a thousand runs that wait are a thousand contexts less.
        """
        if self.hooks.around_run is not None or self.hooks.end is not None:
            self.start = start._replace(context=draft(self.context_type, dict(self.state)))
        else:
            del self.start


class Ending(NamedTuple):
    """How a run ends.

    Attributes:
        status: The status that it ends with.
        output: Its output, if it completed.
        reason: Why it was stopped, or None.
        cause: What ended it, if it failed or was refused.
    """

    status: RunStatus
    output: Any = None
    reason: str | None = None
    cause: Exception | None = None


async def execute(program: Program, journal: Journal, value: Any, context: PipelineContext) -> PipelineResult[Any, Any]:
    """Runs ``program`` once.

    Args:
        program: What to run.
        journal: The run's journal, empty.
        value: The input.
        context: The context to begin with.

    Raises:
        InvalidValue: The input does not fit; there is no run.
        RunFailed: The run failed, or was refused; it has the result.
        StoreError: The journal could not be kept; the run's end is not recorded.
    """
    value = program.input(value)
    if program.hooks.listeners:
        journal.listen(Listeners(program.hooks))
    start = RunStart(journal.run_id, journal.tenant, program.label, value, context, False)
    run = LiveRun(program, journal, start)
    del context, start
    try:
        with watchdog().watching(run.watch) if program.on_runs else UNGUARDED:
            try:
                value = await _begin(program, run)
                if program.hooks.around_run is None:
                    frame = root(program, run, value)
                    for part in program.parts:  # and not 'run_all': a coroutine less in every run that waits
                        value = await part.run(frame, value)
                    ending = Ending("completed", value)
                else:
                    ending = await _around(program, run, program.hooks.around_run, value)
            except BaseException as error:
                ending = ended_by(error)
            if program.hooks.end is not None or journal.listeners is not None:
                ending = await _end_hooks(program, run, ending)
        return await _record_end(program, run, ending)
    except asyncio.CancelledError as cancelled:
        await _record_cancellation(program, run, cancelled)
        raise
    finally:
        if journal.listeners is not None:
            await uninterrupted(journal.listeners.close())


def ended_by(error: BaseException) -> Ending:
    """What it means that a run was ended early.

    Raises:
        BaseException: ``error``, if the run has no end that could be told: it was cancelled, or its journal failed.
    """
    if isinstance(error, Stopped):
        return Ending("stopped", reason=error.reason)
    if isinstance(error, PASSING):
        return Ending("refused", cause=error)
    if isinstance(error, StoreError) or not isinstance(error, Exception):
        raise error
    return Ending("failed", cause=error)


def root(program: Program, run: LiveRun, value: Any) -> Frame:
    """The scope of the whole run."""
    if program.keeps_input:
        run.input = owned(value, "the input of the run")
    return Frame(run, "", run.state, run.watch)


async def _around(program: Program, run: LiveRun, around: AroundRun, value: Any) -> Ending:
    """Runs from the start to the end, with the plugins that go around it."""
    within = Ending("completed")

    async def proceed() -> RunEnd:
        nonlocal within
        try:
            within = Ending("completed", await run_all(program.parts, root(program, run, value), value))
        except BaseException as error:
            within = ended_by(error)
        return _end(run, within)

    end = await around(run.watch, run.start, proceed)
    return _replaced(program, within, end, "around_run")


async def _begin(program: Program, run: LiveRun) -> Any:
    """Records the start, as the plugins leave it; of a run that they do not let begin, without its input.

    Returns:
        The input, as it comes back from the journal.
    """
    start = run.start
    try:
        if program.hooks.authorize is not None:
            request = AuthorizationRequest("start_run", start.run_id, start.tenant, start.pipeline, "", None)
            await program.hooks.authorize(run.watch, request)
        if program.hooks.start is not None:
            start = await _start_hooks(program, run, start)
        if run.journal.store is None:
            run.state = state_of(start.context)
            _stage_start(run, start.pipeline, start.initial_input, run.state, NULL, EMPTY)
            run.begin(start)
            return start.initial_input
        value, restored = encoded(start.initial_input, program.takes, "the input")
        fields, context = encoded(start.context, program.context_type, "the context")
    except BaseException:
        run.state = {name: getattr(start.context, name) for name in program.context_type.model_fields}
        _stage_start(run, start.pipeline, None, run.state, NULL, EMPTY)
        if program.hooks.end is not None:  # what hooks then see is a copy, and not the caller's
            run.start = run.start._replace(context=run.start.context.model_copy(deep=True))
        raise
    run.state = state_of(context)
    _stage_start(run, start.pipeline, start.initial_input, run.state, value, fields)
    run.begin(start._replace(initial_input=restored))
    return restored


async def _start_hooks(program: Program, run: LiveRun, start: RunStart) -> RunStart:
    """What the plugins make of the start, validated again; the context that they see is not the caller's."""
    assert program.hooks.start is not None
    changed = await program.hooks.start(run.watch, start._replace(context=start.context.model_copy(deep=True)))
    if isinstance(changed, Stop):
        raise Stopped(changed)
    kind = program.context_type
    try:
        context = kind.model_validate(dict(changed.context), by_alias=False, by_name=True)
    except ValidationError as error:
        raise InvalidValue(f"'on_pipeline_start' left a context that is not valid: {flaws(error, kind)}") from error
    return start._replace(initial_input=program.input(changed.initial_input), context=context)


def _stage_start(run: LiveRun, pipeline: str, value: Any, state: State, encoded: bytes, fields: bytes) -> None:
    journal = run.journal
    started = RunStarted(journal.run_id, journal.tenant, journal.next(), now(), "", pipeline, value, dict(state))
    journal.stage(started, encoded, fields)


async def _end_hooks(program: Program, run: LiveRun, ending: Ending) -> Ending:
    """What the plugins make of the end; one that fails or refuses makes it a refusal."""
    try:
        await run.journal.settle()
    except (Veto, PluginError) as error:
        ending = _refused(ending, error)
    if program.hooks.end is None:
        return ending
    try:
        end = await program.hooks.end(run.watch, run.start, _end(run, ending))
    except (Veto, PluginError) as error:
        return _refused(ending, error)
    return _replaced(program, ending, end, "on_pipeline_end")


def _refused(ending: Ending, error: Exception) -> Ending:
    """The refusal of a run that was about to end in another way."""
    if ending.cause is not None:
        error.add_note(f"the run had {ending.status} before that: {told(ending.cause)}")
    return Ending("refused", cause=error)


def _end(run: LiveRun, ending: Ending) -> RunEnd:
    result = _result(run, ending)
    return RunEnd(result, result.context)


def _replaced(program: Program, ending: Ending, end: RunEnd, hook: str) -> Ending:
    """The ending with the output that a hook gave it, validated again; an ending without an output stays."""
    output = end.pipeline_result.end.output
    if ending.status != "completed" or output is ending.output:
        return ending
    try:
        return ending._replace(output=validated(output, program.gives, f"the output of '{hook}'"))
    except InvalidValue as wrong:
        return Ending("failed", cause=wrong)


def _result(run: LiveRun, ending: Ending) -> PipelineResult[Any, Any]:
    journal = run.journal
    error = None if ending.cause is None else told(ending.cause)
    end = RunEnded(
        journal.run_id, journal.tenant, journal.sequence + 1, now(), "",
        ending.status, ending.output, ending.reason, error,
    )  # fmt: skip
    return PipelineResult(journal.events, end, [run.context_type, run.state, None])


async def _record_end(program: Program, run: LiveRun, ending: Ending) -> PipelineResult[Any, Any]:
    """Records the end; an output that cannot be recorded makes it a failure.

    Returns:
        The result of a run that completed, was stopped or was cancelled.

    Raises:
        RunFailed: The run failed, or was refused.
    """
    journal = run.journal
    value = NULL
    if journal.store is not None and ending.status == "completed":
        try:
            value, _ = encoded(ending.output, program.gives, "the output of the run")
        except InvalidValue as error:
            ending = Ending("failed", cause=error)
    result = _result(run, ending)
    journal.next()
    journal.stage(result.end, value)
    if journal.live:
        await journal.flush()
    if ending.cause is None:
        return result
    kind = RunRefused if ending.status == "refused" else RunFailed
    raise kind(f"run '{journal.run_id}' {ending.status}: {told(ending.cause)}", result) from ending.cause


async def _record_cancellation(program: Program, run: LiveRun, cancelled: asyncio.CancelledError) -> None:
    """Records that the run was cancelled, unless it had ended; the stream, if there was one, has gone."""
    journal = run.journal
    journal.listener = None
    try:
        if journal.events and isinstance(journal.events[-1], RunEnded):
            await uninterrupted(journal.flush())
        else:
            await uninterrupted(_record_end(program, run, Ending("cancelled")))
    except StoreError as error:
        cancelled.add_note(f"that the run '{journal.run_id}' was cancelled could not be recorded: {error}")
