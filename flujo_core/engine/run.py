"""The interpreter: runs a pipeline from its start to its end, whatever that end is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from flujo_core.engine.call import Leaf, Stopped, told
from flujo_core.engine.journal import Journal, now
from flujo_core.errors import InvalidValue, PluginError, StoreError
from flujo_core.hooks.call import RunEnd, RunStart
from flujo_core.hooks.dispatch import Hooks
from flujo_core.model.agent import ModelSource
from flujo_core.model.check import type_name
from flujo_core.model.draft import State, draft, state_of
from flujo_core.model.event import RunEnded, RunStarted, RunStatus
from flujo_core.model.flow import Node
from flujo_core.model.outcome import Stop, Veto
from flujo_core.model.run import PipelineResult, RunFailed, RunRefused
from flujo_core.model.signature import Resources
from flujo_core.model.value import adapter, encoded, flaws

if TYPE_CHECKING:
    from flujo_core.model.context import PipelineContext


class Program(NamedTuple):
    """A pipeline, ready to run, with all that its runs have in common.

    Attributes:
        pipeline: The pipeline.
        leaves: Its leaves, in order.
        hooks: The plugins' hooks.
        context_type: The class of the context.
        resources: What steps get as their resources.
        models: Where plugins' models are found.
    """

    pipeline: Node[Any, Any]
    leaves: Sequence[Leaf]
    hooks: Hooks
    context_type: type[PipelineContext]
    resources: Resources | None
    models: ModelSource


class LiveRun:
    """One run while it goes on."""

    __slots__ = ("bare", "context_type", "hooks", "journal", "models", "resources", "state")

    def __init__(self, program: Program, journal: Journal, state: State) -> None:
        self.journal = journal
        self.hooks = program.hooks
        self.bare = not journal.live and program.hooks.pre is None and program.hooks.post is None
        self.context_type = program.context_type
        self.resources = program.resources
        self.models = program.models
        self.state = state


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
    value = _input(program, value)
    run = LiveRun(program, journal, {})
    start = RunStart(journal.run_id, journal.tenant, program.pipeline.label, value, context, False)
    try:
        ending = await _advance(program, run, start)
        ending = await _end_hooks(program, run, start, ending)
        result = _result(run, ending)
        await _record_end(program, run, ending, result)
    except asyncio.CancelledError:
        await _record_cancellation(program, run)
        raise
    if ending.cause is None:
        return result
    kind = RunRefused if ending.status == "refused" else RunFailed
    text = str(told(ending.cause))
    raise kind(f"run '{journal.run_id}' {ending.status}: {text}", result) from ending.cause


async def _advance(program: Program, run: LiveRun, start: RunStart) -> Ending:
    """Runs from the start to the end, or to what ends it early."""
    try:
        if program.hooks.start is not None:
            start = await _start_hooks(program, run, start)
        _begin(program, run, start)
        value = start.initial_input
        for leaf in program.leaves:
            value = await leaf.run(run, value)
        return Ending("completed", value)
    except Stopped as stopped:
        return Ending("stopped", reason=stopped.reason)
    except (Veto, PluginError) as error:
        return Ending("refused", cause=error)
    except StoreError:
        raise
    except Exception as error:
        return Ending("failed", cause=error)


async def _start_hooks(program: Program, run: LiveRun, start: RunStart) -> RunStart:
    """What the plugins make of the start. If they let it not begin, its input is not recorded."""
    assert program.hooks.start is not None
    try:
        changed = await program.hooks.start(start)
        if isinstance(changed, Stop):
            raise Stopped(changed)
        return changed.replace(initial_input=_input(program, changed.initial_input))
    except BaseException:
        _stage_start(run, start.pipeline, None, {}, b"null", b"{}")
        raise


def _begin(program: Program, run: LiveRun, start: RunStart) -> None:
    """Records the start; the state and the input are what a journal would give back."""
    state = state_of(start.context)
    if run.journal.store is None:
        _stage_start(run, start.pipeline, start.initial_input, state, b"null", b"{}")
    else:
        what = f"the input of pipeline '{start.pipeline}'"
        value, _ = encoded(start.initial_input, program.pipeline.takes, what)
        fields, restored = encoded(start.context, program.context_type, "the context")
        state = state_of(restored)
        _stage_start(run, start.pipeline, start.initial_input, state, value, fields)
    run.state = state


def _stage_start(run: LiveRun, pipeline: str, value: Any, state: State, encoded: bytes, fields: bytes) -> None:
    journal = run.journal
    started = RunStarted(journal.run_id, journal.tenant, journal.next(), now(), "", pipeline, value, dict(state))
    journal.stage(started, encoded, fields)


def _input(program: Program, value: Any) -> Any:
    takes = program.pipeline.takes
    try:
        return adapter(takes).validate_python(value)
    except ValidationError as error:
        raise InvalidValue(
            f"the input of pipeline '{program.pipeline.label}' is not a '{type_name(takes)}': {flaws(error, takes)}"
        ) from error


async def _end_hooks(program: Program, run: LiveRun, start: RunStart, ending: Ending) -> Ending:
    """What the plugins make of the end; one that fails or refuses makes it a refusal."""
    if program.hooks.end is None:
        return ending
    result = _result(run, ending)
    try:
        end = await program.hooks.end(start, RunEnd(result, result.context))
    except (Veto, PluginError) as error:
        return Ending("refused", cause=error)
    if ending.status != "completed" or end.pipeline_result.output is ending.output:
        return ending
    try:
        return ending._replace(output=adapter(program.pipeline.gives).validate_python(end.pipeline_result.output))
    except ValidationError as error:
        gives = program.pipeline.gives
        wrong = InvalidValue(
            f"'on_pipeline_end' gave an output that is not a '{type_name(gives)}': {flaws(error, gives)}"
        )
        wrong.__cause__ = error
        return Ending("failed", cause=wrong)


def _result(run: LiveRun, ending: Ending) -> PipelineResult[Any, Any]:
    journal = run.journal
    error = None if ending.cause is None else told(ending.cause)
    end = RunEnded(
        journal.run_id, journal.tenant, journal.sequence + 1, now(), "",
        ending.status, ending.output, ending.reason, error,
    )  # fmt: skip
    return PipelineResult(journal.events, end, draft(run.context_type, run.state))


async def _record_end(program: Program, run: LiveRun, ending: Ending, result: PipelineResult[Any, Any]) -> None:
    journal = run.journal
    value = b"null"
    if journal.store is not None and ending.status == "completed":
        value, _ = encoded(ending.output, program.pipeline.gives, "the output of the run")
    journal.next()
    journal.stage(result.end, value)
    if journal.live:
        await journal.flush()


async def _record_cancellation(program: Program, run: LiveRun) -> None:
    """Records that the run was cancelled, whatever it was doing; the stream, if there was one, has gone."""
    journal = run.journal
    journal.listener = None
    ending = Ending("cancelled")
    await asyncio.shield(_record_end(program, run, ending, _result(run, ending)))
