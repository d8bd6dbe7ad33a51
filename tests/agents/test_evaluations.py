"""The evaluation sets of roles: right answers hold, wrong ones do not. The models are simulated."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from flujo_core import DefinitionError, PluginSettings, Settings
from flujo_core.agents.evaluations import EVALUATIONS
from flujo_core.testing import evaluate_role

ALONE = Settings(PluginSettings(allow=()))
SEARCH = {"name": "find", "goal": "sources", "worker": "search"}
WRITE = {"name": "tell", "goal": "a page", "worker": "write"}
WRONG = {"severity": "major", "what": "it subtracts"}


def code(text: str) -> dict[str, str]:
    return {"language": "python", "code": text}


def judged(polite: float, short: float) -> dict[str, Any]:
    return {"polite": {"score": polite}, "short": {"score": short}}


RIGHT: dict[str, list[Any]] = {
    "code-generator": [
        code("def add(a, b):\n    return a + b"),
        code("def is_leap(year):\n    return True"),
        code("print('hello')"),
    ],
    "text-summarizer": [{"text": "Mia was found."}, {"text": "A cat was found."}, {"text": "Closed on Monday."}],
    "sql-query": [
        {"sql": "select name from customers"},
        {"sql": "select count(*) from orders"},
        {"sql": "select c.name, sum(o.total) from customers c join orders o on o.customer_id = c.id group by c.name"},
    ],
    "classifier": [{"response": "billing"}, {"response": "bug"}, {"response": "other"}],
    "extractor": [{"number": "A-17"}, {"number": "A-17", "total": 120.5}, {"number": "2026/9"}],
    "reviewer": [{"issues": []}, {"issues": [WRONG]}, {"issues": [WRONG]}],
    "planner": [{"tasks": [SEARCH, WRITE]}, {"tasks": [SEARCH, WRITE]}, {"tasks": [WRITE]}],
    "judge": [judged(1, 1), judged(0, 1), judged(0, 1)],
}
POOR: dict[str, list[Any]] = {
    "code-generator": [code("def plus(a, b): ..."), code("def is_leap(): ..."), code("hello = 1")],
    "text-summarizer": [{"text": "A dog."}, {"text": "very " * 25}, {"text": "Closed."}],
    "sql-query": [{"sql": "select id from orders"}, {"sql": "select id from orders"}, {"sql": "select 1"}],
    "classifier": [{"response": "bug"}, {"response": "other"}, {"response": "billing"}],
    "extractor": [{"number": "17"}, {"number": "A-17", "total": 17}, {"number": "2026/9", "total": 2026}],
    "reviewer": [{"issues": [WRONG]}, {"issues": []}, {"issues": []}],
    "planner": [{"tasks": [WRITE]}, {"tasks": [SEARCH]}, {"tasks": [SEARCH, WRITE]}],
    "judge": [judged(0, 1), judged(1, 1), judged(1, 0)],
}


def model(answers: list[Any]) -> FunctionModel:
    """Gives one answer after the other."""
    left = list(answers)

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse([ToolCallPart(info.output_tools[0].name, json.dumps(left.pop(0)))])

    return FunctionModel(answer)


@pytest.mark.parametrize("role", EVALUATIONS)
def test_right_answers_hold_and_poor_ones_do_not(role: str) -> None:
    right = asyncio.run(evaluate_role(role, model(RIGHT[role]), settings=ALONE))
    assert [(score.held, score.error) for score in right] == [(True, None)] * 3
    poor = asyncio.run(evaluate_role(role, model(POOR[role]), settings=ALONE))
    assert [(score.held, score.error) for score in poor] == [(False, None)] * 3


def test_an_agent_that_fails_fails_its_case() -> None:
    never = [{"response": "nonsense"}] * 9
    scores = asyncio.run(evaluate_role("classifier", model(never), settings=ALONE))
    assert not any(score.held for score in scores) and all("never with a valid" in (one.error or "") for one in scores)


def test_a_role_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(DefinitionError, match=r"no role 'critic'; there are code-generator, .*judge"):
        asyncio.run(evaluate_role("critic", "test", settings=ALONE))
