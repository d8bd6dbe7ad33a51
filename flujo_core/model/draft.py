"""Drafts: what a step sees of the context.

The state of a run's context is a plain dict of field values. A step that takes the context gets a *draft*: an instance
of the same class that reads a field from the state when it is first touched, and owns what it read. What it changed is
a *patch* (``patch.py``). So a step pays for the fields that it touches, and for no others.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

if TYPE_CHECKING:
    from flujo_core.model.context import PipelineContext

State: TypeAlias = dict[str, Any]
"""The values of a context's fields, by name. Values in it are never changed in place."""

ATOMS = frozenset(
    {bool, int, float, complex, str, bytes, type(None), date, datetime, time, timedelta, Decimal, UUID, type}
)
"""Types whose values cannot change, so a draft need not own a copy."""


class ContextBase:
    """What tells that a class is a context, without importing what contexts are made of."""

    __slots__ = ()


def state_of(context: PipelineContext) -> State:
    """The state that ``context`` stands for."""
    return {name: own(getattr(context, name)) for name in type(context).__pydantic_fields__}


def draft(kind: type[PipelineContext], state: Mapping[str, Any]) -> PipelineContext:
    """A context that reads its fields from ``state`` when they are touched, and owns what it read."""
    made = kind.__new__(kind)
    put = object.__setattr__
    put(made, "__pydantic_fields_set__", set())
    put(made, "__pydantic_extra__", None)
    put(made, "__pydantic_private__", None)
    put(made, "_read_from", state)
    if kind.model_config.get("validate_assignment"):  # pydantic looks at all fields then
        return loaded(made)
    return made


def touched(made: PipelineContext) -> State:
    """The fields that a draft has read or set, with their values."""
    fields = type(made).__pydantic_fields__
    return {name: value for name, value in vars(made).items() if name in fields}


def touch(made: PipelineContext, values: State) -> PipelineContext:
    """A draft in which these values have been read or set."""
    own_values: State = vars(made)
    own_values.update(values)
    return made


def own(value: Any) -> Any:
    """``value`` itself where it cannot change, else a copy of its own."""
    kind = type(value)
    if kind in ATOMS:
        return value
    if kind is list and ATOMS.issuperset(map(type, value)):
        return value.copy()
    if kind is dict and ATOMS.issuperset(map(type, value)) and ATOMS.issuperset(map(type, value.values())):
        return value.copy()
    return deepcopy(value)


def source(context: PipelineContext) -> Mapping[str, Any] | None:
    """The state behind a draft; None for a context of its own."""
    try:
        state: Mapping[str, Any] = object.__getattribute__(context, "_read_from")
    except AttributeError:
        return None
    return state


def loaded(context: PipelineContext) -> PipelineContext:
    """``context`` with every field read."""
    if source(context) is not None:
        values = {name: getattr(context, name) for name in type(context).model_fields}
        vars(context).clear()
        vars(context).update(values)  # in the order of declaration, as pydantic compares and dumps them
    return context


Drafting: TypeAlias = list[Any]
"""A draft that is made when somebody asks for it: its class, what it reads from, and the draft, or None.

A list and no class of its own: there is one for each step that has hooks, and most hooks never ask.
"""


def drafted(drafting: Drafting) -> PipelineContext:
    """The draft; the same one until it is taken."""
    if drafting[2] is None:
        drafting[2] = draft(drafting[0], drafting[1])
    made: PipelineContext = drafting[2]
    return made


def take(drafting: Drafting, base: Mapping[str, Any] | None = None) -> State:
    """What was touched in the draft; the next one is another.

    Args:
        drafting: The draft.
        base: What the next draft reads from; as before, unless given.
    """
    made, drafting[2] = drafting[2], None
    if base is not None:
        drafting[1] = base
    return {} if made is None else touched(made)
