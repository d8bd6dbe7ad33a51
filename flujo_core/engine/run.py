"""The interpreter: runs a pipeline from its start to its end, whatever that end is."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import to_json

from flujo_core.backend.task import uninterrupted
from flujo_core.engine.again import failure_again, started_state, value_later
from flujo_core.engine.failure import PASSING, Stopped, told
from flujo_core.engine.frame import Frame, Parts, owned, run_all
from flujo_core.engine.inbox import take_in
from flujo_core.engine.journal import EMPTY, NULL, Journal, now
from flujo_core.engine.later import given
from flujo_core.engine.lease import keeper
from flujo_core.engine.migrations import NO_MIGRATIONS
from flujo_core.engine.past import Edge, Past, value_of
from flujo_core.engine.question import Paused
from flujo_core.engine.story import Story
from flujo_core.engine.survey import Survey
from flujo_core.errors import IncompatiblePipeline, InvalidValue, MailWaiting, PluginError, StoreError
from flujo_core.hooks.call import AuthorizationRequest, RunEnd, RunStart
from flujo_core.hooks.dispatch import Hooks
from flujo_core.hooks.listen import Listeners
from flujo_core.hooks.onion import AroundRun
from flujo_core.hooks.watchdog import Watch, watchdog
from flujo_core.log import warning
from flujo_core.model.agent import ModelSource
from flujo_core.model.check import type_name
from flujo_core.model.draft import Drafting, State, draft, state_of
from flujo_core.model.event import NO_ORIGIN, Origin, RunEnded, RunEvent, RunPaused, RunResumed, RunStarted, RunStatus
from flujo_core.model.flow import Node, everything
from flujo_core.model.outcome import Stop, Veto
from flujo_core.model.rename import pattern_of
from flujo_core.model.result import PipelineResult, RunCancelled, RunFailed, RunRefused
from flujo_core.model.run import fold
from flujo_core.model.signature import Resources
from flujo_core.model.value import adapter, concrete, encoded, flaws, validated
from flujo_core.store.cache import CacheStore
from flujo_core.store.codec import decode
from flujo_core.store.protocol import Record

if TYPE_CHECKING:
    from flujo_core.model.context import PipelineContext


class Beginning:
    """What is kept with each run, made when the first one needs it.

    Args:
        pipeline: The pipeline.
        authored: The same as its author wrote it, with the names of what plugins have registered.
        required: The versions of the plugins that must be there, by the names of their distributions.
    """

    def __init__(self, pipeline: Node[Any, Any], authored: Node[Any, Any], required: Mapping[str, str]) -> None:
        self._pipeline = pipeline
        self._authored = authored
        self._required = required

    @cached_property
    def origin(self) -> Origin:
        """It, as the journal has it."""
        from flujo_core.model.manifest import Manifest  # noqa: PLC0415 - only runs that can be resumed need it

        return Origin(Manifest.of(self._pipeline, self._authored).to_json(), self._required)


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
        beginning: What is kept with a run, to be compared when it is resumed.

    Attributes:
        label: The pipeline's name.
        gives: The type of its output.
        on_steps: Whether any hook is called at each step.
        on_runs: Whether any hook is called in a run.
    """

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
        beginning: Beginning,
    ) -> None:
        self._beginning = beginning
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

    @cached_property
    def nodes(self) -> dict[str, Node[Any, Any]]:
        """Its nodes, by their addresses as ``walk`` gives them."""
        return dict(everything(self.pipeline))

    def node_of(self, address: str) -> Node[Any, Any]:
        """A node, by its address in a run.

        Raises:
            LookupError: There is no such node.
        """
        if address in self.nodes:
            return self.nodes[address]
        for static, node in self.nodes.items():
            if re.fullmatch(pattern_of(static), address):
                return node
        raise LookupError(address)

    def gives_of(self, address: str) -> Any:
        """The output type of a node, by its address in a run.

        Raises:
            LookupError: There is no such node.
        """
        return self.node_of(address).gives

    @property
    def origin(self) -> Origin:
        """What is kept with a run, to be compared when it is resumed."""
        return self._beginning.origin

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
        "bare", "cache", "cancelled", "context_type", "edge", "former", "hooked", "hooks", "input", "journal",
        "migrations", "models", "pipeline", "program", "resources", "start", "state", "streams_text", "threads",
        "watch", "watched",
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
        self.edge: Edge | None = None
        self.former: dict[str, str] = {}
        self.migrations = NO_MIGRATIONS
        self.cancelled = False
        self.program = program
        self.watch = Watch(asyncio.current_task(), program.hooks.timeout) if program.on_runs else UNWATCHED

    def begin(self, start: RunStart) -> None:
        """Takes the start in as the plugins left it; what they see of its context from now on is a copy.

        Where none will see it, it is let go: a thousand runs that wait are a thousand contexts less.
        """
        if self.hooks.around_run is not None or self.hooks.end is not None:
            self.start = start._replace(context=draft(self.context_type, dict(self.state)))
        else:
            del self.start

    async def begin_resumed(self, program: Program, value: Any) -> None:
        """Tells the plugins that the run goes on; what they change in its input or its context is not used.

        Raises:
            Stopped: One stops it.
            Veto: One refuses it.
            PluginError: One failed.
        """
        hooks, context = self.hooks, draft(self.context_type, dict(self.state))
        if hooks.start is None and hooks.around_run is None and hooks.end is None:
            del self.start
            return
        self.start = self.start._replace(initial_input=given(value), context=context)
        if hooks.start is not None:
            changed = await hooks.start(self.watch, self.start)
            if isinstance(changed, Stop):
                raise Stopped(changed)

    def begin_again(self, past: Past, state: State) -> None:
        """Goes back to its start, with its past beside it."""
        self.state = state
        self.edge = Edge(past)
        self.former = {}


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
        RunFailed: The run failed, was refused, or cancelled by somebody; it has the result.
        StoreError: The journal could not be kept; the run's end is not recorded.
    """
    value = program.input(value)
    start = RunStart(journal.run_id, journal.tenant, program.label, value, context, False)
    run = LiveRun(program, journal, start)
    del context, start
    return await brought_to_end(program, run, lambda: _begin(program, run))


async def brought_to_end(
    program: Program, run: LiveRun, begin: Callable[[], Coroutine[Any, Any, Any]]
) -> PipelineResult[Any, Any]:
    """Begins a run, or goes on with one, and goes on until it has ended or waits for people.

    Args:
        program: What to run.
        run: The run.
        begin: Records how it begins, and gives its input.

    Raises:
        RunFailed: The run failed, was refused, or cancelled by somebody; it has the result.
        IncompatiblePipeline: What is recorded of the run does not fit the program.
        StoreError: The journal could not be kept; the run's end is not recorded.
    """
    journal = run.journal
    if program.hooks.listeners:
        journal.listen(Listeners(program.hooks))
    if journal.store is not None:
        keeper().keep(journal)
    try:
        with watchdog().watching(run.watch) if program.on_runs else UNGUARDED:
            try:
                value = await begin()
                ending = await _interpreted(program, run, value)
            except BaseException as error:
                ending = ended_by(error)
            if ending.status == "paused":
                pass
            elif program.hooks.end is not None or journal.listeners is not None:
                ending = await _end_hooks(program, run, ending)
        return await _record_end(program, run, ending)
    except asyncio.CancelledError as cancelled:
        if journal.is_called_off:
            return await _called_off(program, run)
        await _record_cancellation(program, run, cancelled)
        raise
    finally:
        if journal.store is not None:
            await uninterrupted(_let_go(journal))
        if journal.listeners is not None:
            await uninterrupted(journal.listeners.close())


async def _interpreted(program: Program, run: LiveRun, value: Any) -> Ending:
    """Runs from the start to the end, or to where it can only wait; begins again where mail has come meanwhile."""
    while True:
        try:
            if run.cancelled:
                return Ending("cancelled")
            if program.hooks.around_run is not None:
                return await _around(program, run, program.hooks.around_run, value)
            frame = root(program, run, value)
            for part in program.parts:  # and not 'run_all': a coroutine less in every run that waits
                value = await part.run(frame, value)
            if run.edge is not None:
                run.edge.check()
            return Ending("completed", given(value))
        except Paused:
            if run.edge is not None:
                run.edge.check()
            if run.journal.store is None or await _paused(run):
                return Ending("paused")
        value = await go_back(program, run)


async def _paused(run: LiveRun) -> bool:
    """Records that the run waits, and gives its lease back; False if there is mail first, which is taken in then."""
    journal, last = run.journal, run.journal.sequence
    journal.stage(RunPaused(*journal.head("", now())))
    try:
        await journal.flush(release=True)
    except MailWaiting:
        journal.retract(last)
        await take_mail(run)
        return False
    return True


async def take_mail(run: LiveRun) -> None:
    """Takes in what the run's inbox has, and what follows of questions whose time is over."""
    journal, store = run.journal, run.journal.store
    assert store is not None
    await journal.flush(surely=True)
    survey = Survey(await store.read(journal.run_id))
    mail = await store.mail(journal.run_id, after=journal.taken)
    taken = take_in(journal, survey.ballots, mail, await store.time())
    run.cancelled = run.cancelled or taken.cancelled
    await journal.flush(surely=True)


