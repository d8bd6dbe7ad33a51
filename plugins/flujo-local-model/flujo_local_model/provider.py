"""How pydantic-ai reaches the local server: an OpenAI client whose address is known once the server runs."""

from typing import Final

import httpx2
from openai import AsyncOpenAI, BaseModel
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers import Provider

from flujo_local_model.server import LocalServer
from flujo_local_model.weights import MODELS

_ANYWHERE: Final = "http://127.0.0.1/v1"


class _InputTokens(BaseModel):
    input_tokens: int


class LocalProvider(Provider[AsyncOpenAI]):
    """The provider ``local``. ``base_url`` names no port, so that responses of two runs can be equal."""

    def __init__(self, server: LocalServer) -> None:
        self._server = server
        self._client = AsyncOpenAI(
            base_url=_ANYWHERE,
            api_key="not-started",
            max_retries=0,
            timeout=None,  # a request may wait for the one before it; `timeout` of the model settings still holds
            http_client=httpx2.AsyncClient(
                trust_env=False,  # a proxy for the world must not see loopback
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0),
                timeout=None,
                event_hooks={"request": [self._watch]},
            ),
        )

    @property
    def name(self) -> str:
        """``local``."""
        return "local"

    @property
    def base_url(self) -> str:
        """The loopback address without its port."""
        return _ANYWHERE

    @property
    def client(self) -> AsyncOpenAI:
        """The client; call ``connect`` before each use."""
        return self._client

    @staticmethod
    def model_profile(model_name: str) -> OpenAIModelProfile:
        """What a local model can do: text and JSON by grammar; no tools, no files."""
        return OpenAIModelProfile(
            context_window=MODELS[model_name].window,
            supports_json_schema_output=True,
            default_structured_output_mode="native",
            supports_tools=False,
            supports_image_input=False,
            supports_document_input=False,
            supports_audio_file_input=False,
            supports_video_input=False,
            may_tokenize_special_tokens_in_content=True,
            openai_supports_strict_tool_definition=False,
            openai_chat_supports_max_completion_tokens=False,
            openai_chat_supports_multiple_system_messages=False,
            openai_chat_supports_document_input=False,
        )

    async def connect(self) -> None:
        """Start the server unless it runs, and point the client at it."""
        address = await self._server.start_async()
        self._client.base_url = address.url
        self._client.api_key = address.key

    async def count_tokens(self, messages: object) -> int:
        """The tokens of OpenAI chat messages, chat template included, counted by the model's own tokenizer."""
        counted = await self._client.post(
            "/chat/completions/input_tokens", cast_to=_InputTokens, body={"messages": messages}
        )
        return counted.input_tokens

    async def _watch(self, request: httpx2.Request) -> None:
        await self._server.connections.watch(request)
