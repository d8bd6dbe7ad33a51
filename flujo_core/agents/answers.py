"""What the roles give: code, a summary, a query, a review, a plan, a verdict."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class GeneratedCode(BaseModel):
    """A program, or a piece of one."""

    language: str
    code: str = Field(description="The code alone, without fences around it")
    explanation: str = Field(default="", description="What it does, in a sentence or two", max_length=1000)


class TextSummary(BaseModel):
    """What a text comes to."""

    text: str
    key_points: list[str] = []


class SQLQuery(BaseModel):
    """A query, and what it looks for."""

    sql: str
    explanation: str = Field(default="", description="What it looks for, in a sentence", max_length=1000)


class ReviewIssue(BaseModel):
    """Something that is wrong with what was reviewed."""

    severity: Literal["minor", "major", "critical"]
    what: str = Field(description="What is wrong, and where", max_length=500)
    remedy: str = Field(default="", description="What would mend it", max_length=500)


class Review(BaseModel):
    """What a reviewer makes of something."""

    issues: list[ReviewIssue] = Field(max_length=20)
    summary: str = Field(default="", max_length=1000)

    @property
    def approved(self) -> bool:
        """Whether no issue is more than a minor one."""
        return all(one.severity == "minor" for one in self.issues)


class PlannedTask(BaseModel):
    """One part of a plan.

    Attributes:
        name: Its name, which no other task of the plan has.
        goal: What is to come of it.
        needs: The names of tasks that must be done before.
        worker: Who does it, where the planner knows workers.
    """

    name: str = Field(max_length=100)
    goal: str = Field(max_length=500)
    needs: list[str] = Field(default=[], description="The names of the tasks that must be done before")
    worker: str = ""


class Plan(BaseModel):
    """Tasks in an order in which they can be done."""

    tasks: list[PlannedTask] = Field(min_length=1)


class Verdict(BaseModel):
    """What a judge makes of something: a score, and the reason for it, by criterion."""

    scores: dict[str, float]
    reasons: dict[str, str] = {}

    @property
    def overall(self) -> float:
        """The mean of the scores."""
        return sum(self.scores.values()) / len(self.scores)
