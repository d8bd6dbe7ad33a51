"""Checklists: weighted items, scores, validators; and nodes that score by a judge, a checklist, or both."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic_ai.models.test import TestModel

from flujo_core import (
    Checklist,
    ChecklistItem,
    DefinitionError,
    EdgeError,
    Flujo,
    InvalidValue,
    JudgeAgent,
    Node,
    OutputRejected,
    Retry,
    RunFailed,
    RunInfo,
    Score,
    Step,
    Verdict,
    scoring,
    step,
)
from flujo_core.model.fingerprint import fingerprint
from flujo_core.testing import harness

SECRET = "4711 secret"


def is_short(text: str) -> bool:
    return len(text) <= 20


def share_of_words(text: str) -> float:
    return min(len(text.split()) / 4, 1.0)


POLITE = Checklist(
    ChecklistItem("short", is_short, weight=3),
    ChecklistItem("polite", lambda text: "please" in text),
    ChecklistItem("words", share_of_words, weight=2),
)


def test_a_score_is_the_weighted_mean_of_its_items() -> None:
    score = POLITE.score("please do")
    assert [(one.name, one.score, one.weight) for one in score.items] == [
        ("short", 1.0, 3.0),
        ("polite", 1.0, 1.0),
        ("words", 0.5, 2.0),
    ]
    assert score.total == pytest.approx((3 + 1 + 1) / 6)
    assert score.missed == ["words"]


def test_what_floating_point_numbers_are_off_by_does_not_count() -> None:
    third = Checklist(*(ChecklistItem(name, lambda text: True, weight=0.1) for name in "abc"))
    assert third.score("").reaches(1.0)
    assert third.validator(1.0)("") is None
    assert not POLITE.score("please do").reaches(0.84)


def test_a_validator_names_what_is_missed_and_nothing_of_the_output() -> None:
    said = POLITE.validator(at_least=0.8)("4711-secret-of-mine-and-yours")
    assert said == "It scores 0.08 of 1, and needs 0.80. Not fully met: 'short', 'polite', 'words'."
    assert POLITE.validator(at_least=0.8)("please do this now") is None


def test_the_next_attempt_hears_what_the_validator_said() -> None:
    heard: list[str | None] = []

    @step(validators=[POLITE.validator(at_least=0.8)], retry=Retry(attempts=2))
    async def write(topic: str, info: RunInfo) -> str:
        heard.append(info.feedback)
        return "please do this now" if info.feedback else topic

    assert Flujo(write).run("do").output == "please do this now"
    assert heard[0] is None and "'polite'" in str(heard[1])


def test_an_output_that_stays_wrong_fails_the_step_without_being_told() -> None:
    @step(validators=[POLITE.validator()])
    async def write(topic: str) -> str:
        return SECRET

    with pytest.raises(RunFailed) as failed:
        Flujo(write).run("x")
    assert isinstance(failed.value.__cause__, OutputRejected)
    assert str(failed.value.result.error) == "step 'write' failed: validator 'checklist' did not let its output pass"


@pytest.mark.parametrize("given", [2, -0.1, float("nan"), "yes", None])
def test_a_check_that_gives_something_else_is_an_error_without_the_value(given: Any) -> None:
    with pytest.raises(InvalidValue) as error:
        Checklist(ChecklistItem("odd", lambda text: given)).score(SECRET)
    assert str(error.value) == "the check of item 'odd' gave something else than a bool or a number from 0 to 1"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Checklist(), "a checklist has at least one item; give it 'ChecklistItem(name, check)'"),
        (lambda: Checklist("short"), "an item of a checklist is a 'ChecklistItem(name, check)', not 'str'"),
        (
            lambda: Checklist(ChecklistItem("a", is_short), ChecklistItem("a", is_short)),
            "two items of a checklist are called 'a'; names are unique",
        ),
        (lambda: ChecklistItem(" ", is_short), "the name of a checklist's item is text that is not empty"),
        (lambda: ChecklistItem(5, is_short), "the name of a checklist's item is text that is not empty"),
        (lambda: ChecklistItem("a", True), "the check of item 'a' is a function, not 'bool'"),
        (lambda: ChecklistItem("a", is_short, weight=0), "the weight of item 'a' is a number above 0, not 0"),
        (lambda: ChecklistItem("a", is_short, weight=-1), "the weight of item 'a' is a number above 0, not -1"),
        (
            lambda: ChecklistItem("a", is_short, weight=float("inf")),
            "the weight of item 'a' is a number above 0, not inf",
        ),
        (
            lambda: ChecklistItem("a", is_short, weight=float("nan")),
            "the weight of item 'a' is a number above 0, not nan",
        ),
        (lambda: ChecklistItem("a", is_short, weight=True), "the weight of item 'a' is a number above 0, not True"),
        (
            lambda: POLITE.validator(at_least=1.1),
            "'at_least' of a checklist's validator is a number from 0 to 1, not 1.1",
        ),
        (
            lambda: POLITE.validator(at_least=True),
            "'at_least' of a checklist's validator is a number from 0 to 1, not True",
        ),
        (lambda: scoring("s"), "scoring 's' has neither 'judge' nor 'checklist'; give it one, or both"),
        (lambda: scoring("s", checklist=is_short), "'checklist' of scoring 's' is a 'Checklist', not 'function'"),
        (
            lambda: scoring("s", judge=is_short),
            "the judge of scoring 's' is a step or a pipeline, not 'function'; make it one with '@step'",
        ),
        (
            lambda: scoring("s", checklist=POLITE, weights={"clear": 2}),
            "'weights' of scoring 's' are of a judge's criteria, and it has no judge",
        ),
        (
            lambda: scoring("s", judge=judge_of(clear=1.0), weights={"clear": 0}),
            "the weight of criterion 'clear' of scoring 's' is a number above 0, not 0",
        ),
    ],
)
def test_what_cannot_be_is_found_when_it_is_built(make: Any, message: str) -> None:
    with pytest.raises(DefinitionError) as error:
        make()
    assert str(error.value) == message


def test_an_item_shows_its_name() -> None:
    assert repr(ChecklistItem("short", is_short)) == "<ChecklistItem 'short'>"


# ---------------------------------------------------------------------------------------------------------- scoring


def judge_of(**scores: float) -> Node[str, Verdict]:
    @step
    async def judge(text: str) -> Verdict:
        return Verdict(scores=scores, reasons={"clear": "It is clear."})

    return judge


def test_a_checklist_scores_as_a_node() -> None:
    score = Flujo(scoring("score", checklist=POLITE)).run("please do").output
    assert score == POLITE.score("please do")


def test_a_judge_scores_each_criterion_with_its_weight_and_reason() -> None:
    result = Flujo(scoring("score", judge=judge_of(clear=1.0, brief=0.5), weights={"clear": 3})).run("x")
    assert [(one.name, one.score, one.weight, one.reason) for one in result.output.items] == [
        ("clear", 1.0, 3.0, "It is clear."),
        ("brief", 0.5, 1.0, ""),
    ]
    assert [one.address for one in result.steps] == ["score/judge", "score/total"]


def test_a_judge_and_a_checklist_make_one_score_side_by_side() -> None:
    result = Flujo(scoring("score", judge=judge_of(clear=0.0), checklist=POLITE, weights={"clear": 6})).run("please do")
    assert [one.name for one in result.output.items] == ["short", "polite", "words", "clear"]
    assert result.output.total == pytest.approx(5 / 12)
    assert {one.address for one in result.steps} == {
        "score/opinions[judge]/judge",
        "score/opinions[checklist]/checks",
        "score/total",
    }


def test_a_judge_may_be_an_agent() -> None:
    model = TestModel(custom_output_args={"clear": {"score": 0.75, "reason": "Mostly."}})
    judge = Step.agent("judge", JudgeAgent(model, criteria={"clear": "One reading suffices."}))
    assert Flujo(scoring("score", judge=judge)).run("x").output.total == 0.75


@pytest.mark.parametrize(
    ("judge", "weights", "message"),
    [
        (judge_of(), None, "the judge gave no scores"),
        (
            judge_of(clear=7.0),
            None,
            "the judge's score of 'clear' is not from 0 to 1; give the judge 'scale=(0, 1)'",
        ),
        (judge_of(clear=1.0), {"claer": 2}, "the judge gave no score for 'claer', which has a weight"),
    ],
)
def test_a_verdict_that_is_no_score_fails(judge: Any, weights: Any, message: str) -> None:
    with pytest.raises(RunFailed) as failed:
        Flujo(scoring("score", judge=judge, weights=weights)).run("x")
    assert str(failed.value.result.error) == f"step 'score/total' failed: {message}"


def test_a_judge_of_something_else_is_refused_when_it_is_built() -> None:
    @step
    async def judge(text: str) -> str:
        return text

    with pytest.raises(EdgeError):
        scoring("score", judge=judge)  # type: ignore[arg-type]


def test_a_fake_judge_stands_in_for_a_judge() -> None:
    judge = judge_of(clear=1.0)

    async def main() -> Score:
        async with harness(scoring("score", judge=judge, checklist=POLITE)) as h:
            h.fake(judge).returns(Verdict(scores={"clear": 0.5}))
            return (await h.run_async("please do")).output

    assert asyncio.run(main()).items[-1].score == 0.5


def test_what_a_checklist_asks_is_part_of_what_a_step_is() -> None:
    """So that a paused run is told of a changed check; the same one, made anew, is the same."""

    def of(weight: float, check: Any = is_short) -> str:
        list_ = Checklist(ChecklistItem("short", check, weight=weight))
        return fingerprint(scoring("score", checklist=list_)) + fingerprint(
            written.policy(validators=[list_.validator()])
        )

    @step
    async def written(text: str) -> str:
        return text

    assert of(1) == of(1)
    assert len({of(1), of(2), of(1, share_of_words)}) == 3
