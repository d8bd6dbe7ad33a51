"""review_solve_validate: say what a good answer has, answer, and check the answer against that, until it has it."""

from __future__ import annotations

from typing import Any, Generic, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import TypeVar

from flujo_core import EdgeError, From, InvalidValue, Loop, Node, Pipeline, Verdict, step
from flujo_core.recipes.part import checked_node, checked_share, hint_of, taken, typed
from flujo_core.recipes.refine import Round, briefed, chosen, given, round_of
from flujo_core.recipes.score import ItemScore, Score

T = TypeVar("T")
D = TypeVar("D")


class Criterion(BaseModel):
    """One thing that an answer to a task should have.

    Attributes:
        name: Its name, which no other of the task has.
        requirement: What must hold of the answer.
        weight: How much it counts beside the others.
    """

    name: str = Field(min_length=1, max_length=100)
    requirement: str = Field(max_length=500)
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)


class Criteria(BaseModel):
    """What a good answer to a task has; a reviewer's output."""

    items: list[Criterion] = Field(min_length=1, max_length=20)

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        if len({one.name for one in self.items}) < len(self.items):
            raise ValueError("each criterion has a name of its own")
        return self


class Assignment(BaseModel, Generic[T]):
    """A task, with what a good answer to it has.

    Attributes:
        goal: What was asked for.
        criteria: What a good answer has.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    goal: T
    criteria: Criteria


class Submission(BaseModel, Generic[T, D]):
    """An answer, with what it is to be checked against; a validator's input.

    Attributes:
        goal: What was asked for.
        criteria: What a good answer has.
        answer: The answer.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    goal: T
    criteria: Criteria
    answer: D


def review_solve_validate(
    name: str,
    *,
    review: Node[T, Criteria],
    solve: Node[Round[Assignment[T], D, Score], D],
    validate: Node[Submission[T, D], Verdict],
    at_least: float = 1.0,
    max_rounds: int = 3,
    on_exhausted: Literal["fail", "return"] = "fail",
) -> Pipeline[T, D]:
    """A node in which a reviewer says what a good answer has, a solver answers, and a validator checks the answer.

    What the validator says goes back to the solver, as ``Round.review``, until the score is ``at_least``. A criterion
    that the validator says nothing of is not met, and one that the reviewer did not name does not count.

    Args:
        name: The node's name.
        review: Makes the criteria of the task; once.
        solve: Makes an answer of a ``Round``, whose task is an ``Assignment``.
        validate: Scores a ``Submission`` by its criteria: a ``Verdict`` with a score from 0 to 1 by each one's name.
        at_least: The weighted score with which an answer is good enough, from 0 to 1.
        max_rounds: How often it is tried, from 1.
        on_exhausted: What happens after the last round: ``"fail"`` with ``LoopExhausted``, or ``"return"`` the answer
            with the highest score.

    Raises:
        DefinitionError: A part is no node, or a number cannot be.
        EdgeError: A part takes or gives something else.
    """
    what = f"review_solve_validate '{name}'"
    for part, node in (("review", review), ("solve", solve), ("validate", validate)):
        checked_node(node, f"'{part}' of {what}")
    least = checked_share(at_least, f"'at_least' of {what}")
    kind = round_of(solve, what)
    assignment = hint_of(kind, "task")
    if not isinstance(assignment, type) or not issubclass(assignment, Assignment):
        raise EdgeError(
            f"the 'Round' that '{solve.label}' of {what} takes is of an 'Assignment', which has the criteria"
        )
    checked = _submitted(assignment, validate) >> validate >> _scored(assignment)

    def enough(score: Score) -> bool:
        return score.reaches(least)

    def total(score: Score) -> float:
        return score.total

    best = total if on_exhausted == "return" else None
    rounds = Loop(
        "rounds",
        briefed(kind, solve, checked, best) >> solve >> checked,
        until=enough,
        max_iterations=max_rounds,
        on_exhausted=on_exhausted,
    )
    begin = given(hint_of(assignment, "goal"))
    return Pipeline(name, (begin, review, _assigned(assignment), rounds, chosen(kind, solve, checked, best)))


def _assigned(assignment: Any) -> Any:
    """The step that puts the task and its criteria together."""

    async def assignment_of(criteria: Any, *, goal: Any) -> Any:
        return assignment(goal=goal, criteria=criteria)

    goal = taken(hint_of(assignment, "goal"), From("task"))
    return step(name="assign")(typed(assignment_of, criteria=Criteria, goal=goal, **{"return": assignment}))


def _submitted(assignment: Any, validate: Node[Any, Any]) -> Any:
    """The step that puts an answer and what it is checked against together."""
    takes: Any = validate.takes
    is_own = isinstance(takes, type) and issubclass(takes, Submission) and takes is not Submission
    kind: Any = takes if is_own else Submission[Any, Any]

    async def submit(answer: Any, *, about: Any) -> Any:
        return kind(goal=about.goal, criteria=about.criteria, answer=answer)

    about = taken(assignment, From.scope_input)
    return step(typed(submit, answer=hint_of(kind, "answer"), about=about, **{"return": kind}))


def _scored(assignment: Any) -> Any:
    """The step that scores an answer by the criteria of its task."""

    async def score(verdict: Verdict, *, about: Any) -> Score:
        return Score(items=[_item(one, verdict) for one in about.criteria.items])

    return step(typed(score, verdict=Verdict, about=taken(assignment, From.scope_input), **{"return": Score}))


def _item(criterion: Criterion, verdict: Verdict) -> ItemScore:
    """How far an answer meets one criterion.

    Raises:
        InvalidValue: Its score is not from 0 to 1.
    """
    given = verdict.scores.get(criterion.name)
    if given is None:
        return ItemScore(name=criterion.name, score=0, weight=criterion.weight, reason="The validator did not say.")
    if not 0 <= given <= 1:
        raise InvalidValue("the validator gave a score that is not from 0 to 1")
    reason = verdict.reasons.get(criterion.name, "")
    return ItemScore(name=criterion.name, score=given, weight=criterion.weight, reason=reason)
