"""A run worked out again from its records, and held against what they say of its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic_core import to_json

from flujo_core.engine.ending import stored_result
from flujo_core.engine.finder import changes_in
from flujo_core.engine.past import value_of
from flujo_core.engine.program import Program
from flujo_core.engine.survey import Survey
from flujo_core.errors import ReplayMismatch
from flujo_core.model.event import RunEnded
from flujo_core.model.outputs import output_of_scope
from flujo_core.model.result import PipelineResult, RunFailed
from flujo_core.model.run import ONGOING, NodeResult, RunState, StepResult, advance, fold
from flujo_core.model.value import adapter
from flujo_core.store.codec import decode
from flujo_core.store.protocol import Record, RunSummary


def replayed(program: Program, records: Sequence[Record], summary: RunSummary | None) -> PipelineResult[Any, Any]:
    """What a run has come to, or where it is, whatever that is.

    Args:
        program: What it runs.
        records: Its records.
        summary: What the store's listings say of it.

    Raises:
        ReplayMismatch: They contradict each other.
    """
    wrong = _told_wrong(program, records, summary)
    if wrong:
        raise ReplayMismatch(f"the journal of run '{records[0].run_id}' contradicts itself: {wrong}")
    try:
        return stored_result(program, records)
    except RunFailed as failed:
        return failed.result


def _told_wrong(program: Program, records: Sequence[Record], summary: RunSummary | None) -> str:
    """What of a run does not follow from the rest, or nothing."""
    *earlier, last = map(decode, records)
    state = fold(earlier)
    before = _unfinished(state)
    advance(state, last)
    has_same = summary is not None and summary.records == len(records)  # else it goes on meanwhile
    if summary is not None and has_same and summary.status != state.status:
        return f"the store lists it as {summary.status}, and its events make it {state.status}"
    if state.status == "paused" and not state.open_questions:
        return "it waits, and no question is open"
    if state.status != "completed":
        return ""
    if before:
        return f"it completed, and '{before}' had not ended"
    if isinstance(last, RunEnded) and _gave_another(program, records, state):
        return "its output is not what its steps gave"
    return ""


def _unfinished(state: RunState) -> str:
    """The address of something that has not ended, or nothing."""
    parts: list[StepResult | NodeResult] = [*state.steps.values(), *state.nodes.values()]
    return next((one.address for one in parts if one.status in ONGOING), "")


def _gave_another(program: Program, records: Sequence[Record], state: RunState) -> bool:
    """Whether the output of a run is not that of its last steps, as far as this program can tell.

    It cannot where plugins may have replaced it, where the run was made by other code, or has changed its pipeline.
    """
    hooks, is_other = program.hooks, Survey(records).origin.manifest != program.origin.manifest
    if hooks.end is not None or hooks.around_run is not None or is_other or changes_in(records):
        return False
    kind = adapter(program.gives)
    given = kind.validate_json(to_json(output_of_scope(program.pipeline, "", state)), by_alias=False, by_name=True)
    recorded = kind.validate_json(value_of(records[-1]), by_alias=False, by_name=True)
    return bool(kind.dump_json(given) != kind.dump_json(recorded))
