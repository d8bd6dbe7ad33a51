"""What there is of a structured output while a model still writes it."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_ai import RunContext
from pydantic_ai.messages import (
    AgentStreamEvent,
    FinalResultEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ToolCallPart,
    ToolCallPartDelta,
)
from pydantic_core import from_json

NOTHING: Any = object()
WRAPPED = {"response"}
"""The one argument of pydantic-ai's output tools whose output is no object."""


def partial_handler(
    on_piece: Callable[[Any], Awaitable[None]], output: Any
) -> Callable[[RunContext[Any], AsyncIterable[AgentStreamEvent]], Awaitable[None]]:
    """Makes a handler of pydantic-ai's events that gives an output each time that more of it is there and valid.

    Args:
        on_piece: Gets it.
        output: The output's type.
    """
    kind: TypeAdapter[Any] = TypeAdapter(output)

    async def handle(context: RunContext[Any], events: AsyncIterable[AgentStreamEvent]) -> None:
        part: TextPart | ToolCallPart | None = None
        is_final, last = False, NOTHING
        async for event in events:
            match event:
                case PartStartEvent(part=TextPart() | ToolCallPart() as begun):
                    part = begun
                case PartStartEvent():
                    part = None
                case FinalResultEvent():
                    is_final = True
                case PartDeltaEvent(delta=TextPartDelta() as delta) if isinstance(part, TextPart):
                    part = delta.apply(part)
                case PartDeltaEvent(delta=ToolCallPartDelta() as delta) if isinstance(part, ToolCallPart):
                    applied = delta.apply(part)
                    part = applied if isinstance(applied, ToolCallPart) else None
                case _:
                    continue
            found = _valid(kind, part) if is_final and part is not None else NOTHING
            if found is not NOTHING and found != last:
                last = found
                await on_piece(found)

    return handle


def _valid(kind: TypeAdapter[Any], part: TextPart | ToolCallPart) -> Any:
    """What a part has of an output, if that is valid."""
    written = part.content if isinstance(part, TextPart) else part.args
    try:
        found = from_json(written, allow_partial="trailing-strings") if isinstance(written, str) else written
    except ValueError:  # nothing is there that could be read
        return NOTHING
    candidates = [found]
    if isinstance(found, dict) and found.keys() == WRAPPED:
        candidates.append(found["response"])
    for one in candidates:
        try:
            return kind.validate_python(one, experimental_allow_partial="trailing-strings")
        except ValidationError:
            continue
    return NOTHING
