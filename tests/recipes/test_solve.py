"""review_solve_validate: criteria made for the task, an answer, and a check of it against them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from crash_kit import Counted, Dying, crashed, done, durable
from pydantic import ValidationError

from flujo_core import (
    Assignment,
    Criteria,
    Criterion,
    DefinitionError,
    EdgeError,
    Flujo,
    LoopExhausted,
    MemoryStore,
    Node,
    Round,
    RunFailed,
    RunInfo,
    Score,
    SQLiteStore,
    Submission,
    Verdict,
    review_solve_validate,
    step,
)


@step
async def demand(task: str) -> Criteria:
    return Criteria(
        items=[
            Criterion(name="tea", requirement="It has tea.", weight=3),
            Criterion(name="milk", requirement="It has milk."),
        ]
    )


def solver(ran: Counted | None = None) -> Node[Round[Assignment[str], str, Score], str]:
    """A step that adds the first thing that is missing."""

    @step
    async def solve(now: Round[Assignment[str], str, Score], info: RunInfo) -> str:
        if ran is not None:
            ran.note(info)
        if now.review is None:
            return now.task.goal
        return f"{now.draft} {now.review.missed[0]}"

    return solve


@step
async def check(submission: Submission[str, str]) -> Verdict:
    assert submission.goal == "hot"
    return Verdict(
        scores={one.name: float(one.name in submission.answer) for one in submission.criteria.items},
        reasons={"tea": "Look for tea."},
    )


def made(**changes: Any) -> Node[str, str]:
    parts: dict[str, Any] = {"review": demand, "solve": solver(), "validate": check, **changes}
    return review_solve_validate("drink", **parts)


def test_it_answers_until_the_answer_has_what_the_reviewer_asked_for() -> None:
    result = Flujo(made()).run("hot")
    assert result.output == "hot tea milk"
    assert [one.address for one in result.steps] == [
        "drink/task",
        "drink/demand",
        "drink/assign",
        *(f"drink/rounds[{n}]/{name}" for n in (1, 2, 3) for name in ("brief", "solve", "submit", "check", "score")),
        "drink/draft",
    ]


def test_the_solver_is_told_what_is_missing_and_why() -> None:
    seen: list[Score | None] = []

    @step
    async def solve(now: Round[Assignment[str], str, Score]) -> str:
        seen.append(now.review)
        return "tea milk"[: 3 if now.review is None else None]

    Flujo(made(solve=solve)).run("hot")
    assert seen[0] is None and seen[1] is not None
    assert [(one.name, one.score, one.weight, one.reason) for one in seen[1].items] == [
        ("tea", 1, 3, "Look for tea."),
        ("milk", 0, 1, ""),
    ]


def test_an_answer_with_the_score_that_is_asked_for_is_enough() -> None:
    assert Flujo(made(at_least=0.75)).run("hot").output == "hot tea"


def test_after_the_last_round_it_fails_or_gives_the_best() -> None:
    @step
    async def solve(now: Round[Assignment[str], str, Score]) -> str:
        return "tea" if now.draft is None else "milk"

    with pytest.raises(RunFailed) as failed:
        Flujo(made(solve=solve, max_rounds=2)).run("hot")
    assert isinstance(failed.value.__cause__, LoopExhausted)
    assert Flujo(made(solve=solve, max_rounds=2, on_exhausted="return")).run("hot").output == "tea"


def test_what_the_validator_says_nothing_of_is_not_met() -> None:
    @step
    async def silent(submission: Submission[str, str]) -> Verdict:
        return Verdict(scores={"milk": 1.0, "of its own": 1.0})

    seen: list[Score] = []

    @step
    async def solve(now: Round[Assignment[str], str, Score]) -> str:
        seen.extend([now.review] if now.review else [])
        return "tea"

    Flujo(made(solve=solve, validate=silent, max_rounds=2, on_exhausted="return")).run("hot")
    assert [(one.name, one.score, one.reason) for one in seen[0].items] == [
        ("tea", 0, "The validator did not say."),
        ("milk", 1, ""),
    ]


def test_a_validator_on_another_scale_fails() -> None:
    @step
    async def generous(submission: Submission[str, str]) -> Verdict:
        return Verdict(scores={"tea": 7.0})

    with pytest.raises(RunFailed) as failed:
        Flujo(made(validate=generous)).run("hot")
    assert str(failed.value.result.error) == (
        "step 'drink/rounds[1]/score' failed: the validator gave a score that is not from 0 to 1"
    )


def test_a_validator_may_take_a_submission_of_anything() -> None:
    @step
    async def check_any(submission: Submission) -> Verdict:  # type: ignore[type-arg]
        return Verdict(scores={"tea": 1.0, "milk": 1.0})

    assert Flujo(made(validate=check_any)).run("hot").output == "hot"


def test_criteria_have_names_of_their_own() -> None:
    with pytest.raises(ValidationError, match="each criterion has a name of its own"):
        Criteria(items=[Criterion(name="a", requirement=""), Criterion(name="a", requirement="")])


@step
async def plain(now: Round[str, str, Score]) -> str:
    return now.task


@step
async def text(value: str) -> str:
    return value


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        (
            {"at_least": 2},
            DefinitionError,
            "'at_least' of review_solve_validate 'drink' is a number from 0 to 1, not 2",
        ),
        (
            {"review": "demand"},
            DefinitionError,
            "'review' of review_solve_validate 'drink' is a step or a pipeline, not",
        ),
        (
            {"solve": text},
            EdgeError,
            "'text' of review_solve_validate 'drink' takes 'str'; what it is given is a 'Round'",
        ),
        (
            {"solve": plain},
            EdgeError,
            "the 'Round' that 'plain' of review_solve_validate 'drink' takes is of an 'Assignment',"
            " which has the criteria",
        ),
        (
            {"validate": text},
            EdgeError,
            "step 'submit' gives 'Submission[Any, Any]' and the next step, 'text', takes 'str'",
        ),
        ({"review": text}, EdgeError, "step 'text' gives 'str' and the next step, 'assign', takes 'Criteria'"),
    ],
)
def test_what_cannot_be_is_found_when_it_is_built(changes: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as error:
        made(**changes)
    assert str(error.value).startswith(message)


def test_it_survives_a_crash_at_every_write(tmp_path: Path) -> None:
    async def main() -> None:
        count = Dying()
        await durable(made(), count).run_async("hot", run_id="r")
        for at in range(1, count.writes + 1, 2):
            kept = SQLiteStore(tmp_path / f"{at}.db") if at % 5 == 0 else MemoryStore()
            ran = Counted()
            await crashed(made(solve=solver(ran)), "hot", kept, at)
            over = {one.address for one in await kept.read("r") if one.kind == "step_completed"}
            before = dict(ran)
            result = await durable(made(solve=solver(ran)), kept).run_async("hot", run_id="r")
            assert result.output == "hot tea milk"
            assert all(ran[address] == before[address] for address in over if address in before)

    done(main())
