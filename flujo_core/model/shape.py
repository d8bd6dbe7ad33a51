"""Types as short texts, which change when a value of the type would be read in another way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from typing import Annotated, Any, NewType, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from typing_extensions import TypeAliasType, is_typeddict

from flujo_core.model.body import digest, identity_of, module_name, shown
from flujo_core.model.check import is_generic, type_name


def shape_of(hint: Any) -> str:
    """A type as text: its name and, if it has fields, members or constraints, a digest of these.

    A model's docstring, the descriptions and the defaults of its fields are no part of it.
    """
    if type(hint) is type and hint.__module__ == "builtins":  # as most are, and nothing is to be known of them
        return "None" if hint is type(None) else hint.__name__
    told = [*_told(hint, set())]
    return f"{_name(hint)} {digest(told)}" if told else _name(hint)


def _told(hint: Any, seen: set[Any]) -> Iterator[str]:
    if get_origin(hint) is Annotated:
        yield from (_constraint(one) for one in hint.__metadata__)
        yield from _told(hint.__origin__, seen)
    elif isinstance(hint, TypeAliasType | NewType):
        if id(hint) not in seen:  # an alias may name itself
            seen.add(id(hint))
            inner = hint.__value__ if isinstance(hint, TypeAliasType) else hint.__supertype__
            yield f"{hint.__name__} {_name(inner)}"
            yield from _told(inner, seen)
    elif is_generic(hint):
        for one in get_args(hint):
            yield from _told(one, seen)
    elif isinstance(hint, type) and id(hint) not in seen:
        seen.add(id(hint))
        for line, inner in _members(hint):
            yield line
            yield from _told(inner, seen)


def _name(hint: Any) -> str:
    """How a type is written; what is of a program is as if that were imported."""
    name = type_name(hint)
    return name.replace("__main__.", f"{module_name('__main__')}.") if "__main__." in name else name


def _members(kind: type) -> Iterator[tuple[str, Any]]:
    """What is known of each field of a class, and the field's type."""
    if issubclass(kind, Enum):
        yield from ((f"{one.name}={shown(one.value)}", None) for one in kind)
    elif issubclass(kind, BaseModel):
        yield from _model_fields(kind)
    elif is_typeddict(kind):
        for name, hint in _hints(kind).items():
            yield f"{name}:{_name(hint)} {name in kind.__required_keys__}", hint  # type: ignore[attr-defined]
    elif is_dataclass(kind):
        hints = _hints(kind)
        for one in fields(kind):
            needed = one.default is MISSING and one.default_factory is MISSING
            hint = hints.get(one.name, one.type)
            yield f"{one.name}:{_name(hint)} {needed}", hint
    elif issubclass(kind, tuple):
        yield from ((f"{name}:{_name(hint)}", hint) for name, hint in _hints(kind).items())


def _model_fields(kind: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    if not kind.__pydantic_complete__:
        kind.model_rebuild(raise_errors=False)
    yield f"{kind.__name__} {kind.model_config.get('extra')}", None
    for name, field in kind.model_fields.items():
        names = f"{field.alias} {shown(field.validation_alias)} {field.serialization_alias}"
        rules = " ".join(_constraint(one) for one in field.metadata)
        yield f"{name}:{_name(field.annotation)} {field.is_required()} {names} {rules}", field.annotation


def _constraint(one: Any) -> str:
    """Metadata of a type, such as ``Gt(gt=0)``."""
    return identity_of(one) if callable(one) else shown(one)


def _hints(kind: type) -> dict[str, Any]:
    try:
        return get_type_hints(kind, include_extras=True)
    except NameError:  # what is not there cannot be looked into
        return dict(kind.__annotations__)
