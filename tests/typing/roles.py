"""What the checkers see of agents: what builders and roles give; and that requests of tools are no output of a step."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, assert_type

from pydantic import BaseModel
from pydantic_ai import Agent, DeferredToolRequests

from flujo_core import (
    AgentBuilder,
    ClassifierAgent,
    ExtractorAgent,
    PipelineContext,
    Review,
    ReviewerAgent,
    SQLQuery,
    SQLQueryAgent,
    Step,
    make_agent_async,
)


class Email(BaseModel):
    text: str


class Draft(BaseModel):
    text: str


class Ticket(PipelineContext):
    paid: int = 0


@dataclass
class Till:
    ticket: Ticket


def prompt(email: Email) -> str:
    return email.text


def till(email: Email, context: Ticket) -> Till:
    return Till(context)


writes: Agent[object, Draft | DeferredToolRequests] = Agent("test", output_type=[Draft, DeferredToolRequests])
pays: Agent[Till, str | DeferredToolRequests] = Agent("test", deps_type=Till, output_type=[str, DeferredToolRequests])
plain = Agent("test", output_type=Draft)
texts = Agent("test")

assert_type(Step.agent("a", writes), Step[str, Draft])
assert_type(Step.agent("a", writes, prompt=prompt), Step[Email, Draft])
assert_type(Step.agent("a", writes, prompt="{{ input.text }}", input=Email), Step[Email, Draft])
assert_type(Step.agent("a", writes, prompt="Hi"), Step[Any, Draft])
assert_type(Step.agent("a", pays, deps=till, prompt="Hi", input=Email), Step[Email, str])
assert_type(Step.agent("a", plain, prompt=prompt), Step[Email, Draft])
assert_type(Step.agent("a", texts), Step[str, str])


class Queue(Enum):
    BILLING = "billing"
    OTHER = "other"


builder = AgentBuilder().with_model("test").with_prompt("Be brief.")
assert_type(builder.build(), Agent[None, str])
assert_type(builder.with_output(Draft).with_settings(temperature=0.0).build(), Agent[None, Draft])
assert_type(make_agent_async("test", "Be brief.", Draft), Agent[None, Draft])
assert_type(ClassifierAgent(labels=Queue), Agent[None, Queue])
assert_type(ClassifierAgent(labels=["billing", "other"]), Agent[None, str])
assert_type(ExtractorAgent(output=Draft), Agent[None, Draft])
assert_type(Step.agent("review", ReviewerAgent(), input=Draft, prompt="{{ input.text }}"), Step[Draft, Review])
assert_type(Step.agent("ask", SQLQueryAgent(schema={"users": {"id": "int"}})), Step[str, SQLQuery])
