"""Types as text that can be read back: ``str``, ``list[acme.mail:Email]``, ``Literal['a', 'b'] | None``."""

from __future__ import annotations

import re
from ast import literal_eval
from collections.abc import AsyncIterable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, Protocol, get_args, get_origin, runtime_checkable
from uuid import UUID

from flujo_core.errors import did_you_mean
from flujo_core.model.check import members, union
from flujo_core.model.import_path import path_of

KNOWN: Mapping[str, Any] = {
    "Any": Any, "None": type(None),
    **{kind.__name__: kind for kind in (
        bool, bytes, dict, float, frozenset, int, list, object, set, str, tuple,
        date, datetime, time, timedelta, Decimal, Path, UUID,
        AsyncIterable, Collection, Iterable, Mapping, Sequence,
    )},
}  # fmt: skip
"""The types that need no import path."""

TOKEN = re.compile(
    r"""\s*(?:(?P<name>[A-Za-z_][\w.]*(?::[A-Za-z_][\w.]*)?)|(?P<value>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|-?\d+)"""
    r"""|(?P<mark>\.\.\.|[\[\],|]))"""
)
DEEPEST = 20
"""How many brackets there may be in each other."""

CONSTANTS = {"True": True, "False": False, "None": None}


@runtime_checkable
class _Alias(Protocol):
    """What ``type X = ...`` makes, and typing_extensions' ``TypeAliasType``, which is another class."""

    __value__: Any


def type_text(hint: Any) -> str:
    """A type as text.

    Raises:
        LookupError: It has no name that could be imported; the message says why, to be put behind its place.
    """
    hint = type(None) if hint is None else hint
    for name, kind in KNOWN.items():
        if hint is kind:
            return name
    if get_origin(hint) is Annotated:
        raise LookupError("has an annotated type; make a type of it that has a name, such as a pydantic model")
    if len(parts := members(hint)) > 1:
        return " | ".join(map(type_text, parts))
    if get_origin(hint) is Literal:
        return f"Literal[{', '.join(map(_literal, get_args(hint)))}]"
    if get_origin(hint) is not None and get_args(hint):
        return f"{type_text(get_origin(hint))}[{', '.join(map(_argument, get_args(hint)))}]"
    try:
        return path_of(hint)
    except LookupError as error:
        raise LookupError(f"has a type that {error}; define it in a module") from None


def _argument(hint: Any) -> str:
    return "..." if hint is ... else type_text(hint)


def _literal(value: Any) -> str:
    if isinstance(value, Enum):
        return path_of(value)
    if isinstance(value, bytes):
        raise LookupError("has a literal of bytes, which no spec can name; use a text")
    return repr(value)


def read_type(text: str, find: Callable[[str], Any]) -> Any:
    """The type that a text names.

    Args:
        text: What ``type_text`` gives.
        find: What an import path names; raises ``LookupError``.

    Raises:
        LookupError: It names none; the message says why.
    """
    reader = _TypeReader(text, find)
    found = reader.union(0)
    if reader.tokens:
        raise LookupError(f"'{text}' is no type: it goes on after one; write '{KNOWN_FORM}'")
    return found


KNOWN_FORM = "list[acme.mail:Email] | None"


class _TypeReader:
    """Reads a type, token by token.

    Args:
        text: The whole text.
        find: What an import path names.
    """

    def __init__(self, text: str, find: Callable[[str], Any]) -> None:
        self.text = text
        self.find = find
        self.tokens: list[tuple[str, str]] = []
        end = 0
        while found := TOKEN.match(text, end):
            self.tokens.append((str(found.lastgroup), found[found.lastgroup or 0]))
            end = found.end()
        if text[end:].strip() or not self.tokens:
            raise LookupError(f"'{text}' is no type; write one such as '{KNOWN_FORM}'")

    def union(self, depth: int) -> Any:
        """Types with ``|`` between them."""
        if depth > DEEPEST:
            raise LookupError("is a type that is too deep; give it a name in a module")
        found = [self.one(depth)]
        while self.tokens[:1] == [("mark", "|")]:
            self.tokens.pop(0)
            found.append(self.one(depth))
        return union(found) if len(found) > 1 else found[0]

    def one(self, depth: int) -> Any:
        """A type with what it holds."""
        kind, name = self.take()
        if kind != "name":
            raise LookupError(f"'{self.text}' is no type: it has '{name}' where a name belongs")
        if name == "Literal":
            return Literal[tuple(self.listed(self.literal))]
        found = KNOWN[name] if name in KNOWN else self.named(name)
        if self.tokens[:1] != [("mark", "[")]:
            return found
        try:
            return found[tuple(self.listed(lambda: self.argument(depth + 1)))]
        except TypeError:
            raise LookupError(f"'{self.text}' is no type: '{name}' holds no such types") from None

    def named(self, name: str) -> Any:
        """What an import path names."""
        if ":" not in name:
            raise LookupError(f"there is no type '{name}'{did_you_mean(name, KNOWN)}; others are 'module:name'")
        found = self.find(name)
        if not isinstance(found, type | NewType | _Alias) and get_origin(found) is None:
            raise LookupError(f"'{name}' is a {type(found).__name__!r}, and no type")
        return found

    def listed(self, read: Callable[[], Any]) -> list[Any]:
        """What stands between brackets, with commas between."""
        self.expect("[")
        found = [read()]
        while self.tokens[:1] == [("mark", ",")]:
            self.tokens.pop(0)
            found.append(read())
        self.expect("]")
        return found

    def argument(self, depth: int) -> Any:
        """A type, or ``...``."""
        if self.tokens[:1] == [("mark", "...")]:
            self.tokens.pop(0)
            return ...
        return self.union(depth)

    def literal(self) -> Any:
        """A text, a whole number, a constant or a member of an enum."""
        kind, token = self.take()
        if kind == "value":
            return _evaluated(token, self.text)
        if kind == "name" and token in CONSTANTS:
            return CONSTANTS[token]
        found = self.find(token) if kind == "name" else None
        if not isinstance(found, Enum):
            raise LookupError(f"'{self.text}' is no type: '{token}' is no literal; a text stands in quotes")
        return found

    def expect(self, mark: str) -> None:
        """Takes a mark."""
        if self.take() != ("mark", mark):
            raise LookupError(f"'{self.text}' is no type: a '{mark}' is missing")

    def take(self) -> tuple[str, str]:
        """Takes the next token."""
        return self.tokens.pop(0) if self.tokens else ("end", "the end")


def _evaluated(token: str, text: str) -> Any:
    try:
        return literal_eval(token)
    except (ValueError, SyntaxError):  # such as '\x', or 007
        raise LookupError(f"'{text}' is no type: it has a literal that cannot be read") from None
