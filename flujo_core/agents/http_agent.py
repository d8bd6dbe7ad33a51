"""HTTPAgent: an agent behind a plain HTTP endpoint."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Generic, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json, to_json
from typing_extensions import TypeVar

from flujo_core.agents.status import may_pass
from flujo_core.errors import DefinitionError, ModelMisbehaved, ModelRejected, ModelUnavailable
from flujo_core.model.agent import AgentReply, Usage
from flujo_core.model.check import type_name
from flujo_core.model.signature import RunInfo
from flujo_core.model.value import adapter, flaws

if TYPE_CHECKING:
    from httpx2 import Response

In = TypeVar("In", contravariant=True, default=str)
Out = TypeVar("Out", covariant=True, default=str)

Headers: TypeAlias = Mapping[str, str] | Callable[[], Mapping[str, str] | Awaitable[Mapping[str, str]]]
"""Headers, or a function that gives them for each request, as one that fetches a token does."""


class _Used(BaseModel):
    model_config = ConfigDict(extra="ignore")

    requests: int = Field(default=1, ge=0)
    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)
    tool_calls: int = Field(default=0, ge=0)


class _Reply(BaseModel):
    model_config = ConfigDict(extra="ignore")

    output: Any
    usage: _Used = _Used()


class HTTPAgent(Generic[In, Out]):
    """An agent that is asked by a POST of JSON, and answers with JSON.

    The request is ``{"input": ..., "feedback": ..., "run_id": ..., "tenant": ..., "address": ..., "attempt": ...}``,
    with the header ``Idempotency-Key``: equal for all attempts of the step in the run. ``feedback`` is what a validator
    said of the attempt before, or null. The reply is ``{"output": ...}`` and, if it likes, ``"usage"`` with
    ``requests``, ``input_tokens``, ``output_tokens`` and ``tool_calls``.

    A connection that fails, a status from 500 up, and 408, 409, 425 or 429 are ``ModelUnavailable``; another status
    that is no success is ``ModelRejected``; a reply that cannot be read is ``ModelMisbehaved``. Redirects are not
    followed.

    Args:
        url: Where it is.
        takes: The type of the input.
        gives: The type of the output.
        headers: Headers of each request, or a function that gives them; they are never shown.
        timeout: Seconds to wait for a connection, and for each part of the reply. How long an attempt may take in all
            is the step's ``timeout``.
        max_bytes: The size of the largest reply that is read.
        egress: Whether what it is given leaves the boundary, or the name of where to; False of a server inside.

    Raises:
        DefinitionError: The URL is none of HTTP, or a number is not above 0.
    """

    def __init__(
        self,
        url: str,
        *,
        takes: type[In] = str,  # type: ignore[assignment]
        gives: type[Out] = str,  # type: ignore[assignment]
        headers: Headers | None = None,
        timeout: float = 60.0,
        max_bytes: int = 10 * 1024 * 1024,
        egress: bool | str = True,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise DefinitionError("the URL of an HTTPAgent begins with 'http://' or 'https://'")
        if not (timeout > 0 and max_bytes > 0):
            raise DefinitionError("'timeout' and 'max_bytes' of an HTTPAgent are above 0")
        self.takes: Any = takes
        self.gives: Any = gives
        self.egress = egress
        self._url = url
        self._headers = headers
        self._timeout = timeout
        self._max_bytes = max_bytes

    def __repr__(self) -> str:
        return f"<HTTPAgent gives '{type_name(self.gives)}'>"

    async def run(self, input: In, /, *, info: RunInfo) -> AgentReply[Out]:
        """Asks it.

        Raises:
            ModelError: It gave nothing that can be used.
        """
        about = {"run_id": info.run_id, "tenant": info.tenant, "address": info.address, "attempt": info.attempt}
        asked = adapter(self.takes).dump_python(input, mode="json")
        body = to_json({"input": asked, "feedback": info.feedback, **about})
        reply = await self._posted(body, info.idempotency_key)
        return AgentReply(self._output(reply), Usage(**reply.usage.model_dump()))

    async def _posted(self, body: bytes, key: str) -> _Reply:
        import httpx2  # noqa: PLC0415 - dear to import

        headers = {**await self._own_headers(), "content-type": "application/json", "idempotency-key": key}
        try:
            async with (
                httpx2.AsyncClient(timeout=self._timeout) as client,
                client.stream("POST", self._url, content=body, headers=headers) as response,
            ):
                _check_status(response.status_code)
                return _read(await self._content(response))
        except httpx2.HTTPError as error:
            what = f"the agent's server did not answer ({type(error).__name__}); try again later"
            raise ModelUnavailable(what) from None  # its text may have the URL, and that a key

    async def _own_headers(self) -> Mapping[str, str]:
        given = self._headers() if callable(self._headers) else self._headers
        return (await given if isawaitable(given) else given) or {}

    async def _content(self, response: Response) -> bytes:
        found = bytearray()
        async for part in response.aiter_bytes():
            found += part
            if len(found) > self._max_bytes:
                raise ModelMisbehaved(f"the agent's reply is larger than {self._max_bytes} bytes; raise 'max_bytes'")
        return bytes(found)

    def _output(self, reply: _Reply) -> Any:
        try:
            return adapter(self.gives).validate_python(reply.output)
        except ValidationError as error:
            what = f"the agent's output is not a '{type_name(self.gives)}'"
            raise ModelMisbehaved(f"{what}: {flaws(error, self.gives)}") from None


def _check_status(status: int) -> None:
    """Checks that a request has succeeded.

    Raises:
        ModelUnavailable: The same may succeed later.
        ModelRejected: It will not.
    """
    if may_pass(status):
        raise ModelUnavailable(f"the agent's server answered with status {status}; try again later")
    if not 200 <= status < 300:
        raise ModelRejected(f"the agent's server refused the request, with status {status}")


def _read(content: bytes) -> _Reply:
    try:
        return _Reply.model_validate(from_json(content))
    except ValueError:
        what = 'the agent\'s reply is not what it is to be; it is JSON, \'{"output": ..., "usage": {...}}\''
        raise ModelMisbehaved(what) from None
