"""A run that has a canary in all that a run can keep: for tests of what is left of it. Its model is simulated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flow_kit import State
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from vault import CANARY

from flujo_core import HumanInput, InvalidValue, Map, Parallel, Step, step


def said(what: str) -> str:
    return f"{CANARY}-{what}"


@step
async def first(text: str, context: State) -> str:
    context.word = said("context")
    return said("output")


@step
async def fails(text: str) -> str:
    raise InvalidValue(said("error"))


@step
async def keeps(text: str) -> str:
    return text


@step
async def joined(parts: Any) -> str:
    return str(parts)


def asked() -> Step[Any, str]:
    """An agent whose simulated model calls a tool."""

    async def reply(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        if len(messages) > 1:
            return ModelResponse([TextPart(said("answer of a model"))])
        return ModelResponse([ToolCallPart("look", {"what": said("argument")}, "call-1")])

    agent = Agent(FunctionModel(reply))

    @agent.tool_plain
    def look(what: str) -> str:
        return said("result of a tool")

    made: Step[Any, str] = Step.agent("ask", agent)
    return made


def rich() -> Any:
    each = Map("each", keeps, over=lambda text: [text, f"{text}2"], key=lambda text: f"{text}-key")
    caught = fails.policy(fallback=keeps)
    question = HumanInput("confirm", str, ask=said("question"), approvers=["ann", "bob"], quorum=2)
    fan = Parallel("fan", left=keeps, right=caught)
    return first >> asked() >> each >> joined >> fan >> joined.named("again") >> question >> keeps.named("last")


def bytes_in(folder: Path) -> bytes:
    """All that is in the files of a folder."""
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())
