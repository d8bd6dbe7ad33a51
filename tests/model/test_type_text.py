"""Types as text, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
import spec_kit
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field
from spec_kit import Mail, Queue

from flujo_core.model.check import union
from flujo_core.model.type_text import read_type, type_text


def find(path: str) -> Any:
    found: Any = spec_kit
    for part in path.partition(":")[2].split("."):
        if not hasattr(found, part):
            raise LookupError(f"there is no '{path}'")
        found = getattr(found, part)
    return found


plain = st.sampled_from([Any, str, int, type(None), object, Mail, Queue, datetime, UUID, bytes])
literals = st.lists(
    st.text() | st.integers() | st.booleans() | st.none() | st.sampled_from(Queue), min_size=1, max_size=3, unique=True
)
TYPES = st.recursive(
    plain | literals.map(lambda values: Literal[tuple(values)]),
    lambda inner: (
        inner.map(lambda one: list[one])
        | inner.map(lambda one: tuple[one, ...])
        | inner.map(lambda one: Sequence[one])
        | inner.map(lambda one: Iterable[one])
        | st.tuples(inner, inner).map(lambda two: dict[two])
        | st.tuples(inner, inner).map(lambda two: Mapping[two])
        | st.tuples(inner, inner).map(lambda two: union([*two, type(None)]))
    ),
    max_leaves=5,
)


@given(TYPES)
def test_a_type_comes_back_from_its_text(hint: Any) -> None:
    assert read_type(type_text(hint), find) == hint


PIECES = ["list", "dict", "tuple", "Literal", "k:Mail", "k:echo", "k:Mails", "None", "Any", "int", "'a'", "-1", "007"]


@given(st.lists(st.sampled_from([*PIECES, "[", "]", ",", "|", "...", " ", "k:Queue.BILLING", "x", "'"]), max_size=8))
def test_any_text_is_a_type_or_refused(pieces: list[str]) -> None:
    with suppress(LookupError):
        read_type("".join(pieces), find)


def test_an_alias_may_be_read_too() -> None:
    assert read_type("k:Short", find) is spec_kit.Short and type_text(spec_kit.Short) == "spec_kit:Short"
    assert read_type("k:Mails", find) == list[Mail] and read_type("None", find) is type(None)


def test_types_are_written_as_one_would() -> None:
    assert type_text(list[Mail] | None) == "list[spec_kit:Mail] | None"
    assert type_text(dict[str, tuple[int, ...]]) == "dict[str, tuple[int, ...]]"
    assert type_text(Literal["a", Queue.OTHER, -1]) == "Literal['a', spec_kit:Queue.OTHER, -1]"


class Local(Enum):
    ONE = 1


@pytest.mark.parametrize(
    ("hint", "said"),
    [
        (Annotated[str, Field(max_length=3)], "has an annotated type"),
        (list[Annotated[str, 1]], "has an annotated type"),
        (Literal[b"x"], "has a literal of bytes"),
        (Callable[[int], str], "has a type that is a 'list'"),
        (tuple[()], "has a type that is"),
        ("forward", "has a type that is a 'str'"),
    ],
)
def test_a_type_without_a_name_is_refused(hint: Any, said: str) -> None:
    with pytest.raises(LookupError, match=said):
        type_text(hint)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is no type; write one such as"),
        ("str]", "goes on after one"),
        ("str str", "goes on after one"),
        ("list[str", r"a '\]' is missing"),
        ("list[", "it has 'the end' where a name belongs"),
        ("| str", r"it has '\|' where a name belongs"),
        ("'str'", "where a name belongs"),
        ("strin", "there is no type 'strin'; did you mean 'str'"),
        ("Mail", "there is no type 'Mail'; .*others are 'module:name'"),
        ("k:Nope", "there is no 'k:Nope'"),
        ("int[str]", "'int' holds no such types"),
        ("k:echo", "'k:echo' is a 'Echo', and no type"),
        ("Literal", r"a '\[' is missing"),
        ("Literal[]", r"'\]' is no literal"),
        ("Literal[k:Mail]", "'k:Mail' is no literal; a text stands in quotes"),
        ("Literal[", "'the end' is no literal"),
        (r"Literal['\x']", "a literal that cannot be read"),
        ("Literal[007]", "a literal that cannot be read"),
        ("list[__import__('os')]", "is no type"),
        ("list[" * 30 + "str" + "]" * 30, "too deep"),
    ],
)
def test_what_is_no_type_is_refused(text: str, said: str) -> None:
    with pytest.raises(LookupError, match=said):
        read_type(text, find)
