"""Roles: what each tells the model, and what it takes from it. The models are simulated."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, ToolCallPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from flujo_core import (
    ClassifierAgent,
    CodeGeneratorAgent,
    DefinitionError,
    ExtractorAgent,
    Flujo,
    JudgeAgent,
    PlannerAgent,
    Review,
    ReviewerAgent,
    ReviewIssue,
    RunFailed,
    SQLQueryAgent,
    Step,
    TextSummarizerAgent,
    Verdict,
)

TABLES = {
    "users": {"id": "integer", "name": "text"},
    "orders": {"id": "integer", "user_id": "integer", "total": "numeric"},
}


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


class Person(BaseModel):
    name: str
    age: int | None = None


class Script:
    """A simulated model that gives one answer after the other, and keeps what it was told."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.instructions = ""
        self.retries: list[str] = []
        self.model = FunctionModel(self._answer)

    def _answer(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        last = messages[-1]
        assert isinstance(last, ModelRequest)
        self.instructions = info.instructions or ""
        self.retries += [str(part.content) for part in last.parts if not isinstance(part, UserPromptPart)]
        (tool,) = info.output_tools
        return ModelResponse([ToolCallPart(tool.name, json.dumps(self.answers.pop(0)))])


def answered(make: Callable[..., Agent[None, Any]], *answers: Any, **options: Any) -> tuple[Any, Script]:
    script = Script(*answers)
    return Flujo(Step.agent("ask", make(script.model, **options))).run("Do it.").output, script


def response(value: Any) -> dict[str, Any]:
    """What models give for a type that is no object."""
    return {"response": value}


CODE = {"language": "python", "code": "print('hi')"}
PLAN: Any = {"tasks": [{"name": "read", "goal": "a"}, {"name": "write", "goal": "b", "needs": ["read"]}]}
WORKED = {"tasks": [{**task, "worker": "Ada"} for task in PLAN["tasks"]]}
QUERY = {"sql": "select name from users"}
REVIEW = {"issues": [{"severity": "minor", "what": "a typo"}]}
CRITERIA = {"true": "t", "short": "s"}
VERDICT = {"true": {"score": 1.0}, "short": {"score": 0.5, "reason": "long"}}


@pytest.mark.parametrize(
    ("make", "options", "right", "wrong", "said"),
    [
        (CodeGeneratorAgent, {}, CODE, {**CODE, "code": "x = ("}, "not valid python: line 1: '(' was never closed"),
        (CodeGeneratorAgent, {"language": "json"}, {**CODE, "code": "[1]"}, {**CODE, "code": "[1"}, "not valid json"),
        (TextSummarizerAgent, {"max_words": 3}, {"text": "a b c"}, {"text": "a b c d"}, "has 4 words; use at most 3"),
        (SQLQueryAgent, {"schema": TABLES}, QUERY, {"sql": "select nam from users"}, "Column 'nam' could not"),
        (SQLQueryAgent, {"schema": TABLES}, QUERY, {"sql": "select 1 from user"}, "no table 'user'; there are 'users'"),
        (SQLQueryAgent, {"schema": TABLES}, QUERY, {"sql": "delete from users"}, "it must only read"),
        (SQLQueryAgent, {"schema": TABLES}, QUERY, {"sql": "select 1; select 2"}, "2 statements"),
        (SQLQueryAgent, {"schema": TABLES}, QUERY, {"sql": "selec 1"}, "not SQL of 'sqlite'"),
        (ClassifierAgent, {"labels": ["a", "b"]}, response("a"), response("c"), "'a' or 'b'"),
        (ExtractorAgent, {"output": Person}, {"name": "Ada"}, {"age": 3}, "name"),
        (ReviewerAgent, {}, REVIEW, {"issues": [{"severity": "huge", "what": "no"}]}, "'minor', 'major' or 'critical'"),
        (PlannerAgent, {}, PLAN, {"tasks": [*reversed(PLAN["tasks"])]}, "needs 'read', which is not a task before it"),
        (PlannerAgent, {}, PLAN, {"tasks": PLAN["tasks"][:1] * 2}, "Two tasks are called 'read'"),
        (PlannerAgent, {"max_tasks": 2}, PLAN, {"tasks": PLAN["tasks"] * 2}, "at most 2 items"),
        (PlannerAgent, {"workers": {"Ada": "all", "Bo": "none"}}, WORKED, PLAN, "worker"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_to_the_model_which_tries_again(
    make: Any, options: dict[str, Any], right: Any, wrong: Any, said: str
) -> None:
    output, script = answered(make, wrong, right, **options)
    expected = right.get("response", right)
    assert (output.model_dump(exclude_unset=True) if isinstance(output, BaseModel) else output) == expected
    assert len(script.retries) == 1 and said in script.retries[0]


def test_what_stays_wrong_fails_the_step_and_shows_no_value() -> None:
    with pytest.raises(RunFailed) as failed:
        answered(CodeGeneratorAgent, *[{**CODE, "code": "CANARY ("}] * 2, retries=1)
    assert "never with a valid" in str(failed.value) and "CANARY" not in str(failed.value)


def test_queries_may_use_what_sql_has() -> None:
    sql = """with spent as (select user_id, sum(total) as total from orders group by user_id)
        select u.name, s.total from users as u join spent as s on s.user_id = u.id
        union all select name, 0 from users order by 2 desc"""
    output, _ = answered(SQLQueryAgent, {"sql": sql}, schema=TABLES, dialect="postgres")
    assert output.sql == sql


@pytest.mark.parametrize(
    "sql",
    [
        "with gone as (delete from users returning id) select id from gone",
        "select id into copy from users",
        "select u.id from users u, secrets s",
        "create table x as select id from users",
        "pragma table_info(users)",
    ],
)
def test_a_query_that_writes_or_looks_elsewhere_is_never_given(sql: str) -> None:
    with pytest.raises(RunFailed):
        answered(SQLQueryAgent, *[{"sql": sql}] * 3, schema=TABLES, dialect="postgres")


def test_a_schema_may_be_the_statements_that_make_it() -> None:
    ddl = "create table users (id integer primary key, name text not null); create table empty_one (id int);"
    output, script = answered(SQLQueryAgent, QUERY, schema=ddl)
    assert output.sql == QUERY["sql"] and "- users (id INTEGER, name TEXT)" in script.instructions


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: CodeGeneratorAgent(language="cobol"), "code in 'cobol' needs 'check='"),
        (lambda: TextSummarizerAgent(max_words=0), "at least 1 word"),
        (lambda: SQLQueryAgent(schema={}), "a schema has tables"),
        (lambda: SQLQueryAgent(schema="drop table users"), "'create table' statements alone"),
        (lambda: SQLQueryAgent(schema="create tabel ("), "the schema is not SQL of 'sqlite'|alone"),
        (lambda: SQLQueryAgent(schema=TABLES, dialect="klingon"), "no SQL dialect 'klingon'; there are .*duckdb"),
        (lambda: ClassifierAgent(labels=["one"]), "two labels or more"),
        (lambda: ClassifierAgent(labels=["one", "one"]), "two labels or more"),
        (lambda: PlannerAgent(max_tasks=0), "at least 1 task"),
        (lambda: PlannerAgent(workers={}), "has at least one"),
        (lambda: JudgeAgent(criteria={}), "a judge has criteria"),
        (lambda: JudgeAgent(criteria={"a": "b"}, scale=(1, 1)), "a judge has criteria"),
    ],
)  # fmt: skip
def test_a_role_that_cannot_work_is_refused_when_it_is_made(make: Callable[[], object], said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        make()


def test_an_enum_gives_its_members_and_meanings_reach_the_model() -> None:
    mood, _ = answered(ClassifierAgent, response("bad"), labels=Mood)
    assert mood is Mood.BAD
    _, script = answered(ClassifierAgent, response("a"), labels={"a": "what begins", "b": ""})
    assert script.instructions.endswith("\n- a: what begins\n- b")


def test_every_default_can_be_overridden() -> None:
    seen: list[Any] = []

    def look() -> int:
        return 1

    def keep(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        seen.append((info.instructions, info.model_settings, [tool.name for tool in info.function_tools]))
        (tool,) = info.output_tools
        return ModelResponse([ToolCallPart(tool.name, json.dumps(REVIEW))])

    said = {"prompt": "Be kind.", "extra": "Be brief.", "name": "kind", "settings": {"temperature": 0.5}}
    agent = ReviewerAgent(FunctionModel(keep), **said, tools=[look])  # type: ignore[arg-type]
    told = asyncio.run(agent.run("x"))
    assert seen == [("Be kind.\n\nBe brief.", {"temperature": 0.5}, ["look"])]
    assert agent.name == "kind" and told.metadata == {"role": "reviewer", "prompt_version": "own"}


ROLES: Sequence[tuple[Callable[[], Agent[None, Any]], str, Any]] = [
    (CodeGeneratorAgent, "code-generator", CODE),
    (TextSummarizerAgent, "text-summarizer", {"text": "a"}),
    (lambda: SQLQueryAgent(schema=TABLES), "sql-query", QUERY),
    (lambda: ClassifierAgent(labels=["a", "b"]), "classifier", response("a")),
    (lambda: ExtractorAgent(output=Person), "extractor", {"name": "Ada"}),
    (ReviewerAgent, "reviewer", REVIEW),
    (PlannerAgent, "planner", PLAN),
    (lambda: JudgeAgent(criteria=CRITERIA), "judge", VERDICT),
]


@pytest.mark.parametrize(("make", "role", "right"), ROLES)
def test_a_role_says_what_it_is_and_which_prompt_it_has(
    make: Callable[[], Agent[None, Any]], role: str, right: Any
) -> None:
    agent = make()
    assert agent.name == role and agent.model is None
    with agent.override(model=Script(right).model):
        told = asyncio.run(agent.run("x"))
    assert told.metadata == {"role": role, "prompt_version": "1"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"true": {"score": 1}}, "short"), ({**VERDICT, "true": {"score": 2}}, "less than or equal to 1")],
)
def test_a_judge_scores_each_criterion_within_the_scale(wrong: Any, said: str) -> None:
    verdict, script = answered(JudgeAgent, wrong, VERDICT, criteria=CRITERIA)
    assert verdict == Verdict(scores={"true": 1.0, "short": 0.5}, reasons={"short": "long"}) and verdict.overall == 0.75
    assert len(script.retries) == 1 and said in script.retries[0]


def test_what_has_a_major_issue_is_not_approved() -> None:
    minor, major = (ReviewIssue(severity=one, what="x") for one in ("minor", "major"))
    assert Review(issues=[]).approved and Review(issues=[minor]).approved and not Review(issues=[minor, major]).approved
