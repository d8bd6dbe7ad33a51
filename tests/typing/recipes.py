"""Recipes, as users write them; checked by mypy and pyright, not run."""

# pyright: reportUnnecessaryTypeIgnoreComment=true, reportUnusedExpression=false

from __future__ import annotations

from typing import assert_type

from pydantic import BaseModel
from pydantic_ai import Agent

from flujo_core import (
    Assignment,
    Checklist,
    ChecklistItem,
    Criteria,
    JudgeAgent,
    Pipeline,
    Review,
    ReviewerAgent,
    Round,
    Score,
    Step,
    Submission,
    Verdict,
    best_of,
    refine,
    review_solve_validate,
    scoring,
    step,
)


class Draft(BaseModel):
    text: str


def is_short(draft: Draft) -> bool:
    return len(draft.text) < 100


def politeness(draft: Draft) -> float:
    return float("please" in draft.text)


polite = Checklist(ChecklistItem("short", is_short), ChecklistItem("polite", politeness, weight=2))
assert_type(polite, Checklist[Draft])
assert_type(polite.score(Draft(text="")), Score)
polite.score("")  # type: ignore[arg-type]

judge = Step.agent("judge", JudgeAgent("test", criteria={"clear": "It is."}), input=Draft, prompt="{{ input.text }}")
assert_type(scoring("score", judge=judge), Pipeline[Draft, Score])
assert_type(scoring("score", judge=judge, checklist=polite), Pipeline[Draft, Score])


def brief(now: Round[str, Draft, Review]) -> str:
    return now.task if now.draft is None else now.draft.text


write = Step.agent("write", Agent("test", output_type=Draft), prompt=brief)
review = Step.agent("review", ReviewerAgent("test"), input=Draft, prompt="{{ input.text }}")
better = refine("better", write, review, until=lambda said: said.approved, max_rounds=3)
assert_type(better, Pipeline[str, Draft])
refine("better", write, judge, until=lambda said: True, max_rounds=3)  # type: ignore[misc]
refine("better", review, review, until=lambda said: True, max_rounds=3)  # type: ignore[arg-type, misc]


@step
async def draft(topic: str) -> Draft:
    return Draft(text=topic)


@step
async def length(text: str) -> Score:
    return Score(items=[])


assert_type(best_of("best", 3, draft, score=scoring("score", checklist=polite)), Pipeline[str, Draft])
best_of("best", 3, draft, score=length)  # type: ignore[misc]


@step
async def demand(task: str) -> Criteria:
    return Criteria(items=[])


@step
async def solve(now: Round[Assignment[str], Draft, Score]) -> Draft:
    return Draft(text=now.task.goal)


@step
async def validate(answer: Submission[str, Draft]) -> Verdict:
    return Verdict(scores={one.name: 1.0 for one in answer.criteria.items})


assert_type(review_solve_validate("good", review=demand, solve=solve, validate=validate), Pipeline[str, Draft])
review_solve_validate("good", review=demand, solve=write, validate=validate)  # type: ignore[arg-type]
review_solve_validate("good", review=demand, solve=solve, validate=judge)  # type: ignore[arg-type]
