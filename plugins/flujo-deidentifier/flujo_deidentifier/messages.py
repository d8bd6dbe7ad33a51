"""Messages: an agent's messages with other texts in the places of theirs, and what of them cannot be looked into."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from pydantic_ai import messages
from pydantic_ai.messages import (
    MULTI_MODAL_CONTENT_TYPES,
    BaseToolCallPart,
    ModelMessage,
    ModelResponse,
    RetryPromptPart,
    SystemPromptPart,
    TextContent,
    TextPart,
    ThinkingPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_core import to_jsonable_python

from flujo_deidentifier.errors import ModelGuarded

_Feedback: Any = vars(messages).get("RetryFeedbackPart", RetryPromptPart)
"""What says that a whole reply cannot be used; older versions of pydantic-ai have no class of its own for it."""

Treat: TypeAlias = Callable[[Any], Any]
"""Gives another value of JSON for one."""


def treated(message: ModelMessage, treat: Treat) -> ModelMessage:
    """A message with its texts treated.

    Raises:
        ModelGuarded: It has a part that cannot be looked into.
    """
    parts: Any = [_part(one, treat) for one in message.parts]
    if isinstance(message, ModelResponse):
        return replace(message, parts=parts)
    instructions = None if message.instructions is None else treat(message.instructions)
    return replace(message, parts=parts, instructions=instructions)


def is_asked(message: ModelMessage) -> bool:
    """Whether a message has something that neither a model nor a tool has said."""
    return any(isinstance(part, UserPromptPart | SystemPromptPart) for part in message.parts)


def texts_of(messages: Sequence[ModelMessage]) -> Iterator[str]:
    """All that a model would read of messages.

    Raises:
        ModelGuarded: They have a part that cannot be looked into.
    """
    found: list[str] = []

    def note(value: Any) -> Any:
        found.extend(_leaves(value))
        return value

    for message in messages:
        treated(message, note)
    yield from found


def _part(part: Any, treat: Treat) -> Any:
    match part:
        case UserPromptPart():
            return replace(part, content=_content(part.content, treat))
        case SystemPromptPart() | TextPart() | ThinkingPart():
            return replace(part, content=treat(part.content))
        case RetryPromptPart() | _Feedback():
            content = part.content if isinstance(part.content, str) else to_jsonable_python(part.content, fallback=str)
            return replace(part, content=treat(content))
        case ToolReturnPart():
            return replace(part, content=treat(plain(part.content)))
        case BaseToolCallPart():
            return replace(part, args=_args(part.args, treat))
    raise _unseen(part)


def _content(content: Any, treat: Treat) -> Any:
    if isinstance(content, str):
        return treat(content)
    return [_piece(one, treat) for one in content]


def _piece(piece: Any, treat: Treat) -> Any:
    if isinstance(piece, str):
        return treat(piece)
    if isinstance(piece, TextContent):
        return replace(piece, content=treat(piece.content))
    raise _unseen(piece)


def _args(args: Any, treat: Treat) -> Any:
    if not isinstance(args, str):
        return args if args is None else treat(args)
    try:
        value = json.loads(args)
    except ValueError:
        return treat(args)
    after = treat(value)
    return args if after == value else json.dumps(after)


def plain(value: Any) -> Any:
    """A value as JSON.

    Raises:
        ModelGuarded: It has something that is none, as an image.
    """
    _check_texts(value)
    try:
        return to_jsonable_python(value)
    except ValueError:
        pass
    raise _unseen(value)


def _check_texts(value: Any) -> None:
    """Refuses pictures, files and links to them, which would be sent as what they are."""
    if isinstance(value, MULTI_MODAL_CONTENT_TYPES):
        raise _unseen(value)
    if isinstance(value, Mapping):
        value = [*value.values()]
    if isinstance(value, list | tuple):
        for one in value:
            _check_texts(one)


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield str(key)
            yield from _leaves(one)
    elif isinstance(value, list):
        for one in value:
            yield from _leaves(one)
    elif value is not None and not isinstance(value, bool) and len(str(value)) > 6:
        yield str(value)


def _unseen(part: object) -> ModelGuarded:
    return ModelGuarded(
        f"a '{type(part).__name__}' would go to the model, which cannot be looked into; give the agent texts only"
    )
