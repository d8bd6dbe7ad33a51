"""Agents from text. The models are simulated."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel

from flujo_core import DefinitionError, Flujo, MemoryStore, Step, agent_from_spec, agent_spec_schema
from flujo_core.agents.evaluations import EVALUATIONS
from flujo_core.agents.spec import FACTORIES

PERSON = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
SPECS: dict[str, dict[str, Any]] = {
    "code-generator": {"language": "json"},
    "text-summarizer": {"max_words": 5},
    "sql-query": {"schema": {"users": {"id": "integer"}}, "dialect": "postgres"},
    "classifier": {"labels": {"a": "the first", "b": ""}},
    "extractor": {"output": PERSON},
    "reviewer": {"criteria": ["It is short."]},
    "planner": {"workers": {"Ada": "everything"}, "max_tasks": 2},
    "judge": {"criteria": {"polite": "It is polite."}, "scale": [0.0, 10.0]},
}


@pytest.mark.parametrize("role", SPECS)
def test_a_spec_makes_the_agent_of_its_role(role: str) -> None:
    told: list[str] = []

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        told.append(
            f"{info.instructions} {json.dumps(info.output_tools[0].parameters_json_schema)} {info.model_settings}"
        )
        raise ZeroDivisionError

    spec = {"role": role, **SPECS[role], "extra": "Be brief.", "name": "mine", "settings": {"temperature": 0.5}}
    agent, same = agent_from_spec(spec), FACTORIES[role]
    given = {name: value for name, value in spec.items() if name != "role"}
    if role == "extractor":
        given["output"] = agent.output_type
    for one in (agent, same(**given)):
        with one.override(model=FunctionModel(answer)), pytest.raises(ZeroDivisionError):
            asyncio.run(one.run("x"))
    assert agent.name == "mine" and told[0] == told[1] and "Be brief." in told[0] and "0.5" in told[0]


def test_every_role_has_a_spec_and_an_evaluation_set() -> None:
    assert set(SPECS) == set(FACTORIES) == set(EVALUATIONS)


def test_a_spec_without_a_role_is_an_agent_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "sorter.yaml"
    path.write_text(
        "name: sorter\nprompt: Sort it.\nretries: 3\noutput: {type: object, properties: {queue: {type: string}}}\n"
    )
    agent = agent_from_spec(path)

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        assert info.instructions == "Sort it."
        return ModelResponse([ToolCallPart(info.output_tools[0].name, {"queue": "bugs"})])

    with agent.override(model=FunctionModel(answer)):
        result = Flujo(Step.agent("sort", agent), store=MemoryStore()).run("x")
    assert agent.name == "sorter" and result.output == {"queue": "bugs"}


def test_json_is_yaml_and_text_is_the_output_unless_told() -> None:
    agent = agent_from_spec('{"model": "test", "settings": {"temperature": 0}}')
    with agent.override(model=TestModel(custom_output_text="Done")):
        assert Flujo(Step.agent("ask", agent)).run("x").output == "Done"
    assert agent.model == "test"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("role: [", "cannot be read: line 1, column 8 is not YAML"),
        ("just text", "has names with values, such as 'role: reviewer'; it is a str"),
        ("1: a", "has names with values"),
        ({"role": "reviwer"}, "is of role 'reviwer', which is none; did you mean 'reviewer'"),
        ({"role": "chef"}, "is of role 'chef', which is none; there are code-generator, .*own"),
        ({"role": "judge"}, "of role 'judge', is not valid: 'criteria': Field required"),
        ({"role": "reviewer", "criterias": []}, "'criterias' is not known; did you mean 'criteria'"),
        ({"role": "text-summarizer", "max_words": "many"}, "'max_words': Input should be a valid integer"),
        ({"prompt": "x", "salt": 1}, "'salt' is not known; there are model, name, prompt, settings, retries, output"),
        ({"role": "extractor", "output": {"type": "string"}}, "JSON Schema of an object"),
        ({"role": "classifier", "labels": ["one"]}, "two labels or more"),
        (Path("/nowhere/agent.yaml"), "the agent spec '/nowhere/agent.yaml' cannot be read: No such file"),
    ],
)
def test_what_is_wrong_with_a_spec_is_said_with_its_place(spec: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said) as wrong:
        agent_from_spec(spec)
    assert "many" not in str(wrong.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DefinitionError, match=r"cannot be read"):
        agent_from_spec(tmp_path / "agent.yaml")


def test_editors_have_a_schema() -> None:
    schema = agent_spec_schema()
    assert set(schema["discriminator"]["mapping"]) == {*FACTORIES, "own"}
    assert json.loads(json.dumps(schema)) == schema


def test_a_spec_is_the_same_where_httpx_is_installed() -> None:
    """It is here; pydantic-ai's own settings then have a type that no text can say."""
    assert importlib.util.find_spec("httpx")
    settings = agent_spec_schema()["$defs"]["_Settings"]["properties"]
    assert settings["timeout"] == {"title": "Timeout", "type": "number"}
    assert agent_from_spec({"model": "test", "settings": {"timeout": 3}}).model_settings == {"timeout": 3}
    with pytest.raises(DefinitionError, match=r"'settings\.timeout': Input should be a valid number"):
        agent_from_spec({"settings": {"timeout": "long"}})
