"""What requests to models cost, and the most that one can: prices of the deployment, of the model itself, of a list."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.settings import ModelSettings, merge_model_settings
from pydantic_core import to_json, to_jsonable_python

from flujo_core.model.agent import model_name
from flujo_core.model.budget import FREE, Price, PricedModel
from flujo_core.model.spend import Most

if TYPE_CHECKING:
    from genai_prices.types import PriceCalculation

SIMULATED = ("test", "function")
"""pydantic-ai's models that ask nobody."""

ADDED = 4096
"""Tokens that providers add to what is sent, for tools and for the ends of messages."""

NO_TEXT = frozenset(
    {"image-url", "audio-url", "video-url", "document-url", "binary", "uploaded-file", "file", "speech"}
)
"""The kinds of content of which the bytes do not bound the tokens."""


class Terms(NamedTuple):
    """What is known of a model.

    Attributes:
        cost: What a request costs, by the tokens that are sent and received, in US dollars; None: not known.
        most: The most that it can cost, likewise.
        context_window: How many tokens a request can have, or None.
        max_output_tokens: How many tokens it gives at most, where a request does not say; or None.
        is_listed: Whether a list has its prices, with which pydantic-ai works out costs by itself.
    """

    cost: Callable[[int, int], Decimal] | None
    most: Callable[[int, int], Decimal] | None
    context_window: int | None
    max_output_tokens: int | None
    is_listed: bool = False


def terms_of(model: Model, prices: Mapping[str, Price]) -> Terms:
    """What is known of a model.

    Args:
        model: The model.
        prices: The deployment's prices, by patterns of names of models.
    """
    name = model_name(model) or ""
    given = next((price for pattern, price in prices.items() if fnmatchcase(name, pattern)), None)
    if given is None and isinstance(model, PricedModel):
        given = model.price
    if given is None and model.system in SIMULATED:
        given = FREE
    if given is not None:
        return Terms(given.of, given.of, given.context_window, given.max_output_tokens)
    return _listed(model)


def most_of(
    terms: Terms,
    model: Model,
    messages: Sequence[ModelMessage],
    settings: ModelSettings | None,
    parameters: ModelRequestParameters,
) -> Most:
    """The most that a request can use and cost.

    Args:
        terms: What is known of the model.
        model: The model.
        messages: What it is sent.
        settings: The settings of the request.
        parameters: The tools and the output that it is told of.
    """
    merged = merge_model_settings(model.settings, settings) or {}
    sent = _input_tokens(terms, messages, parameters)
    received = merged.get("max_tokens") or terms.max_output_tokens or terms.context_window
    if sent is None or received is None:
        fixed = terms.cost is not None and terms.cost(10**9, 10**9) == terms.cost(0, 0)  # whatever it says
        return Most(terms.cost(0, 0) if fixed and terms.cost is not None else None, None, 1)
    priced = terms.most is not None and not parameters.native_tools
    tokens = sent + received if terms.context_window is None else min(sent + received, terms.context_window)
    return Most(terms.most(sent, received) if priced and terms.most is not None else None, tokens, 1)


def cost_of(terms: Terms, response: ModelResponse) -> Decimal | None:
    """What a request has cost, in US dollars; None where that is not known."""
    usage = response.usage
    if usage.unmeasured_requests:
        return None
    if terms.cost is not None and not terms.is_listed:
        return terms.cost(usage.input_tokens, usage.output_tokens)
    if usage.cost is not None:
        return usage.cost
    try:
        return response.cost().total_price
    except (LookupError, ValueError, AssertionError):  # the list does not know it, or the response says too little
        return None


def _input_tokens(terms: Terms, messages: Sequence[ModelMessage], parameters: ModelRequestParameters) -> int | None:
    plain = ModelMessagesTypeAdapter.dump_python(list(messages), mode="json", fallback=str, warnings="none")
    asked = to_json(to_jsonable_python(parameters, fallback=str, bytes_mode="base64"))
    if any(kind in NO_TEXT for kind in _kinds(plain)):
        return terms.context_window
    bound = len(to_json(plain)) + len(asked) + ADDED
    return bound if terms.context_window is None else min(bound, terms.context_window)


def _kinds(value: Any) -> Iterator[str]:
    """What kinds of content there are in messages, as JSON."""
    if isinstance(value, dict):
        for name in ("kind", "part_kind"):
            if isinstance(value.get(name), str):
                yield value[name]
        for one in value.values():
            yield from _kinds(one)
    elif isinstance(value, list):
        for one in value:
            yield from _kinds(one)


def _listed(model: Model) -> Terms:
    """What genai-prices knows of a model."""
    for provider_id, url in _places(model):
        listed = _Listed(model.model_name, provider_id, url)
        try:
            known = listed.price(None, input_tokens=1, output_tokens=1).model
        except (LookupError, ValueError):
            continue
        listed.contexts += [one.when for one in known.price_variants or ()]
        return Terms(listed.cost, listed.most, known.context_window, None, is_listed=True)
    return Terms(None, None, None, None)


def _places(model: Model) -> Iterator[tuple[str | None, str | None]]:
    """Whose model it is, as a list of prices asks: by its URL, which says it best, and by its system."""
    with suppress(AttributeError, UserError):  # of a model that has no URL
        if model.base_url:
            yield None, model.base_url
    yield model.system, None


class _Listed:
    """The prices of a model that is on the list.

    Args:
        name: The model's name.
        provider_id: Who gives it, or None.
        url: Where, or None.

    Attributes:
        contexts: What the list asks besides, such as a tier of service: each that has prices of its own.
    """

    def __init__(self, name: str, provider_id: str | None, url: str | None) -> None:
        self._name = name
        self._provider_id = provider_id
        self._url = url
        self.contexts: list[Mapping[str, str] | None] = [None]

    def price(self, context: Mapping[str, str] | None, **usage: int) -> PriceCalculation:
        """What a request costs."""
        from genai_prices import Usage, calc_price  # noqa: PLC0415 - takes long to import

        if self._url is not None:
            return calc_price(Usage(**usage), self._name, provider_api_url=self._url, price_context=context)
        return calc_price(Usage(**usage), self._name, provider_id=self._provider_id, price_context=context)

    def cost(self, sent: int, received: int) -> Decimal:
        """What a request costs whose tokens are all alike."""
        return self.price(None, input_tokens=sent, output_tokens=received).total_price

    def most(self, sent: int, received: int) -> Decimal:
        """What a request costs at most, whatever its tokens are: written to a cache, read from it, or sound."""
        ways: list[dict[str, int]] = [
            {},
            {"cache_write_tokens": sent},
            {"cache_write_tokens": sent, "cache_write_1h_tokens": sent},
            {"cache_read_tokens": sent},
            {"input_audio_tokens": sent},
            {"output_audio_tokens": received},
        ]
        usual = {"input_tokens": sent, "output_tokens": received}
        return max(self.price(one, **usual, **way).total_price for one in self.contexts for way in ways)
