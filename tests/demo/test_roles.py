"""Each role once with a real model, the small one that the demo has: the form of what it gives, not the worth of it.

What a model of its size cannot be asked for is left out: valid Python, more than one task, scores between two numbers.
"""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from flujo_core import (
    ClassifierAgent,
    CodeGeneratorAgent,
    ExtractorAgent,
    Flujo,
    GeneratedCode,
    JudgeAgent,
    Plan,
    PlannerAgent,
    Review,
    ReviewerAgent,
    SQLQuery,
    SQLQueryAgent,
    Step,
    TextSummarizerAgent,
    TextSummary,
    Verdict,
)

MODEL = "local:smollm2"
RANGE = (-1e9, 1e9)
USERS = {"users": {"id": "integer", **dict.fromkeys(["name", "username", "email", "password"], "text")}}


class Person(BaseModel):
    name: str
    age: int


def passed(code: str) -> None:
    """No check."""


@pytest.mark.parametrize(
    ("agent", "asked", "kind"),
    [
        (CodeGeneratorAgent(MODEL, check=passed, settings={"max_tokens": 400}), "Print hello.", GeneratedCode),
        (TextSummarizerAgent(MODEL), "The cat sat on the mat. It was a warm day.", TextSummary),
        (SQLQueryAgent(MODEL, schema=USERS, retries=5), "Which users are there?", SQLQuery),
        (ClassifierAgent(MODEL, labels=["billing", "bug"]), "My invoice is wrong.", str),
        (ExtractorAgent(MODEL, output=Person), "Ada is 36 years old.", Person),
        (ReviewerAgent(MODEL), "def add(a, b): return a - b", Review),
        (PlannerAgent(MODEL, max_tasks=1), "Bake a cake.", Plan),
        (JudgeAgent(MODEL, criteria={"true": "It is true."}, scale=RANGE), "The sky is green.", Verdict),
    ],
    ids=lambda one: getattr(one, "name", ""),
)
def test_a_role_gives_what_it_says_from_end_to_end(agent: Any, asked: str, kind: type[object]) -> None:
    assert isinstance(Flujo(Step.agent("ask", agent)).run(asked).output, kind)
