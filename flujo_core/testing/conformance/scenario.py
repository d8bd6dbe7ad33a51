"""What plugins are tried with: small pipelines that have one of each kind of step, and run in no time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from pydantic import Field

from flujo_core.hooks.call import StepCall
from flujo_core.hooks.spec import Plugin
from flujo_core.model.agent import AgentReply
from flujo_core.model.context import PipelineContext
from flujo_core.model.flow import Node
from flujo_core.model.outcome import Skip
from flujo_core.model.signature import RunInfo
from flujo_core.model.step import Step, step


class Notes(PipelineContext):
    """The context of the pipelines."""

    seen: list[str] = Field(default_factory=list)
    turns: int = 0


class Scenario(NamedTuple):
    """A pipeline to try a plugin with.

    Attributes:
        name: What it is about.
        pipeline: The pipeline.
        helpers: Plugins that it needs.
        input: Its input.
    """

    name: str
    pipeline: Node[str, Any]
    helpers: Sequence[Plugin] = ()
    input: str = "the quick brown fox"


@step
async def think(text: str) -> str:
    await asyncio.sleep(0)
    return text.upper()


@step
def work(text: str) -> str:
    return f"{text}."


@step
async def note(text: str, context: Notes) -> str:
    await asyncio.sleep(0)
    context.seen.append(text)
    context.turns += 1
    return text


@step
async def fail(text: str) -> str:
    await asyncio.sleep(0)
    raise LookupError("it is to fail")


class Skipping(Plugin):
    """Skips the step ``skipped``."""

    name = "flujo-testing-skip"

    async def pre_step_execution(self, call: StepCall, /) -> Skip[str] | None:
        return Skip("skipped") if call.step_name == "skipped" else None


class Parrot:
    """An agent without a model."""

    async def run(self, input: str, /, *, info: RunInfo) -> AgentReply[str]:
        await asyncio.sleep(0)
        return AgentReply(f"{input}, {input}")


SOUND = Scenario("an async step and a step with a context", think >> note)
FAILING = Scenario("a step that fails", think >> fail)
PLAIN = (
    Scenario("an async step", think),
    Scenario("a sync step", work),
    Scenario("a step with a context", note),
    FAILING,
    Scenario("a step that is skipped", think >> work.named("skipped") >> note, (Skipping(),)),
    Scenario("an agent without a model", Step.agent("parrot", Parrot())),
)


@cache
def model_agent() -> Scenario:
    """A pydantic-ai agent with a simulated model; importing that is dear."""
    from pydantic_ai import Agent  # noqa: PLC0415
    from pydantic_ai.models.test import TestModel  # noqa: PLC0415

    return Scenario("a pydantic-ai agent", Step.agent("agent", Agent(TestModel(custom_output_text="a fox"))))
