"""What requests cost, and the most that one can: no request ever costs more than its most."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_ai import ImageUrl
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, UserPromptPart
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.native_tools import WebSearchTool
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.usage import RequestUsage

from flujo_core import Price
from flujo_core.agents.prices import ADDED, cost_of, most_of, terms_of
from flujo_core.model.spend import Most

PLAIN = ModelRequestParameters()


def openai(name: str, url: str = "https://api.openai.com/v1/", **settings: Any) -> OpenAIChatModel:
    return OpenAIChatModel(name, provider=OpenAIProvider(base_url=url, api_key="none"), settings=settings or None)


def asked(*content: Any) -> list[ModelMessage]:
    return [ModelRequest(parts=[UserPromptPart(list(content))])]


def used(name: str, **usage: int) -> ModelResponse:
    return ModelResponse([TextPart("x")], usage=RequestUsage(**usage), model_name=name, provider_name="openai")


@given(
    st.sampled_from(["gpt-4o-mini", "gpt-5", "o3-mini", "gpt-4o-audio-preview"]),
    st.text(max_size=300),
    st.integers(1, 5000),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_a_request_of_a_listed_model_never_costs_more_than_its_most(
    name: str, text: str, limit: int, sent: float, received: float, cached: float
) -> None:
    model = openai(name)
    terms = terms_of(model, {})
    most = most_of(terms, model, asked(text), {"max_tokens": limit}, PLAIN)
    assert most.tokens is not None and most.cost_usd is not None and most.requests == 1
    bound = most.tokens - limit
    tokens = round(bound * sent)
    response = used(
        name, input_tokens=tokens, output_tokens=round(limit * received), cache_read_tokens=round(tokens * cached)
    )
    cost = cost_of(terms, response)
    assert cost is not None and cost <= most.cost_usd


def test_without_max_tokens_the_context_window_bounds_a_request() -> None:
    model = openai("gpt-4o-mini")
    most = most_of(terms_of(model, {}), model, asked("hello"), None, PLAIN)
    assert most.tokens == 128_000
    bounded = most_of(terms_of(model, {}), model, asked("hello"), {"max_tokens": 100}, PLAIN)
    assert bounded.tokens is not None and ADDED < bounded.tokens < ADDED + 2000


def test_max_tokens_of_the_model_itself_count() -> None:
    model = openai("gpt-4o-mini", max_tokens=100)
    assert (most_of(terms_of(model, {}), model, asked("hello"), None, PLAIN).tokens or 0) < ADDED + 2000


def test_what_is_no_text_is_bounded_by_the_context_window() -> None:
    model = openai("gpt-4o-mini")
    image = asked("look", ImageUrl("https://example.org/a.png"))
    assert most_of(terms_of(model, {}), model, image, {"max_tokens": 10}, PLAIN).tokens == 128_000
    private = terms_of(model, {"openai:*": Price(input_usd_per_mtok=1)})
    assert most_of(private, model, image, {"max_tokens": 10}, PLAIN) == Most(None, None, 1)


def test_native_tools_have_no_known_price() -> None:
    model = openai("gpt-4o-mini")
    tools = ModelRequestParameters(native_tools=[WebSearchTool()])
    assert most_of(terms_of(model, {}), model, asked("hello"), {"max_tokens": 10}, tools).cost_usd is None


def test_the_prices_of_the_deployment_come_before_all_others() -> None:
    model = openai("gpt-4o-mini")
    terms = terms_of(model, {"anthropic:*": Price(), "openai:gpt-4o*": Price(request_usd=2), "openai:*": Price()})
    assert terms.most is not None and terms.most(10, 10) == 2
    response = used("gpt-4o-mini", input_tokens=5, output_tokens=5)
    response.usage.cost = Decimal(7)  # what a gateway says
    assert cost_of(terms, response) == 2
    assert cost_of(terms_of(model, {}), response) == 7


def test_what_a_response_does_not_tell_is_not_known() -> None:
    model = openai("gpt-4o-mini")
    response = used("gpt-4o-mini", input_tokens=5)
    response.usage.unmeasured_requests = 1
    assert cost_of(terms_of(model, {}), response) is None
    assert cost_of(terms_of(openai("a-model-of-our-own"), {}), used("a-model-of-our-own", input_tokens=5)) is None


def test_a_model_at_an_unknown_place_is_known_by_its_system() -> None:
    terms = terms_of(openai("gpt-4o-mini", "https://proxy.example.org/"), {})
    assert terms.context_window == 128_000 and terms.is_listed


def test_a_model_that_says_its_price_is_asked_and_simulated_ones_are_free() -> None:
    class Priced(TestModel):
        price = Price(request_usd=3)

    terms = terms_of(Priced(), {})
    assert terms.cost is not None and terms.cost(1, 1) == 3
    for model in (TestModel(), FunctionModel(lambda messages, info: ModelResponse([]))):
        free = most_of(terms_of(model, {}), model, asked("x"), None, PLAIN)
        assert free == Most(Decimal(), None, 1)


@pytest.mark.parametrize("name", ["a-model-of-our-own"])
def test_of_a_model_that_nobody_knows_only_the_request_is_known(name: str) -> None:
    model = openai(name)
    terms = terms_of(model, {})
    assert terms.cost is None
    assert most_of(terms, model, asked("x"), {"max_tokens": 5}, PLAIN).cost_usd is None
