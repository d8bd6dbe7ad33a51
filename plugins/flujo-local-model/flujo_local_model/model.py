"""The pydantic-ai model over a local server, and the factory that makes it from a name."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final, cast

from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import ModelRequestParameters, StreamedResponse
from pydantic_ai.settings import ModelSettings, merge_model_settings
from pydantic_ai.tools import RunContext
from pydantic_ai.usage import RequestUsage

from flujo_core import ConfigurationError, Price
from flujo_local_model.errors import room_for_reply
from flujo_local_model.schema import bounded
from flujo_local_model.server import default_threads, require_engine, shared_server
from flujo_local_model.weights import weights_of

try:
    from openai.types.chat import ChatCompletion, ChatCompletionChunk
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIStreamedResponse

    from flujo_local_model.provider import LocalProvider
except ImportError as error:
    raise ConfigurationError(
        "local models need the package 'openai'; run 'pip install \"pydantic-ai-slim[openai]\"'"
    ) from error

DEFAULT_MAX_TOKENS: Final = 1024
"""Tokens that a reply may have, unless the model settings say otherwise."""

AGAINST_LOOPS: Final = ({"dry_multiplier": 0.8}, {"repeat_penalty": 1.05})
"""What keeps llama.cpp from repeating itself, in plain text and in JSON; ``extra_body`` of the settings replaces it."""

_DEFAULTS: Final = ModelSettings(max_tokens=DEFAULT_MAX_TOKENS, temperature=0.0, seed=0)


def local_model(name: str) -> "LocalModel":
    """The model ``local:name``; called by Flujo for such names, and by hand for an ``Agent`` of your own.

    Raises:
        ConfigurationError: There is no such model, or something it needs is not installed.
    """
    return LocalModel(name)


class LocalModel(OpenAIChatModel):
    """A small model that runs in this process, without a key, a network or a price.

    - The first request loads the model; all agents of the process share it, and requests take turns.
    - Structured output is held to its schema by a grammar (``bounded`` says what happens to the schema first).
    - A reply ends after ``max_tokens`` (1,024 by default), and always within the window that input and reply share.
    - The same request gives the same reply: the temperature is 0, and nothing is taken from earlier requests.

    Attributes:
        price: Nothing; budgets know by it how many tokens a request can have.

    Args:
        name: The name after ``local:``.
        threads: Threads that compute; by default ``FLUJO_LOCAL_MODEL_THREADS``, or one less than the usable cores.
        settings: Model settings to use instead of the defaults, one by one.

    Raises:
        ConfigurationError: There is no such model, or something it needs is not installed.
    """

    def __init__(self, name: str, *, threads: int | None = None, settings: ModelSettings | None = None) -> None:
        weights = weights_of(name)
        require_engine()
        weights.locate()
        self._window = weights.window
        self.price = Price(context_window=weights.window)
        self._local = LocalProvider(shared_server(weights, threads or default_threads()))
        super().__init__(name, provider=self._local, settings=merge_model_settings(_DEFAULTS, settings))

    def customize_request_parameters(self, model_request_parameters: ModelRequestParameters) -> ModelRequestParameters:
        """Bound the schema of the output, and refuse tools.

        Raises:
            ConfigurationError: The agent has tools, or asks for ``ToolOutput``.
        """
        parameters = super().customize_request_parameters(model_request_parameters)
        self._refuse_tools(parameters)
        if parameters.output_object is None:
            return parameters
        schema = bounded(parameters.output_object.json_schema)
        return replace(parameters, output_object=replace(parameters.output_object, json_schema=schema))

    def prepare_request(
        self, model_settings: ModelSettings | None, model_request_parameters: ModelRequestParameters
    ) -> tuple[ModelSettings | None, ModelRequestParameters]:
        """As in pydantic-ai; and ``PromptedOutput`` is held to its schema by the grammar too."""
        settings, parameters = super().prepare_request(model_settings, model_request_parameters)
        if parameters.output_mode == "prompted" and parameters.output_object is not None:
            parameters = replace(parameters, output_mode="native")
        return settings, parameters

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Ask the model; cancelling stops it.

        Raises:
            InputTooLong: The messages leave too little of the window for a reply; nothing was sent.
        """
        settings = await self._fitted(messages, model_settings, model_request_parameters)
        return await super().request(messages, settings, model_request_parameters)

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """Ask the model, and give its tokens as they come; leaving the block stops it.

        Raises:
            InputTooLong: The messages leave too little of the window for a reply; nothing was sent.
        """
        settings = await self._fitted(messages, model_settings, model_request_parameters)
        async with super().request_stream(messages, settings, model_request_parameters, run_context) as stream:
            yield stream

    async def count_tokens(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> RequestUsage:
        """The tokens of a request that is not sent; it starts the server, and asks its tokenizer."""
        settings, parameters = self.prepare_request(model_settings, model_request_parameters)
        await self._local.connect()
        mapped = await self._map_messages(messages, parameters, model_settings=settings)
        return RequestUsage(input_tokens=await self._local.count_tokens(mapped), cost=Decimal(0))

    async def _fitted(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelSettings:
        """The settings with a ``max_tokens`` that fits the window beside these messages."""
        counted = await self.count_tokens(messages, model_settings, model_request_parameters)
        steadying = AGAINST_LOOPS[model_request_parameters.output_object is not None]
        chosen: dict[str, Any] = {"extra_body": steadying, **(self.settings or {}), **(model_settings or {})}
        chosen["max_tokens"] = room_for_reply(
            f"{self.system}:{self.model_name}",
            found=counted.input_tokens,
            wanted=chosen.get("max_tokens") or DEFAULT_MAX_TOKENS,
            window=self._window,
        )
        return cast(ModelSettings, chosen)

    def _refuse_tools(self, parameters: ModelRequestParameters) -> None:
        if parameters.function_tools or parameters.output_mode == "tool":
            what = "tools" if parameters.function_tools else "ToolOutput"
            raise ConfigurationError(
                f"'{self.system}:{self.model_name}' cannot call tools and was given {what}; "
                "ask for the values you need with a structured output type, or take another model"
            )

    @property
    def _streamed_response_cls(self) -> type[OpenAIStreamedResponse]:
        return _FreeStream

    def _map_usage(self, response: ChatCompletion) -> RequestUsage:
        return _free(super()._map_usage(response))


class _FreeStream(OpenAIStreamedResponse):
    def _map_usage(self, response: ChatCompletionChunk) -> RequestUsage:
        return _free(super()._map_usage(response))


def _free(usage: RequestUsage) -> RequestUsage:
    """A cost that is set is kept by pydantic-ai; it looks a price up only where there is none."""
    return replace(usage, cost=Decimal(0))
