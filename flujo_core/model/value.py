"""Values and their types: validating them, turning them into bytes and back, and naming what is wrong in them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Never, NoReturn, get_args, get_origin, get_type_hints

from pydantic import (
    BaseModel,
    ConfigDict,
    PydanticSchemaGenerationError,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import PydanticSerializationError, to_json
from typing_extensions import is_typeddict

from flujo_core.errors import DefinitionError, InvalidValue
from flujo_core.model.check import bare, is_mapping, members, type_name

PLAIN = frozenset({bool, int, float, complex, str, bytes, type(None)})
"""Types whose equal values are the same."""


def adapter(hint: Any) -> TypeAdapter[Any]:
    """The pydantic adapter of a type; made once. Classes that pydantic does not know are checked by ``isinstance``."""
    try:
        return _adapter(hint)
    except TypeError:  # a hint that cannot be hashed, as its metadata cannot
        return _adapter.__wrapped__(hint)


def concrete(hint: Any) -> Any:
    """The type that a value for ``hint`` is read as: of an iterable, which could be read once only, a list."""
    plain = bare(hint)
    if (get_origin(plain) or plain) not in (Iterable, Iterator):
        return hint
    return list[get_args(plain)[0]] if get_args(plain) else list[Any]  # type: ignore[misc]


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    if hint in (Never, NoReturn):
        from pydantic import BeforeValidator  # noqa: PLC0415 - dear to import, and few steps only stop

        return TypeAdapter(Annotated[Any, BeforeValidator(_refused)])
    try:
        return TypeAdapter(hint)
    except PydanticSchemaGenerationError:
        return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError as error:
        raise DefinitionError(f"type '{type_name(hint)}' cannot be validated: {error.message}") from error


def _refused(value: Any) -> Any:
    raise ValueError("a step that only stops gives no output")


def validated(value: Any, hint: Any, what: str, *, by_name: bool | None = None) -> Any:
    """A value, validated.

    Args:
        value: The value.
        hint: The type that it is to be of.
        what: What it is, for messages.
        by_name: Whether fields go by their names, and not by their aliases; as the type says, unless given.

    Raises:
        InvalidValue: It does not fit.
    """
    try:
        return adapter(hint).validate_python(value, by_name=by_name)
    except ValidationError as error:
        raise InvalidValue(f"{what} is not a '{type_name(hint)}': {flaws(error, hint)}") from None


def encoded(value: Any, hint: Any, what: str, place: str = "the journal") -> tuple[bytes, Any]:
    """A value as JSON, and the value that comes back from that.

    The two are equal, down to the types of their parts: what is read from a journal is what was written to it.

    Args:
        value: A value that was validated against ``hint``.
        hint: Its declared type.
        what: What it is, for messages.
        place: Where it is written to, for messages.

    Raises:
        InvalidValue: It cannot be written, or another value would come back.
    """
    if hint is str and type(value) is str:  # as most are; nothing else can come back of it
        try:
            return to_json(value), value
        except PydanticSerializationError:
            raise InvalidValue(f"{what} cannot be written to {place} as 'str'") from None
    kind = adapter(hint)
    try:
        data = kind.dump_json(value, round_trip=True, warnings="none")  # a warning would show the value
        restored = kind.validate_json(data, by_alias=False, by_name=True)
    except PydanticSerializationError:
        raise InvalidValue(f"{what} cannot be written to {place} as '{type_name(hint)}'") from None
    except ValidationError as error:
        raise InvalidValue(f"{what} would not come back from {place}: {flaws(error, hint)}") from None
    if (part := difference(value, restored)) is not None:
        raise InvalidValue(
            f"{what} would come back from {place} as something else{part}; declare the type that it has"
            f" instead of '{type_name(hint)}'"
        )
    return data, restored


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal down to the types of their parts: ``[1]`` is not ``[True]``, NaN is NaN."""
    return one is other or _difference(one, other) is None


def difference(one: Any, other: Any) -> str | None:
    """Where two values differ in type or content, as `` at 'a.b'``; None where they do not."""
    path = _difference(one, other)
    return None if path is None else f" at '{'.'.join(path)}'" if path else ""


def flaws(error: ValidationError, hint: Any) -> str:
    """What a validation found, by the paths of the fields: ``'severity' (int_parsing)``. Never a value."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    shown = [f"{_path(one['loc'], hint)}({one['type']})" for one in found[:3]]
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return ", ".join(shown) + more


def _difference(one: Any, other: Any) -> list[str] | None:
    if type(one) is not type(other):
        return []
    if isinstance(one, dict):
        if _parts_differ(list(one), list(other)) is not None:
            return []
        return _parts_differ(list(one.values()), list(other.values()), ["..."] * len(one))  # a key may be a value
    if isinstance(one, (list, tuple)):
        return _parts_differ(one, other)
    if isinstance(one, BaseModel):
        below = _parts_differ(list(vars(one).values()), list(vars(other).values()), list(vars(one)))
        return _parts_differ(_hidden(one), _hidden(other)) if below is None else below
    if isinstance(one, (set, frozenset)):
        return None if {part: type(part) for part in one} == {part: type(part) for part in other} else []
    if is_dataclass(one) and not isinstance(one, type):
        names = [field.name for field in fields(one)]
        return _parts_differ([getattr(one, name) for name in names], [getattr(other, name) for name in names], names)
    if isinstance(one, float) and math.isnan(one):
        return None if math.isnan(other) else []
    return None if one == other else []


def _hidden(model: BaseModel) -> list[Any]:
    """What a model holds beside its fields."""
    return [model.__pydantic_extra__, model.__pydantic_private__]


def _parts_differ(ones: Sequence[Any], others: Sequence[Any], names: Sequence[str] | None = None) -> list[str] | None:
    if len(ones) != len(others):
        return []
    if ones == others and PLAIN.issuperset(map(type, ones)) and [*map(type, ones)] == [*map(type, others)]:
        return None  # as most are, and seen at once
    for index, (a, b) in enumerate(zip(ones, others, strict=True)):
        if (below := _difference(a, b)) is not None:
            return [names[index] if names else str(index), *below]
    return None


def _path(location: tuple[int | str, ...], hint: Any) -> str:
    """A location as a path of field names and indexes; a mapping's keys, which are data, become '...'."""
    names = []
    for part in location:
        known = _field_types(hint)
        if isinstance(part, int) and not is_mapping(hint):
            names.append(str(part))
            hint = _item_type(hint)
        elif known is not None and part in known:
            names.append(str(part))
            hint = known[str(part)]
        else:
            names.append("...")
            hint = _item_type(hint)
    return f"'{'.'.join(names)}' " if names else ""


def _field_types(hint: Any) -> Mapping[str, Any] | None:
    for one in map(bare, members(bare(hint))):
        if isinstance(one, type) and get_origin(one) is None:
            if issubclass(one, BaseModel):
                return {name: info.annotation for name, info in one.model_fields.items()}
            if is_typeddict(one) or is_dataclass(one):
                return get_type_hints(one)
    return None


def _item_type(hint: Any) -> Any:
    arguments = get_args(bare(hint))
    return arguments[-1] if arguments and arguments[-1] is not ... else arguments[0] if arguments else Any
