"""Answers of people, read from text by the JSON Schema of what was asked: whole, or a field at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from flujo_core.errors import ConfigurationError

Schema: TypeAlias = Mapping[str, Any]

YES, NO = ("y", "yes", "true"), ("n", "no", "false")
HINTS = {
    "boolean": "y/n", "integer": "whole number", "number": "number", "string": "text", "null": "nothing",
    "object": "JSON object", "array": "JSON list",
}  # fmt: skip
KINDS: Mapping[str, tuple[type, ...]] = {"number": (int, float), "object": (dict,), "array": (list,)}
REF = "#/$defs/"


class WrongAnswer(ConfigurationError):
    """A text that is no answer; the message says what is."""


class Field(NamedTuple):
    """A part of an answer that is asked for by itself.

    Attributes:
        name: Its name; empty: it is all of the answer.
        schema: Its JSON Schema.
        is_required: Whether it cannot be left out.
    """

    name: str
    schema: Schema
    is_required: bool


class Form:
    """What can be answered to a question.

    Args:
        schema: The JSON Schema of the answer.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._shared: Mapping[str, Schema] = schema.get("$defs", {})

    @property
    def fields(self) -> Sequence[Field]:
        """What is to be asked for, one by one: the fields of an object, or the answer as it is."""
        whole = self._resolved(self._schema)
        known: Mapping[str, Schema] = whole.get("properties", {})
        if not known:
            return [Field("", whole, True)]
        return [Field(name, self._resolved(one), name in whole.get("required", ())) for name, one in known.items()]

    def hint(self, field: Field) -> str:
        """What a field takes, for people: ``y/n``."""
        takes = " or ".join(dict.fromkeys(self._hints(field.schema)))
        if field.is_required:
            return takes
        left_out = json.dumps(field.schema["default"], ensure_ascii=False) if "default" in field.schema else "left out"
        return f"{takes}; empty: {left_out}"

    def read(self, text: str) -> Any:
        """A whole answer.

        Raises:
            WrongAnswer: It is none.
        """
        return self._read(self._schema, text.strip())

    def read_fields(self, texts: Mapping[str, str]) -> Any:
        """A whole answer from the texts of its fields.

        Raises:
            WrongAnswer: One is none.
        """
        fields = {field.name: field for field in self.fields}
        given = {
            name: self.read_field(fields[name], text)
            for name, text in texts.items()
            if text or fields[name].is_required
        }
        return given[""] if "" in fields else given

    def read_field(self, field: Field, text: str) -> Any:
        """The value of one field.

        Raises:
            WrongAnswer: The text is none.
        """
        return self._read(field.schema, text)

    def _resolved(self, schema: Schema) -> Schema:
        """A schema in the place of its name."""
        while (ref := str(schema.get("$ref", ""))).startswith(REF):
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            schema = {**self._shared[ref.removeprefix(REF)], **rest}
        return schema

    def _hints(self, schema: Schema) -> Iterator[str]:
        schema = self._resolved(schema)
        if options := _options(schema):
            for one in options:
                yield from self._hints(one)
        elif values := _choices(schema):
            yield ", ".join(map(_written, values))
        else:
            kind = str(schema.get("type", ""))
            yield schema.get("format", HINTS[kind]) if kind == "string" else HINTS.get(kind, "JSON")

    def _read(self, schema: Schema, text: str) -> Any:
        schema = self._resolved(schema)
        if options := _options(schema):
            return self._read_one_of([self._resolved(one) for one in options], text)
        if values := _choices(schema):
            for value in values:
                if text in (_written(value), json.dumps(value)):
                    return value
            raise WrongAnswer(f"that is none of: {', '.join(map(_written, values))}")
        return _read_plain(str(schema.get("type", "")), text)

    def _read_one_of(self, options: Sequence[Schema], text: str) -> Any:
        """The value for the first that takes it; any text is one of a plain ``string``, so that comes last."""
        for one in sorted(options, key=lambda one: _rank(one, text)):
            try:
                return self._read(one, text)
            except WrongAnswer:
                continue
        raise WrongAnswer(f"that is no {' or '.join(dict.fromkeys(self._hints({'anyOf': options})))}")


def _options(schema: Schema) -> Sequence[Schema]:
    options: Sequence[Schema] = schema.get("anyOf") or schema.get("oneOf") or ()
    return options


def _choices(schema: Schema) -> Sequence[Any]:
    values: Sequence[Any] = [schema["const"]] if "const" in schema else schema.get("enum", ())
    return values


def _written(value: Any) -> str:
    """A choice as people write it."""
    return value if isinstance(value, str) else json.dumps(value)


def _rank(schema: Schema, text: str) -> int:
    """Which option is tried first: text of a form that fits, as a decimal number's, so that no digit is lost."""
    if schema.get("type") != "string" or _choices(schema):
        return 1
    return 0 if "pattern" in schema and re.search(schema["pattern"], text) else 2


def _read_plain(kind: str, text: str) -> Any:
    """The value of a type that JSON has."""
    if kind == "string":
        return _text(text)
    if kind == "boolean" and text.lower() in (*YES, *NO):
        return text.lower() in YES
    if kind == "null" and text in ("", "null"):
        return None
    try:
        if kind == "integer":
            return int(text)
        value = json.loads(text)
    except ValueError:
        if kind == "":
            return _text(text)  # anything, and text needs no quotes
        raise WrongAnswer(f"that is no {HINTS[kind]}") from None
    if kind in ("boolean", "null") or type(value) not in KINDS.get(kind, (type(value),)):
        raise WrongAnswer(f"that is no {HINTS[kind]}")
    return value


def _text(text: str) -> str:
    """A text, with or without the quotes of JSON; without them it cannot be empty."""
    if not text:
        raise WrongAnswer('an answer is needed; "" is the empty text')
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str) else text
