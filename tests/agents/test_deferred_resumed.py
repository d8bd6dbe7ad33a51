"""Agents whose tools wait for people, in runs: each goes on with the answers, and with the context that it had."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from plugin_kit import alone
from pydantic_ai import Agent, DeferredToolRequests, RunContext
from pydantic_ai.messages import ModelMessage, ModelResponse, RetryPromptPart, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from flujo_core import MemoryStore, Merge, PipelineContext, Plugin, Retry, Step, StepCall


class Log(PipelineContext):
    log: Annotated[list[str], Merge.append] = []


@dataclass
class Deps:
    context: Log


def deps(_: str, *, context: Log) -> Deps:
    return Deps(context)


class Marks(Plugin):
    name = "marks"

    async def pre_step_execution(self, call: StepCall, /) -> None:
        call.context.log.append("pre")  # type: ignore[attr-defined]


def payer(failures: int) -> Agent[Deps, Any]:
    """Adds, then asks whether it may pay, twice; then its model fails, and in the end it is done."""
    left = [failures]

    def model(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        kinds = (ToolReturnPart, RetryPromptPart)
        match sum(isinstance(part, kinds) for message in messages for part in message.parts):
            case 0:
                return ModelResponse([ToolCallPart("add", {"amount": 1}, "a")])
            case 1:
                return ModelResponse([ToolCallPart("pay", {"amount": n}, f"p.{n}") for n in (2, 3)])
        if left[0]:
            left[0] -= 1
            raise RuntimeError
        return ModelResponse([TextPart("done")])

    agent: Agent[Deps, Any] = Agent(
        FunctionModel(model), deps_type=Deps, output_type=[str, DeferredToolRequests]
    )  # fmt: skip

    @agent.tool
    def add(ctx: RunContext[Deps], amount: int) -> str:
        ctx.deps.context.log.append(f"add {amount}")
        return "added"

    @agent.tool(requires_approval=True)
    def pay(ctx: RunContext[Deps], amount: int) -> str:
        ctx.deps.context.log.append(f"pay {amount}")
        return "paid"

    return agent


@pytest.mark.parametrize("hooks", [False, True])
@pytest.mark.parametrize("failures", [0, 1])
@pytest.mark.parametrize("stored", [False, True])
def test_an_agent_goes_on_with_answers_and_with_the_context_that_it_had(
    hooks: bool, failures: int, stored: bool
) -> None:
    async def main() -> None:
        step = Step.agent("payer", payer(failures), deps=deps, retry=Retry(attempts=2))
        store = MemoryStore() if stored else None
        flujo = alone(step, *([Marks()] if hooks else []), context=Log, store=store)
        result = await flujo.run_async("pay", run_id="r")
        pauses = 0
        while result.status == "paused":
            pauses += 1
            tokens = {one.address: one.token for one in result.questions}
            assert list(tokens) == ["payer!tool.p.2", "payer!tool.p.3"]
            result = await flujo.resume_async(
                "r" if stored else result.state, True, token=tokens["payer!tool.p.2"]
            )  # fmt: skip
            assert [one.address for one in result.questions] == ["payer!tool.p.3"]
            answer = {"approved": False, "message": "no"}
            result = await flujo.resume_async(
                "r" if stored else result.state, answer, token=tokens["payer!tool.p.3"]
            )  # fmt: skip
        assert pauses == failures + 1
        assert result.output == "done"
        assert result.context.log == [*(["pre"] if hooks else []), "add 1", "pay 2"]

    asyncio.run(main())
