"""Request: all that goes to a model beside the texts of its messages, each with what it is called in an error."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Final

from pydantic import BaseModel
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.settings import ModelSettings

from flujo_deidentifier.errors import ModelGuarded

_UNSENT: Final = frozenset(
    {
        "failed_attempts", "finish_reason", "kind", "metadata", "model_name", "outcome", "part_kind", "provider_name",
        "provider_url", "retry", "state", "timestamp", "tool_kind", "usage",
    }
)  # fmt: skip
"""Fields of messages and parts that stay here, or whose words are pydantic-ai's own."""

_IN_MESSAGES: Final = frozenset({"parts", "content", "args", "instructions", "run_id", "conversation_id"})
"""Fields that are read as texts of messages, or stay here."""

_NUMBERS: Final = frozenset(
    {
        "frequency_penalty", "first_event_timeout", "logit_bias", "max_retries", "max_tokens", "presence_penalty",
        "request_timeout", "seed", "temperature", "timeout", "top_k", "top_p",
    }
)  # fmt: skip
"""Settings that are numbers by their meaning."""

_CREDENTIALS: Final = frozenset(
    {"api-key", "authorization", "authorization_token", "cookie", "proxy-authorization", "x-api-key", "x-goog-api-key"}
)
"""What says who asks: the model's provider has it, and must."""

_MACHINE_MADE: Final = re.compile(
    r"(?:[A-Za-z]{1,8}[_-]){0,3}(?=[A-Za-z0-9]*[a-z])(?=[A-Za-z0-9]*[0-9])[A-Za-z0-9]{16,}"
    r"|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
)
_PLAIN: Final = (int, float, bool, type(None))
_LONG_NUMBER: Final = 7


def names_in(messages: Sequence[ModelMessage]) -> Iterator[tuple[str, str]]:
    """What messages have beside texts: names, ids and what a provider added.

    Raises:
        ModelGuarded: Something cannot be read.
    """
    for message in messages:
        yield from _beside_texts(message)
        for part in message.parts:
            yield from _beside_texts(part)


def asked_for(parameters: ModelRequestParameters) -> Iterator[tuple[str, str]]:
    """What tools, the form of the output and the provider's own tools tell a model.

    Raises:
        ModelGuarded: Something cannot be read.
    """
    for tool in (*parameters.function_tools, *parameters.output_tools):
        yield _words(tool.name), "the name of a tool"
        told = _leaves([tool.description, tool.parameters_json_schema])
        yield _joined(told), f"the definition of tool '{tool.name}'"
    if (form := parameters.output_object) is not None:
        yield _joined(_leaves([form.name, form.description, form.json_schema])), "the schema of an agent's output"
    if parameters.prompted_output_template:
        yield parameters.prompted_output_template, "the template of an agent's output"
    for native in parameters.native_tools:
        yield _joined(_leaves(native)), f"the native tool '{native.kind}'"


def told_by(settings: ModelSettings | None) -> Iterator[tuple[str, str]]:
    """What the settings of a model tell it.

    Raises:
        ModelGuarded: Something cannot be read.
    """
    for name, value in (settings or {}).items():
        if name not in _NUMBERS:
            yield _joined(_leaves(value)), f"the model setting '{name}'"


def _beside_texts(thing: Any) -> Iterator[tuple[str, str]]:
    kind = type(thing).__name__
    for one in fields(thing):
        value = vars(thing).get(one.name)
        if one.name in _UNSENT | _IN_MESSAGES or value is None:
            continue
        if one.name == "signature" and vars(thing).get("provider_name"):
            continue  # the provider's own, over what it has been sent
        for text in _leaves(value):
            if not _MACHINE_MADE.fullmatch(text):
                yield _words(text), f"'{one.name}' of a '{kind}'"


def _leaves(value: Any) -> Iterator[str]:
    """The texts, keys and long numbers of a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, _PLAIN):
        if not isinstance(value, bool) and len(str(value)) >= _LONG_NUMBER:
            yield str(value)
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield str(key)
            if str(key).lower() not in _CREDENTIALS:
                yield from _leaves(one)
    elif isinstance(value, list | tuple | set | frozenset):
        for one in value:
            yield from _leaves(one)
    elif isinstance(value, BaseModel):
        yield from _leaves(dict(value))
    elif is_dataclass(value) and not isinstance(value, type):
        yield from _leaves({one.name: vars(value).get(one.name) for one in fields(value)})
    else:
        raise ModelGuarded(
            f"a '{type(value).__name__}' would go to the model, which cannot be looked into; give the agent texts only"
        )


def _words(name: str) -> str:
    """A name as detectors read it: what an underscore joins is no word to them."""
    return name.replace("_", " ")


def _joined(texts: Iterator[str]) -> str:
    return "\n".join(text for text in texts if text)
