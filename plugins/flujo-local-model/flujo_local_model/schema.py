"""Bounds for JSON schemas: without them a grammar lets a small model write the same word until its window is full."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

MAX_LENGTH: Final = 256
"""Characters that a string may have where its schema sets no bound."""

MAX_ITEMS: Final = 8
"""Items that an array, or entries that a mapping, may have where its schema sets no bound."""

_SCALAR: Final = (
    {"type": "string", "maxLength": MAX_LENGTH},
    {"type": "number"},
    {"type": "boolean"},
    {"type": "null"},
)
_SCHEMA_MAPS: Final = ("properties", "patternProperties", "$defs", "definitions")
_SCHEMA_LISTS: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_SCHEMAS: Final = ("items", "additionalProperties")
_DECIDES: Final = ("$ref", "const", "enum", "type", *_SCHEMA_LISTS)

_ATOM: Final = r"[^\\*+?{}()|\[\].^$]|\\[dws.+*?()\[\]{}|^$\\]|\[\^?(?:[^\]\\\[]|\\.)+\]"
_TIMES: Final = r"(?:\?|\{\d+(?:,\d+)?\})?"
_FINITE_PATTERN: Final = re.compile(rf"\^(?:(?:{_ATOM}|\((?:(?:{_ATOM}){_TIMES}|\|)+\)){_TIMES})*\$")

Schema = dict[str, Any]


def bounded(schema: Mapping[str, Any]) -> Schema:
    """The same schema with an upper bound on every string, array and open mapping.

    A bound that is there already stays when it is tighter than ours; so what fits the result fits ``schema`` too,
    except where that demands more than a bound allows (``minLength`` above ``MAX_LENGTH`` moves the bound up).

    - Strings get ``maxLength``, arrays ``maxItems``, mappings with free keys ``maxProperties``.
    - What says nothing about its type becomes a string, number, boolean or null.
    - An object with named fields gets no others.
    - A ``pattern`` stays only when llama.cpp can follow it and it has an end: ``^[A-Z]{2}-[0-9]{1,6}$`` does,
      ``^.+$`` does not. The same goes for keywords that llama.cpp does not know. Pydantic checks them on the reply.

    Two things have no bound that llama.cpp keeps, and end with ``max_tokens``: how deep a schema that refers to itself
    goes, and how many entries a mapping with free keys gets (``maxProperties`` is set, and is not followed).
    """
    result = {key: value for key, value in schema.items() if key not in _UNKNOWN_TO_GRAMMARS}
    _bound_parts(result)
    kinds = _kinds(result)
    if not any(key in result for key in _DECIDES) and not kinds:
        return {**result, "anyOf": [dict(scalar) for scalar in _SCALAR]}
    for kind, bound in _BOUNDS.items():
        if kind in kinds and "enum" not in result and "const" not in result:
            bound(result)
    return result


def _bound_parts(schema: Schema) -> None:
    for key in _SCHEMA_MAPS:
        if key in schema:
            named: Mapping[str, Any] = schema[key]
            schema[key] = {name: _bounded_part(part) for name, part in named.items()}
    for key in _SCHEMA_LISTS:
        if key in schema:
            listed: list[Any] = schema[key]
            schema[key] = [_bounded_part(part) for part in listed]
    for key in _SCHEMAS:
        if key in schema:
            schema[key] = _bounded_part(schema[key])


def _bounded_part(part: Any) -> Any:
    """``True`` allows anything, like ``{}``; ``False`` allows nothing and is kept."""
    return part if part is False else bounded({} if part is True else part)


def _kinds(schema: Schema) -> set[str]:
    kind = schema.get("type", [])
    kinds = {kind} if isinstance(kind, str) else set(kind)
    if "type" not in schema:
        kinds.update(kind for kind, keywords in _IMPLIED_BY.items() if not keywords.isdisjoint(schema))
    return kinds


def _bound_string(schema: Schema) -> None:
    if not _FINITE_PATTERN.fullmatch(schema.get("pattern", "^$")):
        del schema["pattern"]
    schema["maxLength"] = _tighter(schema, "maxLength", max(MAX_LENGTH, schema.get("minLength", 0)))


def _bound_array(schema: Schema) -> None:
    fixed = len(schema.get("prefixItems", ()))
    if schema.get("items") is not False:
        schema.setdefault("items", bounded({}))
    schema["maxItems"] = _tighter(schema, "maxItems", max(MAX_ITEMS, fixed, schema.get("minItems", 0)))


def _bound_object(schema: Schema) -> None:
    by_pattern = list(schema.pop("patternProperties", {}).values())
    if by_pattern and not schema.get("additionalProperties"):
        schema["additionalProperties"] = _bounded_part(by_pattern[0])
    if schema.get("properties"):
        schema["additionalProperties"] = False
        return
    if schema.setdefault("additionalProperties", bounded({})) is not False:
        schema["maxProperties"] = _tighter(schema, "maxProperties", max(MAX_ITEMS, schema.get("minProperties", 0)))


def _tighter(schema: Schema, key: str, ours: int) -> int:
    return min(schema[key], ours) if key in schema else ours


_BOUNDS: Final[Mapping[str, Callable[[Schema], None]]] = {
    "string": _bound_string,
    "array": _bound_array,
    "object": _bound_object,
}
_IMPLIED_BY: Final[Mapping[str, frozenset[str]]] = {
    "string": frozenset({"minLength", "maxLength", "pattern"}),
    "array": frozenset({"items", "minItems", "maxItems", "prefixItems"}),
    "object": frozenset({"properties", "additionalProperties", "patternProperties"}),
}
_UNKNOWN_TO_GRAMMARS: Final = frozenset({"uniqueItems", "not", "if", "then", "else", "discriminator", "propertyNames"})
