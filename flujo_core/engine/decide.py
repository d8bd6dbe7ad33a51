"""How predicates, keys and sources are asked: plain functions of a value and, if they take it, of the context."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any

from flujo_core.engine.frame import Frame, owned
from flujo_core.engine.later import given
from flujo_core.errors import InvalidValue
from flujo_core.model.draft import draft, touched
from flujo_core.model.patch import changes
from flujo_core.model.reader import Reader

NOTHING: Mapping[str, Any] = {}


def decide(
    reader: Reader,
    value: Any,
    frame: Frame,
    *,
    may_await: bool = False,
    state: Mapping[str, Any] | None = None,
    more: Mapping[str, Any] = NOTHING,
) -> Any:
    """What a function decides of a value, in a scope whose context it may read.

    Args:
        reader: The function.
        value: The value.
        frame: The scope.
        may_await: Whether it may give a coroutine.
        state: What the context is to it; as in the scope, unless given.
        more: What else it is given, by name.

    Raises:
        InvalidValue: It gave an awaitable, or changed the context.
        Exception: What it raised.
    """
    value = given(value)
    if frame.run.journal.store is not None:  # what it does to the value is not in the journal
        value = owned(value, "what it is asked about")
    if reader.context_parameter is None:
        answer = reader.function(value, **more)
    else:
        state = frame.state if state is None else state
        context = draft(frame.run.context_type, state)
        answer = reader.function(value, **{reader.context_parameter: context}, **more)
        if changed := [*changes(touched(context), state, frozenset())]:
            raise InvalidValue(f"{reader.what} changed field '{changed[0]}' of the context, which it only reads")
    if isinstance(answer, Coroutine) and not may_await:
        answer.close()
        raise InvalidValue(f"{reader.what} gave a coroutine; what awaits is a step: put that before")
    return answer
