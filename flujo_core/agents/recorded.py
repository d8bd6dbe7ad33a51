"""How calls inside an agent are recorded: a digest of what was asked, and what came back as JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from pydantic import TypeAdapter
from pydantic_ai.exceptions import ModelRetry, ToolFailed
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelResponse,
    ToolCallPart,
    ToolReturn,
    ToolReturnContent,
)
from pydantic_ai.models import ModelRequestContext
from pydantic_core import PydanticSerializationError, from_json, to_json, to_jsonable_python

from flujo_core.errors import InvalidValue

Recorded: TypeAlias = Literal["value", "return", "retry", "failed"]
"""What came back of a tool: a value, a ``ToolReturn``, or that it raised ``ModelRetry`` or ``ToolFailed``."""

ASKED = ("kind", "parts", "instructions", "state")
"""What of a message is what a model is told; the rest is about the run that made it, the model, and the price."""


class ToolOutcome(NamedTuple):
    """What came back of a tool call.

    Attributes:
        kind: What it is.
        value: The value, the ``ToolReturn``, or the message of the exception.
    """

    kind: Recorded
    value: Any

    def unwrapped(self) -> Any:
        """What the agent is given.

        Raises:
            ModelRetry: The tool has raised it.
            ToolFailed: The tool has raised it.
        """
        if self.kind == "retry":
            raise ModelRetry(self.value)
        if self.kind == "failed":
            raise ToolFailed(self.value)
        return self.value


_ADAPTERS: dict[Recorded, TypeAdapter[Any]] = {
    "value": TypeAdapter(ToolReturnContent),
    "return": TypeAdapter(ToolReturn),
    "retry": TypeAdapter(str),
    "failed": TypeAdapter(str),
}


def messages_json(messages: Sequence[ModelMessage]) -> bytes:
    """Messages as JSON, without a warning, which would show what is in them."""
    return ModelMessagesTypeAdapter.dump_json(list(messages), warnings="none")


def request_digest(request: ModelRequestContext) -> str:
    """A digest of what a model is asked: the model, the messages, the settings and the tools."""
    messages = ModelMessagesTypeAdapter.dump_python(
        request.messages, mode="json", fallback=_unwritable, warnings="none"
    )
    return _digest(
        request.model.model_id,
        [_timeless(message) for message in messages],
        request.model_settings,
        request.model_request_parameters,
    )


def tool_digest(call: ToolCallPart, args: dict[str, Any]) -> str:
    """A digest of what a tool is asked: its name and the arguments."""
    return _digest(call.tool_name, args)


def response_json(response: ModelResponse) -> bytes:
    """A model's response as JSON."""
    return messages_json([response])


def response_of(data: bytes) -> ModelResponse:
    """The response that ``response_json`` wrote."""
    (response,) = ModelMessagesTypeAdapter.validate_json(data)
    assert isinstance(response, ModelResponse)
    return response


def outcome_json(outcome: ToolOutcome, tool: str) -> bytes:
    """What came back of a tool, as JSON.

    Raises:
        InvalidValue: It cannot be written.
    """
    try:
        value = _ADAPTERS[outcome.kind].dump_json(outcome.value, warnings="none")
    except (PydanticSerializationError, TypeError, ValueError):
        raise InvalidValue(
            f"the tool '{tool}' gave a {type(outcome.value).__name__!r}, which cannot be written as JSON; give values"
            " that can, or let the agent run without a store"
        ) from None
    return b"{%b:%b}" % (to_json(outcome.kind), value)


def outcome_of(data: bytes, tool: str) -> ToolOutcome:
    """The outcome that ``outcome_json`` wrote.

    Raises:
        InvalidValue: It cannot be read any more.
    """
    try:
        ((kind, value),) = from_json(data).items()
        return ToolOutcome(kind, _ADAPTERS[kind].validate_json(to_json(value)))
    except (KeyError, ValueError) as error:
        raise InvalidValue(f"what the journal has of the tool '{tool}' cannot be read any more") from error


def _timeless(message: dict[str, Any]) -> dict[str, Any]:
    """A message without what varies between runs that ask the same."""
    plain = {name: message.get(name) for name in ASKED}
    plain["parts"] = [_timeless_part(part) for part in message["parts"]]
    return plain


def _timeless_part(part: dict[str, Any]) -> dict[str, Any]:
    plain = {name: value for name, value in part.items() if name != "timestamp"}
    if part["part_kind"] == "retry-prompt" and part.get("tool_name") is None:
        plain.pop("tool_call_id", None)  # of no call: made up
    return plain


def _digest(*asked: Any) -> str:
    plain = to_jsonable_python(asked, fallback=_unwritable, bytes_mode="base64", inf_nan_mode="strings")
    return hashlib.sha256(to_json(_sorted(plain))).hexdigest()[:32]


def _unwritable(value: Any) -> str:
    """What stands for a value that is no JSON; its ``repr`` may have its address in memory."""
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(one) for one in value] if isinstance(value, list) else value
