"""The builder of agents: each piece gives a new one. The models are simulated."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Tool
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel

from flujo_core import AgentBuilder, DefinitionError, Flujo, ModelNotConfigured, RunFailed, Step, make_agent_async


class Kind(BaseModel):
    queue: str


def look(where: str) -> str:
    """Looks somewhere."""
    return where


def test_what_was_said_reaches_the_model() -> None:
    seen: list[Any] = []

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        seen.append((info.instructions, info.model_settings, [tool.name for tool in info.function_tools]))
        return ModelResponse([TextPart("Done")])

    builder = AgentBuilder().with_model(FunctionModel(answer)).with_prompt("Be brief.").with_tool(look)
    agent = builder.with_settings(temperature=0.5).with_settings(max_tokens=9).with_name("brief").build()
    assert Flujo(Step.agent("ask", agent)).run("x").output == "Done"
    assert seen == [("Be brief.", {"temperature": 0.5, "max_tokens": 9}, ["look"])] and agent.name == "brief"


def test_a_builder_is_left_as_it_was() -> None:
    first = AgentBuilder().with_model(TestModel()).with_prompt("one")
    typed = first.with_prompt("two").with_output(Kind).with_tool(look)
    assert first.build().output_type is str and typed.build().output_type is Kind
    assert repr(first) == "<AgentBuilder model=TestModel tools=[]>"
    assert repr(typed) == "<AgentBuilder model=TestModel tools=['look']>"


def test_a_tool_that_needs_approval_asks() -> None:
    builder = AgentBuilder().with_model(TestModel()).with_tool(look, approval=True)
    result = Flujo(Step.agent("ask", builder.build())).run("x")
    assert result.status == "paused" and "look" in result.questions[0].text


def test_what_cannot_be_is_refused_when_it_is_said() -> None:
    builder = AgentBuilder().with_tool(look)
    with pytest.raises(DefinitionError, match="has a tool 'look' already"):
        builder.with_tool(Tool(look))
    with pytest.raises(DefinitionError, match="'requires_approval=True'"):
        AgentBuilder().with_tool(Tool(look), approval=True)
    with pytest.raises(DefinitionError, match="not -1"):
        builder.with_retries(-1)


def test_an_agent_without_a_model_says_what_is_missing() -> None:
    with pytest.raises(RunFailed) as failed:
        Flujo(Step.agent("ask", AgentBuilder().with_prompt("Be brief.").build())).run("x")
    assert isinstance(failed.value.__cause__, ModelNotConfigured) and "has no model" in str(failed.value)


def test_an_agent_without_a_model_takes_one_for_a_while() -> None:
    agent = AgentBuilder().with_retries(1).build()
    with agent.override(model=TestModel(custom_output_text="Done")):
        assert Flujo(Step.agent("ask", agent)).run("x").output == "Done"


def test_the_short_form_is_one_call() -> None:
    agent = make_agent_async(TestModel(custom_output_args={"queue": "billing"}), "Sort the mail.", Kind)
    assert Flujo(Step.agent("sort", agent)).run("x").output == Kind(queue="billing")


def test_a_name_of_a_model_is_looked_up_when_the_agent_runs() -> None:
    agent = make_agent_async("nobody:knows", "Sort the mail.", str)
    with pytest.raises(RunFailed, match="the model 'nobody:knows' cannot be used"):
        Flujo(Step.agent("sort", agent)).run("x")