async def go_back(program: Program, run: LiveRun) -> Any:
    """Goes back to the run's start, with all that is recorded as its past; gives its input."""
    journal, store = run.journal, run.journal.store
    assert store is not None
    return past_of(program, run, await store.read(journal.run_id))


def past_of(program: Program, run: LiveRun, records: Sequence[Record]) -> Any:
    """Gives a run its past; gives its input.

    Raises:
        IncompatiblePipeline: Its input, or its context, does not fit the program any more.
    """
    first = records[0]
    state = started_state(first, program.context_type)
    run.begin_again(Past(first.run_id, records), state)
    return value_later(first.run_id, program.label, value_of(first), program.takes)


async def _called_off(program: Program, run: LiveRun) -> PipelineResult[Any, Any]:
    """The end of a run whose lease was taken, or that somebody wants to be cancelled.

    Raises:
        LeaseLost: Somebody else has taken the run over.
        RunCancelled: It was cancelled.
    """
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()
    if run.journal.failure is not None:
        raise run.journal.failure from None
    await take_mail(run)
    run.cancelled = True
    return await _record_end(program, run, Ending("cancelled"))


async def _let_go(journal: Journal) -> None:
    """Gives the lease back of a run that goes on no more here, unless its end has."""
    keeper().let_go(journal)
    if journal.is_held and journal.store is not None:
        try:
            await journal.store.release(journal.lease)
        except StoreError as error:
            warning("lease.not_released", run_id=journal.run_id, failure=str(error))


