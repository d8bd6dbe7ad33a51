"""Values and their types: what a message may say of them, and how two are told apart."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from flujo_core import InvalidValue
from flujo_core.model.value import difference, encoded, flaws, validated


class Inner(BaseModel):
    number: int


class Outer(BaseModel):
    inner: Inner
    items: list[Inner] = []
    by_name: dict[str, Inner] = {}
    by_number: dict[int, Inner] = {}
    renamed: int = Field(default=0, alias="otherName")


class Typed(TypedDict):
    a: int
    b: list[int]


@dataclass
class Plain:
    x: int
    y: list[int]


@dataclass(slots=True)
class Slotted:
    x: int
    y: Any


def found(hint: Any, value: Any) -> str:
    with pytest.raises(ValidationError) as raised:
        TypeAdapter(hint).validate_python(value)
    return flaws(raised.value, hint)


@pytest.mark.parametrize(
    ("hint", "value", "path"),
    [
        (Outer, {"inner": {"number": "CANARY"}}, "'inner.number'"),
        (Outer, {"inner": {"number": 1}, "items": [{"number": 1}, {"number": "CANARY"}]}, "'items.1.number'"),
        (Outer, {"inner": {}}, "'inner.number'"),
        (Typed, {"a": 1, "b": [1, "CANARY"]}, "'b.1'"),
        (Plain, {"x": "CANARY", "y": []}, "'x'"),
        (list[int], [1, "CANARY"], "'1'"),
        (int, "CANARY", "int_parsing"),
    ],
)
def test_a_flaw_is_told_by_its_path_and_never_by_its_value(hint: Any, value: Any, path: str) -> None:
    said = found(hint, value)
    assert path in said and "CANARY" not in said


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (Outer, {"inner": {"number": 1}, "by_name": {"CANARY": {"number": "x"}}}),
        (Outer, {"inner": {"number": 1}, "by_number": {"4711081547110815": {"number": "x"}}}),
        (dict[str, int], {"CANARY": "x"}),
        (dict[int, int], {4711081547110815: "x"}),
        (dict[str, dict[str, int]], {"a": {"CANARY": "x"}}),
        (list[dict[int, int]], [{4711081547110815: "x"}]),
        (dict[int, int] | None, {4711081547110815: "x"}),
        (Outer, {"inner": {"number": 1}, "otherName": "CANARY"}),
    ],
    ids=str,
)
def test_a_key_of_a_mapping_is_a_value_too_and_is_not_told(hint: Any, value: Any) -> None:
    said = found(hint, value)
    assert "CANARY" not in said and "4711081547110815" not in said


def test_an_unexpected_key_is_not_told() -> None:
    class Strict(BaseModel, extra="forbid"):
        a: int = 1

    assert "CANARY" not in found(Strict, {"CANARY": 1})


def test_many_flaws_are_counted() -> None:
    said = found(list[int], ["a"] * 10)
    assert said.count("int_parsing") == 3 and "7 more" in said


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_infinity=False)
    | st.text(max_size=3)
    | st.binary(max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3)
        | st.tuples(inner, inner)
        | st.builds(Slotted, st.integers(), inner)
    ),
    max_leaves=6,
)


@given(values)
def test_a_value_does_not_differ_from_itself(value: Any) -> None:
    assert difference(value, value) is None


@given(values, values)
def test_two_values_differ_where_their_writing_does(one: Any, other: Any) -> None:
    same = repr(one).replace("-0.0", "0.0") == repr(other).replace("-0.0", "0.0")
    assert (difference(one, other) is None) is same


@pytest.mark.parametrize(
    ("one", "other", "place"),
    [
        (1, True, ""), (1, 1.0, ""), ([1], [True], "0"), ({"a": 1}, {"a": 1.0}, "..."), ([1], (1,), ""),
        (Inner(number=1), Inner(number=2), "number"), (Plain(1, [1]), Plain(1, [2]), "y.0"), ([1], [1, 2], ""),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, ""), (math.nan, 1.0, ""), ({1}, {1.0}, ""), ({1}, {True}, ""),
    ],
)  # fmt: skip
def test_a_difference_is_told_by_its_place(one: Any, other: Any, place: str) -> None:
    assert difference(one, other) == (f" at '{place}'" if place else "")


def test_a_value_that_cannot_be_written_is_told_by_its_type() -> None:
    class Odd:
        def __repr__(self) -> str:
            return "CANARY"

    with pytest.raises(InvalidValue, match="its output") as refused:
        encoded(Odd(), Any, "its output")
    assert "CANARY" not in str(refused.value)


def test_a_text_that_is_no_text_is_refused_without_being_shown() -> None:
    with pytest.raises(InvalidValue, match=r"^its output cannot be written to the journal as 'str'$"):
        encoded("\ud800 secret", str, "its output")


@pytest.mark.parametrize(
    ("refuse", "said"),
    [
        (lambda: validated("CANARY", int, "its output"), "its output is not a 'int'"),
        (lambda: encoded("\ud800 CANARY", str, "its output"), "cannot be written"),
        (lambda: encoded({"CANARY": object()}, object, "its output"), "cannot be written"),
    ],
)
def test_not_even_the_traceback_shows_a_value_that_is_refused(refuse: Callable[[], object], said: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        refuse()
    shown = "".join(traceback.format_exception(refused.value)).partition("InvalidValue: ")[2]
    assert said in shown and "CANARY" not in shown
    assert refused.value.__cause__ is None
