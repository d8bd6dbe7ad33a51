"""The real model: text, JSON, deltas, limits, cancelling, and what it refuses."""

import asyncio
import time
from decimal import Decimal
from typing import Any

import pytest
from flujo_local_model import InputTooLong, LocalModel
from pydantic import BaseModel
from pydantic_ai import Agent, AgentRunResult, PromptedOutput, ToolOutput
from pydantic_ai.messages import AgentStreamEvent, ModelRequest, PartDeltaEvent, TextPartDelta
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.settings import ModelSettings

from flujo_core import Budget, BudgetExceeded, ConfigurationError, Flujo, PluginSettings, Settings, Step

LONG_REPLY = ModelSettings(max_tokens=3000, extra_body={"ignore_eos": True})
TEXT = ModelRequestParameters()


def ask(agent: Agent[None, Any], prompt: str, **options: Any) -> AgentRunResult[Any]:
    """``run_sync`` without the event loop that it leaves open."""
    return asyncio.run(agent.run(prompt, **options))


class Cat(BaseModel):
    name: str
    legs: int
    story: str


def test_text_with_its_usage_and_price(model: LocalModel) -> None:
    result = ask(Agent(model, instructions="Be brief."), "What is the capital of France?")
    assert "Paris" in result.output
    assert result.usage.input_tokens > 10
    assert result.usage.output_tokens > 3
    assert result.response.usage.cost == Decimal(0)
    assert (result.response.model_name, result.response.provider_name) == ("smollm2", "local")
    assert result.response.provider_url == "http://127.0.0.1/v1"


@pytest.mark.parametrize("output", [Cat, PromptedOutput(Cat)], ids=["native", "prompted"])
def test_output_without_bounds_ends_soon_and_fits_its_type(model: LocalModel, output: type[Cat]) -> None:
    result = ask(Agent(model, output_type=output), "Tell me everything about the cat Luna.")
    assert isinstance(result.output, Cat)
    assert len(result.output.story) <= 256
    assert result.usage.requests == 1


def test_the_same_request_gives_the_same_reply(model: LocalModel) -> None:
    agent = Agent(model, model_settings=ModelSettings(max_tokens=24))
    first, _, again = (ask(agent, f"Write a line about {what}.").output for what in ("rain", "sun", "rain"))
    assert first == again


def test_deltas_come_as_they_are_made(model: LocalModel) -> None:
    seen: list[str] = []

    async def handle(_: object, events: object) -> None:
        async for event in events:  # type: ignore[attr-defined]
            seen.append(_delta(event))

    result = ask(Agent(model), "Count to five.", model_settings={"max_tokens": 20}, event_stream_handler=handle)
    assert len([delta for delta in seen if delta]) > 3
    assert result.output.endswith("".join(seen)[-3:])
    assert result.response.usage.cost == Decimal(0)
    assert result.usage.output_tokens > 3


def _delta(event: AgentStreamEvent) -> str:
    if isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
        return event.delta.content_delta
    return ""


def test_input_over_the_window_is_refused_and_not_quoted(model: LocalModel) -> None:
    with pytest.raises(InputTooLong) as caught:
        ask(Agent(model), "marzipan " * 4000)
    message = str(caught.value)
    assert "at most 3,840" in message
    assert "window of 4,096 tokens" in message
    assert f"{caught.value.found:,} tokens" in message
    assert "marzipan" not in message
    assert caught.value.found > 4096


def test_budgets_know_that_it_is_free_and_how_many_tokens_a_request_can_have(model: LocalModel) -> None:
    node = Step.agent("a", Agent(model), input=str)
    budgets = [Budget(cost_usd=0), Budget(tokens=4096)]
    result = Flujo(node, settings=Settings(PluginSettings(allow=())), budgets=budgets).run("Say yes.")
    assert result.usage.cost_usd == 0
    with pytest.raises(BudgetExceeded):
        Flujo(node, settings=Settings(PluginSettings(allow=())), budgets=[Budget(tokens=10)]).run("Say yes.")


def test_max_tokens_is_kept(model: LocalModel) -> None:
    result = ask(Agent(model), "Tell me a story.", model_settings={"max_tokens": 5})
    assert result.usage.output_tokens == 5


@pytest.mark.parametrize("stream", [False, True])
def test_a_cancelled_request_does_not_hold_up_the_next(model: LocalModel, stream: bool) -> None:
    async def cancel_then_ask() -> float:
        task = asyncio.create_task(_tell(model, "Tell me a story.", stream))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        started = time.monotonic()
        await Agent(model).run("Hello", model_settings={"max_tokens": 2})
        return time.monotonic() - started

    assert asyncio.run(cancel_then_ask()) < 5


async def _tell(model: LocalModel, prompt: str, stream: bool) -> None:
    agent = Agent(model, model_settings=LONG_REPLY)
    if not stream:
        await agent.run(prompt)
        return
    async with agent.run_stream(prompt) as reply:
        async for _ in reply.stream_text():
            continue


def test_chat_markup_in_the_input_stays_text(model: LocalModel) -> None:
    honest = asyncio.run(model.count_tokens([ModelRequest.user_text_prompt("x")], None, TEXT)).input_tokens
    plain = ask(Agent(model), "x<|im_end|>", model_settings={"max_tokens": 1})
    assert plain.usage.input_tokens > honest + 2  # as the one token it would end the turn with, it would add 1


def test_tools_are_refused(model: LocalModel) -> None:
    agent = Agent(model)

    @agent.tool_plain
    def weather(city: str) -> str:
        return city

    with pytest.raises(ConfigurationError, match="'local:smollm2' cannot call tools and was given tools"):
        ask(agent, "What is the weather in Paris?")
    with pytest.raises(ConfigurationError, match="cannot call tools and was given ToolOutput"):
        ask(Agent(model, output_type=ToolOutput(Cat)), "Luna")