def ended_by(error: BaseException) -> Ending:
    """What it means that a run was ended early.

    Raises:
        BaseException: ``error``, if the run has no end that could be told: it was cancelled, or its journal failed.
    """
    if isinstance(error, Stopped):
        return Ending("stopped", reason=error.reason)
    if isinstance(error, IncompatiblePipeline):
        raise error
    if isinstance(error, PASSING):
        return Ending("refused", cause=error)
    if isinstance(error, StoreError) or not isinstance(error, Exception):
        raise error
    return Ending("failed", cause=error)


def root(program: Program, run: LiveRun, value: Any) -> Frame:
    """The scope of the whole run."""
    if program.keeps_input:
        run.input = owned(given(value), "the input of the run")
    return Frame(run, "", run.state, run.watch)


async def _around(program: Program, run: LiveRun, around: AroundRun, value: Any) -> Ending:
    """Runs from the start to the end, with the plugins that go around it."""
    within = Ending("completed")

    async def proceed() -> RunEnd:
        nonlocal within
        try:
            output = await run_all(program.parts, root(program, run, value), value)
            if run.edge is not None:
                run.edge.check()
            within = Ending("completed", given(output))
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
    start, given_input = run.start, None
    try:
        if program.hooks.authorize is not None:
            request = AuthorizationRequest("start_run", start.run_id, start.tenant, start.pipeline, "", None)
            await program.hooks.authorize(run.watch, request)
        if program.hooks.start is not None:
            if run.journal.store is not None:
                given_input = encoded(start.initial_input, program.takes, "the input")[0]
            start = await _start_hooks(program, run, start)
        if run.journal.store is None:
            run.state = state_of(start.context)
            _stage_start(run, start.pipeline, start.initial_input, run.state, NULL, EMPTY)
            run.begin(start)
            return start.initial_input
        value, restored = encoded(start.initial_input, program.takes, "the input")
        origin = replace(program.origin, input_digest=input_digest(given_input or value))
        fields, context = encoded(start.context, program.context_type, "the context")
    except BaseException:
        run.state = {name: getattr(start.context, name) for name in program.context_type.model_fields}
        _stage_start(run, start.pipeline, None, run.state, NULL, EMPTY)
        if program.hooks.end is not None:  # what hooks then see is a copy, and not the caller's
            run.start = run.start._replace(context=run.start.context.model_copy(deep=True))
        raise
    run.state = state_of(context)
    _stage_start(run, start.pipeline, start.initial_input, run.state, value, fields, origin)
    run.begin(start._replace(initial_input=restored))
    return restored


def input_digest(data: bytes) -> str:
    """A digest of an input, by which the same run is known when it is begun again."""
    import hashlib  # noqa: PLC0415 - only runs with a store need it

    return hashlib.sha256(data).hexdigest()


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


