"""A run's state as a fold of its events, and what a caller gets of it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from flujo_core import (
    AttemptFailed,
    Chunk,
    ErrorInfo,
    NoOutput,
    PipelineContext,
    PipelineResult,
    QuestionAnswered,
    QuestionAsked,
    QuestionLapsed,
    QuestionTerms,
    QuestionWithdrawn,
    RunEnded,
    RunPaused,
    RunResumed,
    RunStarted,
    RunState,
    Skip,
    StepCompleted,
    StepFailed,
    StepStarted,
    Stop,
    TokenReissued,
    Usage,
    VoteCast,
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
    context = [PipelineContext, {}, None]
    done: PipelineResult[Any, Any] = PipelineResult([STARTED], RunEnded("r", "t", 2, 15.0, "", "completed", 5), context)
    assert done.output == 5 and done.replace(output=6).output == 6 and done.output == 5
    for status in ("stopped", "failed", "refused", "cancelled"):
        ended = RunEnded("r", "t", 2, 15.0, "", status)
        with pytest.raises(NoOutput, match=rf"'r'.*'{status}'"):
            _ = PipelineResult([STARTED], ended, context).output
        with pytest.raises(NoOutput, match=f"no state to go on from: its status is '{status}'"):
            _ = PipelineResult([STARTED], ended, context).state


def asked(sequence: int, address: str = "a", usage: Usage | None = None) -> QuestionAsked:
    terms = QuestionTerms(("ops", "cfo"), 2, 99.0)
    return QuestionAsked(
        "r", "t", sequence, 12.0, address, 1, "step", "really?", "bool", {"type": "boolean"}, terms, {}, {},
        usage=usage, token_hash="hash",
    )  # fmt: skip


def answered(sequence: int, question: int) -> QuestionAnswered:
    return QuestionAnswered("r", "t", sequence, 13.0, "a", question, True, "ops", False)


PAUSED = [STARTED, FIRST, asked(3), RunPaused("r", "t", 4, 12.5, "")]


def test_a_step_that_asks_is_paused_and_so_is_the_run() -> None:
    state = fold(PAUSED)
    assert (state.status, state.steps["a"].status, state.ended_at) == ("paused", "paused", None)
    assert [one.asked.sequence for one in state.open_questions] == [3]
    assert fold([STARTED, asked(2)]).steps["a"].status == "paused"  # of a hook before the first attempt


def test_a_resumed_run_is_running_and_its_step_once_it_has_its_answer() -> None:
    state = fold([*PAUSED, RunResumed("r", "t", 5, 13.0, "")])
    assert (state.status, state.steps["a"].status) == ("running", "paused")
    state = fold([*PAUSED, RunResumed("r", "t", 5, 13.0, ""), answered(6, 3)])
    assert state.steps["a"].status == "running" and not state.open_questions
    question = state.questions[3]
    assert question.status == "answered" and question.answer is not None and question.answer.answer is True


def test_a_step_with_two_questions_waits_for_both() -> None:
    events = [STARTED, FIRST, asked(3, "a!tool.x"), asked(4, "a!tool.y"), answered(5, 4)]
    assert fold(events).steps["a"].status == "paused" and len(fold(events).open_questions) == 1
    assert fold([*events, answered(6, 3)]).steps["a"].status == "running"
    assert fold(events).steps.keys() == {"a"}


def test_votes_are_counted_and_a_new_token_changes_nothing() -> None:
    votes = [VoteCast("r", "t", 5, 13.0, "a", 3, True, one, False) for one in ("ops", "cfo")]
    state = fold([*PAUSED, *votes, TokenReissued("r", "t", 7, 13.0, "a", 3, "other")])
    assert [vote.approver for vote in state.questions[3].votes] == ["ops", "cfo"]
    assert state.steps["a"].status == "paused" and state.questions[3].status == "open"


def test_a_question_that_nobody_answered_in_time_is_over() -> None:
    state = fold([*PAUSED, QuestionLapsed("r", "t", 5, 99.0, "a", 3, "fail")])
    assert state.questions[3].status == "lapsed" and not state.open_questions and state.steps["a"].status == "running"


def test_a_step_whose_question_is_withdrawn_was_cancelled() -> None:
    state = fold([*PAUSED, QuestionWithdrawn("r", "t", 5, 20.0, "a", 3)])
    assert (state.questions[3].status, state.steps["a"].status, state.steps["a"].duration) == (
        "withdrawn", "cancelled", 9.0,
    )  # fmt: skip


def test_the_end_of_a_run_withdraws_what_is_open_and_cancels_what_waits() -> None:
    state = fold([*PAUSED, RunEnded("r", "t", 5, 20.0, "", "cancelled")])
    assert (state.status, state.questions[3].status, state.steps["a"].status) == (
        "cancelled", "withdrawn", "cancelled",
    )  # fmt: skip


def test_a_run_that_failed_and_is_tried_again_has_no_error() -> None:
    failed = [STARTED, FIRST, StepFailed("r", "t", 3, 12.0, "a", 1, ERROR, 1.0)]
    ended = RunEnded("r", "t", 4, 13.0, "", "failed", error=ERROR)
    again = [RunResumed("r", "t", 5, 14.0, "", retry_failed=True), StepStarted("r", "t", 6, 14.0, "a", 2)]
    state = fold([*failed, ended, *again])
    assert (state.status, state.error, state.ended_at) == ("running", None, None)
    assert (state.steps["a"].status, state.steps["a"].error, state.steps["a"].duration) == ("running", None, None)


def test_what_was_used_before_a_question_and_after_it_is_summed() -> None:
    usage = Usage(1, 1, 1, 1, Decimal(1))
    events = [STARTED, FIRST, asked(3, usage=usage), answered(4, 3), DONE]
    assert fold(events[:3]).usage == usage and fold(events).usage == Usage(2, 3, 4, 5, Decimal("1.5"))


def test_a_result_of_a_paused_run_has_its_questions() -> None:
    vote = VoteCast("r", "t", 4, 12.2, "a", 3, True, "ops", False)
    events = [STARTED, FIRST, asked(3), vote]
    result: PipelineResult[Any, Any] = PipelineResult(
        events, RunPaused("r", "t", 5, 12.5, ""), [PipelineContext, {}, None], {3: "token"}
    )
    (question,) = result.questions
    assert (question.run_id, question.tenant, question.address, question.text) == ("r", "t", "a", "really?")
    assert (question.token, question.json_schema, question.asked_at) == ("token", {"type": "boolean"}, 12.0)
    assert (question.expires_at, question.approvers, question.quorum, question.votes) == (99.0, ("ops", "cfo"), 2, 1)
    assert result.status == "paused" and len(result.events) == 5 and result.error is None
    with pytest.raises(NoOutput, match="its status is 'paused'"):
        _ = result.output
    with pytest.raises(NoOutput, match="has not ended"):
        _ = result.end
    without: PipelineResult[Any, Any] = PipelineResult(
        events, RunPaused("r", "t", 5, 12.5, ""), [PipelineContext, {}, None]
    )
    assert without.questions[0].token is None


def test_a_result_of_a_run_that_others_go_on_with_is_running() -> None:
    result: PipelineResult[Any, Any] = PipelineResult(
        PAUSED[:-1], RunResumed("r", "t", 5, 13.0, ""), [PipelineContext, {}, None]
    )
    assert result.status == "running" and result.questions[0].address == "a"


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


def test_the_state_of_a_question_shows_where_it_is() -> None:
    (question,) = fold(PAUSED).questions.values()
    assert repr(question) == "<QuestionState 'a' open>"
