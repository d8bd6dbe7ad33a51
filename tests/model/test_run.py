"""A run's state as a fold of its events, and what a caller gets of it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from flujo_core import (
    AttemptFailed,
    Chunk,
    ErrorInfo,
    NoOutput,
    PipelineContext,
    PipelineResult,
    RunEnded,
    RunStarted,
    RunState,
    Skip,
    StepCompleted,
    StepFailed,
    StepStarted,
    Stop,
    Usage,
)
from flujo_core.model.patch import Set
from flujo_core.model.run import fold, total

STARTED = RunStarted("r", "t", 1, 10.0, "", "p", "in", {"n": 0})
FIRST = StepStarted("r", "t", 2, 11.0, "a", 1)
DONE = StepCompleted("r", "t", 3, 12.0, "a", 1, "out", {"n": Set(1)}, 1.0, Usage(1, 2, 3, 4, Decimal("0.5")))
ERROR = ErrorInfo("ValueError", "")


def test_no_events_are_a_run_that_has_not_begun() -> None:
    assert fold([]).status == "running" and fold([]).steps == {}


def test_a_running_run_shows_what_it_is_at() -> None:
    state = fold([STARTED, FIRST])
    assert (state.run_id, state.tenant, state.pipeline, state.status, state.started_at, state.input) == (
        "r", "t", "p", "running", 10.0, "in",
    )  # fmt: skip
    assert state.steps["a"].status == "running" and state.steps["a"].duration is None and state.ended_at is None


def test_a_completed_step_has_its_output_and_changes_the_context() -> None:
    state = fold([STARTED, FIRST, DONE])
    step = state.steps["a"]
    assert (step.status, step.output, step.duration, step.attempts, step.started_at) == (
        "completed",
        "out",
        1.0,
        1,
        11.0,
    )
    assert state.context == {"n": 1} and state.usage == Usage(1, 2, 3, 4, Decimal("0.5"))


def test_a_chunk_is_no_part_of_the_state() -> None:
    assert fold([STARTED, FIRST, Chunk("r", "t", 2, 11.5, "a", 1, "piece"), DONE]) == fold([STARTED, FIRST, DONE])


def test_folding_leaves_the_events_as_they_are() -> None:
    fold([STARTED, FIRST, DONE])
    assert STARTED.context == {"n": 0}


def test_a_step_that_is_tried_again_counts_its_attempts() -> None:
    events = [
        STARTED,
        FIRST,
        AttemptFailed("r", "t", 3, 12.0, "a", 1, ERROR, 13.0),
        StepStarted("r", "t", 4, 13.0, "a", 2),
    ]
    state = fold(events)
    assert (state.steps["a"].attempts, state.steps["a"].status, state.steps["a"].started_at) == (2, "running", 11.0)


def test_attempt_zero_is_a_skipped_step() -> None:
    skipped = StepCompleted("r", "t", 3, 12.0, "a", 0, "x", {}, 1.0, None)
    assert fold([STARTED, FIRST, skipped]).steps["a"].status == "skipped"


def test_a_failed_step_has_its_error() -> None:
    state = fold([STARTED, FIRST, StepFailed("r", "t", 3, 12.0, "a", 1, ERROR, 1.0)])
    assert state.steps["a"].status == "failed" and state.steps["a"].error is ERROR and state.steps["a"].duration == 1.0


def test_what_still_runs_when_the_run_ends_was_cancelled() -> None:
    state = fold([STARTED, FIRST, RunEnded("r", "t", 3, 15.0, "", "cancelled")])
    assert (state.status, state.ended_at) == ("cancelled", 15.0)
    assert (state.steps["a"].status, state.steps["a"].duration) == ("cancelled", 4.0)


def test_usage_is_summed_and_its_cost_known_only_if_all_are() -> None:
    def state(*usages: Usage | None) -> RunState:
        return fold(
            StepCompleted("r", None, n, 1.0, f"s{n}", 1, None, {}, 1.0, usage) for n, usage in enumerate(usages, 1)
        )

    assert state().usage == Usage() and state(None).usage == Usage()
    assert state(Usage(1, 1, 1, 1, Decimal(1)), None, Usage(1, 2, 3, 4, Decimal(2))).usage == Usage(
        2, 3, 4, 5, Decimal(3)
    )
    assert state(Usage(1, 1, 1, 1, Decimal(1)), Usage(1, 1, 1, 1, None)).usage.cost_usd is None
    assert state(Usage(1, 1, 1, 1, None), Usage(1, 1, 1, 1, Decimal(1))).usage.cost_usd is None
    assert total([]) == Usage()


def test_a_result_has_an_output_only_if_it_completed() -> None:
    done = PipelineResult([STARTED], RunEnded("r", "t", 2, 15.0, "", "completed", 5), PipelineContext())
    assert done.output == 5 and done.replace(output=6).output == 6 and done.output == 5
    for status in ("stopped", "failed", "refused", "cancelled"):
        ended = RunEnded("r", "t", 2, 15.0, "", status)
        with pytest.raises(NoOutput, match=rf"'r'.*'{status}'"):
            _ = PipelineResult([STARTED], ended, PipelineContext()).output


def test_reprs_show_no_value() -> None:
    secret = "CANARY"
    things = [
        RunStarted("r", "t", 1, 1.0, "", "p", secret, {"n": secret}),
        StepCompleted("r", "t", 3, 12.0, "a", 1, secret, {"n": Set(secret)}, 1.0, None),
        RunEnded("r", "t", 4, 15.0, "", "completed", secret),
    ]
    state = fold(things)
    outcomes = (Stop(secret), Skip(secret))
    for thing in (*things, state, *state.steps.values(), ErrorInfo("E", secret), *outcomes):
        assert secret not in repr(thing)