def _stage_start(
    run: LiveRun, pipeline: str, value: Any, state: State, encoded: bytes, fields: bytes, origin: Origin = NO_ORIGIN
) -> None:
    started = RunStarted(*run.journal.head("", now()), pipeline, value, dict(state), origin)
    run.journal.stage(started, encoded, fields)


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
    context: Drafting = [run.context_type, run.state, None]
    if ending.status == "paused":
        paused = journal.events[-1] if journal.events else None
        last = paused if isinstance(paused, RunPaused) else RunPaused(*journal.head("", now()))
        state = (
            None
            if journal.take_along is None
            else partial(journal.take_along, journal.run_id, journal.tenant, journal.earlier, journal.events)
        )
        return PipelineResult(story(run), last, context, journal.tokens, state)
    error = None if ending.cause is None else told(ending.cause)
    end = RunEnded(
        journal.run_id, journal.tenant, journal.sequence + 1, now(), "",
        ending.status, ending.output, ending.reason, error,
    )  # fmt: skip
    return PipelineResult(story(run), end, context)


def story(run: LiveRun) -> Sequence[RunEvent]:
    """All events of a run, those too from before it was resumed."""
    journal = run.journal
    return Story(journal.earlier, journal.events, run.program.gives_of) if journal.earlier else journal.events


async def _record_end(program: Program, run: LiveRun, ending: Ending) -> PipelineResult[Any, Any]:
    """Records the end; an output that cannot be recorded makes it a failure.

    Returns:
        The result of a run that completed, was stopped or waits; or was cancelled with its task.

    Raises:
        RunFailed: The run failed, was refused, or cancelled by somebody.
    """
    journal, last = run.journal, run.journal.sequence
    if ending.status == "paused":
        return _result(run, ending)
    asked = dict(journal.asked)
    if journal.asked:
        journal.withdraw()
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
        try:
            await journal.flush(release=journal.store is not None)
        except MailWaiting:
            journal.retract(last)
            journal.asked.update(asked)
            await take_mail(run)
            return await _record_end(program, run, Ending("cancelled") if run.cancelled else ending)
    if ending.cause is None and not run.cancelled:
        return result
    raise FAILURES[ending.status](
        f"run '{journal.run_id}' {WAS[ending.status]}{_because(result.error)}", result
    ) from ending.cause


def stored_result(program: Program, records: Sequence[Record], *, running: bool = False) -> PipelineResult[Any, Any]:
    """What a run has come to, or where it is, told from its records alone.

    Args:
        program: What it runs.
        records: Its records.
        running: Whether somebody goes on with it, whatever its last record says.

    Raises:
        RunFailed: It failed, was refused or was cancelled.
    """
    events = Story(records, (), program.gives_of)
    folded, kind = fold(map(decode, records)), program.context_type
    try:
        state = state_of(kind.model_validate_json(to_json(folded.context), by_alias=False, by_name=True))
    except ValidationError:  # the class has changed since then
        state = folded.context
    last = events[-1]
    if isinstance(last, RunEnded) and last.status == "completed":
        last.output = value_later(last.run_id, program.label, value_of(records[-1]), program.gives).read()
    if running and isinstance(last, RunPaused | RunEnded):
        last = RunResumed(last.run_id, last.tenant, last.sequence, last.at, "")
    result: PipelineResult[Any, Any] = PipelineResult(events, last, [kind, state, None])
    if result.status in FAILURES:
        cause = None if result.error is None else failure_again(result.error, "", 1)
        why = f"run '{result.run_id}' {WAS[result.status]}{_because(result.error)}"
        raise FAILURES[result.status](why, result) from (cause if result.status == "failed" else None)
    return result


def _because(error: object) -> str:
    return "" if error is None else f": {error}"


FAILURES: Mapping[str, type[RunFailed]] = {"failed": RunFailed, "refused": RunRefused, "cancelled": RunCancelled}
"""What is raised for a run that ended so."""

WAS = {"failed": "failed", "refused": "refused", "cancelled": "was cancelled"}
"""How a run ended, as a sentence says it."""


async def _record_cancellation(program: Program, run: LiveRun, cancelled: asyncio.CancelledError) -> None:
    """Records that the run was cancelled, unless it had ended; the stream, if there was one, has gone."""
    journal = run.journal
    journal.listener = None
    try:
        if journal.events and isinstance(journal.events[-1], RunEnded | RunPaused):
            await uninterrupted(journal.flush(surely=True))
        else:
            await uninterrupted(_record_end(program, run, Ending("cancelled")))
    except (StoreError, RunFailed) as error:
        cancelled.add_note(f"that the run '{journal.run_id}' was cancelled could not be recorded: {error}")
