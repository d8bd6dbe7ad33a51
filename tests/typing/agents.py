"""What the checkers see of agents whose tools wait for people: their requests are no output of the step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, assert_type

from pydantic import BaseModel
from pydantic_ai import Agent, DeferredToolRequests

from flujo_core import PipelineContext, Step


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
