"""The state that the steps of a run share: contexts, and the drafts of them that steps see.

The state itself is a plain dict of field values. A step that takes the context gets a *draft*: an instance of the
same class that reads a field from the state when it is first touched, and owns what it read. What it changed is a
*patch* (``patch.py``). So a step pays for the fields that it touches, and for no others.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from copy import deepcopy
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from flujo_core.errors import DefinitionError

State: TypeAlias = dict[str, Any]
"""The values of a context's fields, by name. Values in it are never changed in place."""

ATOMS = frozenset(
    {bool, int, float, complex, str, bytes, type(None), date, datetime, time, timedelta, Decimal, UUID, type}
)
"""Types whose values cannot change, so a draft need not own a copy."""


class PipelineContext(BaseModel):
    """The state that the steps of a run share; subclass it and declare fields.

    Every field must have a default or be given to the run. A step sees a draft: what it sets is committed with
    its output, or not at all. ``repr()`` shows the names of the fields only.
    """

    model_config = ConfigDict(extra="forbid")
    __slots__ = ("_read_from",)  # the state behind a draft

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if cls.__private_attributes__:
            names = ", ".join(f"'{name}'" for name in cls.__private_attributes__)
            raise DefinitionError(
                f"context '{cls.__name__}' has private attributes ({names}), which could not be committed;"
                " declare fields instead"
            )

    if not TYPE_CHECKING:  # pydantic hides its own from type checkers too, so that a misspelt field is found

        def __getattr__(self, name: str) -> Any:
            fields = type(self).__pydantic_fields__
            if name in fields and (state := _source(self)) is not None and name in state:
                value = self.__dict__[name] = own(state[name])
                return value
            return super().__getattr__(name)

    @model_serializer(mode="wrap")
    def _serialize_whole(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        whole: dict[str, Any] = handler(_loaded(self))
        return whole

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PipelineContext):
            _loaded(other)
        return super(PipelineContext, _loaded(self)).__eq__(other)

    def __iter__(self) -> Generator[tuple[str, Any], None, None]:
        return super(PipelineContext, _loaded(self)).__iter__()

    def __copy__(self) -> Any:
        return type(self).model_construct(**{name: getattr(self, name) for name in type(self).model_fields})

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Any:
        return type(self).model_construct(
            **{name: deepcopy(getattr(self, name), memo) for name in type(self).model_fields}
        )

    def __getstate__(self) -> dict[Any, Any]:
        return super(PipelineContext, _loaded(self)).__getstate__()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}=...' for name in type(self).model_fields)})"

    __str__ = __repr__


def state_of(context: PipelineContext) -> State:
    """The state that ``context`` stands for."""
    return {name: own(getattr(context, name)) for name in type(context).model_fields}


def draft(kind: type[PipelineContext], state: Mapping[str, Any]) -> PipelineContext:
    """A context that reads its fields from ``state`` when they are touched, and owns what it read."""
    made = kind.__new__(kind)
    put = object.__setattr__
    put(made, "__pydantic_fields_set__", set())
    put(made, "__pydantic_extra__", None)
    put(made, "__pydantic_private__", None)
    put(made, "_read_from", state)
    return made


def touched(made: PipelineContext) -> State:
    """The fields that a draft has read or set, with their values."""
    return vars(made)


def own(value: Any) -> Any:
    """``value`` itself where it cannot change, else a copy of its own."""
    return value if type(value) in ATOMS else deepcopy(value)


def _source(context: PipelineContext) -> Mapping[str, Any] | None:
    try:
        state: Mapping[str, Any] = object.__getattribute__(context, "_read_from")
    except AttributeError:
        return None
    return state


def _loaded(context: PipelineContext) -> PipelineContext:
    """``context`` with every field read."""
    if _source(context) is not None:
        values = {name: getattr(context, name) for name in type(context).model_fields}
        vars(context).clear()
        vars(context).update(values)  # in the order of declaration, as pydantic compares and dumps them
    return context
