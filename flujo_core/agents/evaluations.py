"""A small evaluation set for each role: what it is asked, and what must hold of its answer. They need no network.

They tell whether a model is up to a role at all, and whether a change of a prompt made it worse. They are no benchmark.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic_ai import Agent

from flujo_core.agents.roles import (
    ClassifierAgent,
    CodeGeneratorAgent,
    ExtractorAgent,
    JudgeAgent,
    PlannerAgent,
    ReviewerAgent,
    SQLQueryAgent,
    TextSummarizerAgent,
)
from flujo_core.model.slotted import NamedTuple


class Case(NamedTuple):
    """One task of an evaluation set.

    Attributes:
        asked: What the agent is asked.
        wanted: What must hold of its answer, in words.
        holds: Whether it does.
    """

    asked: str
    wanted: str
    holds: Callable[[Any], bool]


class Evaluation(NamedTuple):
    """The evaluation set of a role.

    Attributes:
        make: Makes the agent of a model.
        cases: What it is asked.
    """

    make: Callable[[Any], Agent[None, Any]]
    cases: Sequence[Case]


class Invoice(BaseModel):
    """What the extractor looks for."""

    number: str
    total: float | None = None


def _defines(code: str, name: str, parameters: int) -> bool:
    """Whether Python code defines a function; it is not run, as it is a model's."""
    found = (one for one in ast.walk(ast.parse(code)) if isinstance(one, ast.FunctionDef))
    return any(one.name == name and len(one.args.args) == parameters for one in found)


def _reads(sql: str, *words: str) -> bool:
    return all(word in sql.lower() for word in words)


SHOP = {
    "customers": {"id": "integer", "name": "text", "city": "text"},
    "orders": {"id": "integer", "customer_id": "integer", "total": "numeric", "placed_on": "date"},
}
CAT = (
    "Mia, a cat of three years, was lost in Bern on 4 May. Two children found her in a garage on 9 May, thin but well."
    " Her owner, Ruth Keller, thanked them with a cake. The garage now has a flap in its door."
)

EVALUATIONS: Mapping[str, Evaluation] = {
    "code-generator": Evaluation(
        CodeGeneratorAgent,
        [
            Case("A function 'add' of two numbers.", "defines add(a, b)", lambda one: _defines(one.code, "add", 2)),
            Case(
                "A function 'is_leap' of a year.", "defines is_leap(year)", lambda one: _defines(one.code, "is_leap", 1)
            ),
            Case("Print the word hello.", "prints", lambda one: "print(" in one.code and "hello" in one.code.lower()),
        ],
    ),
    "text-summarizer": Evaluation(
        lambda model: TextSummarizerAgent(model, max_words=25),
        [
            Case(CAT, "names the cat", lambda one: "Mia" in one.text),
            Case(CAT, "is shorter than the text", lambda one: len(one.text) < len(CAT) / 2),
            Case("The shop is closed on Monday.", "keeps the day", lambda one: "Monday" in one.text),
        ],
    ),
    "sql-query": Evaluation(
        lambda model: SQLQueryAgent(model, schema=SHOP, dialect="sqlite"),
        [
            Case("Which customers are there?", "reads the customers", lambda one: _reads(one.sql, "customers", "name")),
            Case("How many orders are there?", "counts orders", lambda one: _reads(one.sql, "orders", "count(")),
            Case("What did each customer spend?", "joins and sums", lambda one: _reads(one.sql, "sum(", "group")),
        ],
    ),
    "classifier": Evaluation(
        lambda model: ClassifierAgent(model, labels={"billing": "money", "bug": "the program fails", "other": ""}),
        [
            Case("You have charged me twice.", "billing", lambda one: one == "billing"),
            Case("It crashes when I press save.", "bug", lambda one: one == "bug"),
            Case("What are your opening hours?", "other", lambda one: one == "other"),
        ],
    ),
    "extractor": Evaluation(
        lambda model: ExtractorAgent(model, output=Invoice),
        [
            Case("Invoice A-17 comes to 120.50 francs.", "number A-17", lambda one: one.number == "A-17"),
            Case("Invoice A-17 comes to 120.50 francs.", "total 120.50", lambda one: one.total == 120.5),
            Case("Please pay invoice 2026/9 soon.", "no total", lambda one: one.total is None),
        ],
    ),
    "reviewer": Evaluation(
        lambda model: ReviewerAgent(model, criteria=["It does what its name says."]),
        [
            Case("def add(a, b):\n    return a + b", "approves it", lambda one: one.approved),
            Case("def add(a, b):\n    return a - b", "does not approve it", lambda one: not one.approved),
            Case("def add(a, b):\n    return a - b", "says what is wrong", lambda one: len(one.issues) > 0),
        ],
    ),
    "planner": Evaluation(
        lambda model: PlannerAgent(model, workers={"search": "finds texts", "write": "writes texts"}, max_tasks=5),
        [
            Case("A page on bees, with sources.", "searches first", lambda one: one.tasks[0].worker == "search"),
            Case("A page on bees, with sources.", "writes last", lambda one: one.tasks[-1].worker == "write"),
            Case("A haiku.", "needs one task", lambda one: len(one.tasks) == 1),
        ],
    ),
    "judge": Evaluation(
        lambda model: JudgeAgent(model, criteria={"polite": "It is polite.", "short": "It has at most ten words."}),
        [
            Case("Thank you very much.", "finds it polite", lambda one: one.scores["polite"] > 0.5),
            Case("Get lost.", "finds it rude", lambda one: one.scores["polite"] < 0.5),
            Case("No.", "finds it short", lambda one: one.scores["short"] > 0.5),
        ],
    ),
}
"""The evaluation sets, by role."""
