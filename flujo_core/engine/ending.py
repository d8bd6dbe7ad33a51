"""How a run ends: what plugins make of that, what is recorded of it, and what callers get."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import to_json

from flujo_core.engine.again import failure_again, value_later
from flujo_core.engine.failure import PASSING, Stopped, told
from flujo_core.engine.journal import now
from flujo_core.engine.live import LiveRun
from flujo_core.engine.past import value_of
from flujo_core.engine.program import Program
from flujo_core.engine.story import Story
from flujo_core.errors import BranchesFailed, IncompatiblePipeline, InvalidValue, OverBudget, PluginError, StoreError
from flujo_core.hooks.call import RunEnd
from flujo_core.model.draft import Drafting, state_of
from flujo_core.model.event import RunEnded, RunEvent, RunPaused, RunResumed, RunStatus
from flujo_core.model.outcome import Veto
from flujo_core.model.result import BudgetExceeded, PipelineResult, RunCancelled, RunFailed, RunRefused
from flujo_core.model.run import fold
from flujo_core.model.value import validated
from flujo_core.store.codec import decode
from flujo_core.store.protocol import Record

if TYPE_CHECKING:
    from flujo_core.model.state import PipelineState


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


async def end_hooks(program: Program, run: LiveRun, ending: Ending) -> Ending:
    """What the plugins make of the end; one that fails or refuses makes it a refusal."""
    try:
        await run.journal.settle()
    except (Veto, PluginError) as error:
        ending = _refused(ending, error)
    if program.hooks.end is None:
        return ending
    try:
        end = await program.hooks.end(run.watch, run.start, end_of(run, ending))
    except (Veto, PluginError) as error:
        return _refused(ending, error)
    return replaced(program, ending, end, "on_pipeline_end")


def _refused(ending: Ending, error: Exception) -> Ending:
    """The refusal of a run that was about to end in another way."""
    if ending.cause is not None:
        error.add_note(f"the run had {ending.status} before that: {told(ending.cause)}")
    return Ending("refused", cause=error)


def end_of(run: LiveRun, ending: Ending) -> RunEnd:
    result = result_of(run, ending)
    return RunEnd(result, result.context)


def replaced(program: Program, ending: Ending, end: RunEnd, hook: str) -> Ending:
    """The ending with the output that a hook gave it, validated again; an ending without an output stays."""
    output = end.pipeline_result.end.output
    if ending.status != "completed" or output is ending.output:
        return ending
    try:
        return ending._replace(output=validated(output, program.gives, f"the output of '{hook}'"))
    except InvalidValue as wrong:
        return Ending("failed", cause=wrong)


def result_of(
    run: LiveRun, ending: Ending, state: Callable[[], PipelineState] | None = None
) -> PipelineResult[Any, Any]:
    journal = run.journal
    context: Drafting = [run.context_type, run.state, None]
    if ending.status == "paused":
        paused = journal.events[-1] if journal.events else None
        last = paused if isinstance(paused, RunPaused) else RunPaused(*journal.head("", now()))
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
    return Story(journal.earlier, journal.events, run.program) if journal.earlier else journal.events


def stored_result(program: Program, records: Sequence[Record], *, running: bool = False) -> PipelineResult[Any, Any]:
    """What a run has come to, or where it is, told from its records alone.

    Args:
        program: What it runs.
        records: Its records.
        running: Whether somebody goes on with it, whatever its last record says.

    Raises:
        RunFailed: It failed, was refused or was cancelled.
    """
    events = Story(records, (), program)
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
        raise failure_of(result) from (cause if result.status == "failed" else None)
    return result


def failure_of(result: PipelineResult[Any, Any]) -> RunFailed:
    """The error that says how a run ended without a result."""
    kind = BudgetExceeded if _is_over_budget(result) else FAILURES[result.status]
    because = "" if result.error is None else f": {result.error}"
    return kind(f"run '{result.run_id}' {WAS[result.status]}{because}", result)


def _is_over_budget(result: PipelineResult[Any, Any]) -> bool:
    """Whether a budget ended the run: had no room for a step, or for some of the branches that failed."""
    if result.status != "failed" or result.error is None or result.error.type not in (OVER, BranchesFailed.__name__):
        return False
    return result.error.type == OVER or any(one.error is not None and one.error.type == OVER for one in result.steps)


OVER = OverBudget.__name__


FAILURES: Mapping[str, type[RunFailed]] = {"failed": RunFailed, "refused": RunRefused, "cancelled": RunCancelled}
"""What is raised for a run that ended so."""


WAS = {"failed": "failed", "refused": "refused", "cancelled": "was cancelled"}
"""How a run ended, as a sentence says it."""
