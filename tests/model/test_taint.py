"""What is known of a part of a value: it is found, wherever the type says so; else all of the value may be in it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Generic, NamedTuple, TypeVar

import pytest
from pydantic import BaseModel, computed_field
from typing_extensions import TypedDict

from flujo_core.model.label import Label
from flujo_core.model.taint import Origin, Record, Value, declared, joined, one_of

if TYPE_CHECKING:
    from elsewhere import Unknown  # type: ignore[import-not-found]

T = TypeVar("T")
Phi = Annotated[str, Label("phi")]


class Patient(BaseModel):
    name: Phi
    age: int = 0

    @property
    def shown(self) -> str:
        return self.name

    @cached_property
    def kept(self) -> str:
        return self.name

    @computed_field  # type: ignore[prop-decorator]
    @property
    def loud(self) -> str:
        return self.name

    def method(self) -> str:
        return self.name


class Tree(BaseModel):
    patient: Patient
    below: list[Tree] = []
    size: int = 0


@dataclass
class Box(Generic[T]):
    inside: T
    size: int = 0


class Keys(TypedDict):
    name: Phi
    age: int


class Pair(NamedTuple):
    name: Phi
    age: int


class Loose:
    name: Phi
    age: int


@dataclass
class Half:
    missing: Unknown
    name: Phi


def value(hint: Any) -> Value:
    return Value({mark: () for mark in declared(hint, "step", "read")}, hint)


def found(one: Value) -> list[str]:
    return sorted(".".join(path) for path, _ in one.marks)


@pytest.mark.parametrize(
    ("hint", "path", "expected"),
    [
        (Patient, "name", [""]),
        (Patient, "age", []),
        (Patient, "name.upper", [""]),
        (Patient, "shown", [""]),
        (Patient, "kept", [""]),
        (Patient, "loud", [""]),
        (Patient, "method", [""]),
        (Patient, "nothing", []),
        (Patient | None, "age", []),
        (Patient | None, "name", [""]),
        (Patient | Tree, "shown", [""]),
        (Tree, "patient", ["name"]),
        (Tree, "size", []),
        (Tree, "below", ["*.**.patient.name"]),
        (Box[Patient], "size", []),
        (Box[Patient], "inside", ["name"]),
        (Keys, "age", []),
        (Keys, "name", [""]),
        (Pair, "age", []),
        (Pair, "name", [""]),
        (Loose, "age", []),
        (Loose, "other", [""]),
        (Half, "name", [""]),
        (dict[str, Patient], "left.age", []),
        (dict[str, Patient], "left.name", [""]),
        (Mapping, "left", []),
        (list[Patient], "append", [""]),
        (Record({"left": Patient, "right": Any}), "left.age", []),
        (Any, "age", []),
    ],
)  # fmt: skip
def test_a_field_has_what_the_type_has_there(hint: Any, path: str, expected: list[str]) -> None:
    if isinstance(hint, Record):
        begun = Value({mark: () for mark in declared(Patient, "step", "read")}, Patient).within("left", hint)
    else:
        begun = value(hint)
    assert set(found(begun.at(path.split(".")))) == set(expected)


def test_in_a_type_that_holds_itself_a_label_is_at_any_depth() -> None:
    item = value(Tree).at(["below"]).item(Tree)
    assert found(item.at(["patient", "age"])) == [] and found(item.at(["size"])) == []
    assert "" in found(item.at(["patient", "name"])) and "" in found(item.at(["below"]).item(Any).at(["x"]))


def test_an_item_of_what_is_no_collection_may_be_any_of_it() -> None:
    assert found(value(Patient).item(Any)) == [""]
    assert found(value(list[Patient]).item(Patient)) == ["name"]


def test_what_was_cleared_is_known_in_its_parts() -> None:
    cleared = value(Patient).without(["phi"]).within("left", Any)
    assert cleared.says(("left", "name"), "phi") and not cleared.says(("right",), "phi")
    inner = Value(hint=Record({"left": Patient}), cleared=cleared.cleared).at(["left"])
    assert inner.taken(Patient, "use").marks == {}
    item = value(Patient).without(["phi"]).within("*", list[Patient]).item(Patient)
    assert item.taken(Patient, "use").marks == {} and value(int).taken(Patient, "use").marks != {}


def test_of_two_ways_the_shorter_one_is_kept() -> None:
    mark = ((), Origin("phi", "step", "read", ()))
    long, short = Value({mark: ("a", "b")}, str), Value({mark: ("c",)}, str)
    assert joined(long, short).marks == joined(short, long).marks == {mark: ("c",)}


def test_the_type_of_either_of_two() -> None:
    assert one_of([int, int]) is int and one_of([int, str]) == int | str and one_of([]) is Any
    assert one_of([Record({}), int]) is Any and one_of([Record({}), Record({})]) == Record({})
    unhashable = Annotated[int, {}]
    assert one_of([unhashable, str]) in (Any, unhashable | str if sys.version_info >= (3, 13) else Any)
