"""Fields of types, and of values: what ``a.b`` in a placeholder, or the path of a named input, means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from typing_extensions import is_typeddict

from flujo_core.errors import DefinitionError, did_you_mean
from flujo_core.model.check import bare, is_mapping, members, type_name


def field_type(path: Sequence[str], hint: Any, what: str) -> Any:
    """The type that one finds by following ``path`` from a value of type ``hint``; ``Any`` where that is open.

    Args:
        path: Names of fields.
        hint: The type to begin with.
        what: What has the path, for messages.

    Raises:
        DefinitionError: There is no such field.
    """
    for name in path:
        known = fields_of(hint)
        if known is None:
            return Any  # a mapping, or a type that does not say what is in it
        if name not in known:
            raise DefinitionError(f"{what}, but '{type_name(hint)}' has no field '{name}'{did_you_mean(name, known)}")
        hint = known[name]
    return hint


def value_at(value: Any, path: Sequence[str]) -> Any:
    """What one finds by following ``path`` from ``value``."""
    for name in path:
        value = value[name] if isinstance(value, Mapping) else getattr(value, name)
    return value


def fields_of(hint: Any) -> Mapping[str, Any] | None:
    """The types of the fields and properties of a type, or None where any name may be there."""
    hint = bare(hint)
    if len(members(hint)) > 1 or hint in (Any, object) or is_mapping(hint):
        return None
    if isinstance(hint, type) and get_origin(hint) is None:
        if issubclass(hint, BaseModel):
            return {name: field.annotation for name, field in hint.model_fields.items()} | _properties(hint)
        if is_typeddict(hint) or is_dataclass(hint):
            hints = get_type_hints(hint)
            return {f.name: hints[f.name] for f in fields(hint)} if is_dataclass(hint) else hints
        return _properties(hint) | {
            name: Any for kind in hint.__mro__ for name in vars(kind).get("__annotations__", {})
        }
    return {} if get_args(hint) else None


def required_fields(hint: Any) -> Sequence[str]:
    """The fields that a value of this type cannot be made without."""
    hint = bare(hint)
    if issubclass(hint, BaseModel):
        return [name for name, field in hint.model_fields.items() if field.is_required()]
    if is_typeddict(hint):
        return sorted(hint.__required_keys__)
    if is_dataclass(hint):
        return [f.name for f in fields(hint) if f.init and f.default is MISSING and f.default_factory is MISSING]
    return ()


def _properties(hint: type) -> dict[str, Any]:
    return {
        name: Any for kind in hint.__mro__ for name, member in vars(kind).items()
        if isinstance(member, property) and not name.startswith("_")
    }  # fmt: skip
