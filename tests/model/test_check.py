"""Which types fit which: the same edges as type checkers let pass."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, NotRequired, Optional, Protocol, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, JsonValue
from typing_extensions import TypeAliasType, TypedDict

from flujo_core import DefinitionError, EdgeError, step
from flujo_core.model.check import check_unique, fits, type_name


class Animal(BaseModel):
    name: str = ""


class Dog(Animal):
    pass


class Cat(Animal):
    pass


class Color(enum.Enum):
    RED = 1
    BLUE = 2


T = TypeVar("T")


class Box(BaseModel, Generic[T]):
    value: T


class Point(NamedTuple):
    x: int
    y: str


class Small(TypedDict):
    a: int


class Large(TypedDict):
    a: int
    b: str


class Wrong(TypedDict):
    a: str


class Perhaps(TypedDict):
    a: NotRequired[int]


class Named(Protocol):
    name: str


class Speaks(Protocol):
    def speak(self) -> str: ...


class Parrot:
    def speak(self) -> str:
        return "hello"


@dataclass
class Record:
    x: int = 0


class Numbers(list[int]):
    pass


Gives = TypeVar("Gives", covariant=True)
Takes = TypeVar("Takes", contravariant=True)


class Giver(Generic[Gives]):
    pass


class GiverOfDogs(Giver[Dog]):
    pass


class Taker(Generic[Takes]):
    pass


UserId = NewType("UserId", int)
Ids = TypeAliasType("Ids", list[int])

HINTS: list[Any] = [
    int, str, float, bool, None, object, Any, Animal, Dog, Color, list, dict, list[int], list[Any], dict[str, int],
    dict[str, list[Dog]], tuple[int, str], tuple[int, ...], set[int], frozenset[str], Sequence[int], Mapping[str, int],
    Iterable[str], int | None, int | str, Dog | Cat | None, Literal["a"], Literal["a", "b"], Literal[1, "a", None],
    Annotated[int, Field(ge=0)], Annotated[list[int], "x"], Box[int], Box[list[int]], Point, Small, Large, Record,
    UserId, Ids, JsonValue, Callable[[int], str], Callable[..., Any], type[int], Hashable, Numbers, Speaks, Named, T,
    bytes, complex, type(None), Literal[Color.RED], dict[int, dict[int, Any]],
]  # fmt: skip


@pytest.mark.parametrize("hint", HINTS, ids=type_name)
def test_every_type_fits_itself_and_what_is_wider(hint: Any) -> None:
    assert fits(hint, hint) and fits(hint, Any) and fits(hint, object) and fits(Any, hint)
    assert fits(hint, Optional[hint])  # noqa: UP045 - None itself is among them
    assert fits(Annotated[hint, "note"], hint) and fits(hint, Annotated[hint, "note"])


@given(st.sampled_from(HINTS), st.sampled_from(HINTS))
def test_any_two_types_can_be_compared(one: Any, other: Any) -> None:
    assert fits(one, other) in (True, False)


# What mypy 1.18 says of passing a value of the first type where the second is declared.
CASES: list[tuple[Any, Any, bool]] = [
    (bool, int, True),
    (int, float, True),
    (int, complex, True),
    (float, int, False),
    (int, str, False),
    (str, int, False),
    (None, int, False),
    (None, int | None, True),
    (int | None, int, False),
    (int, int | None, True),
    (int, float | None, True),
    (int | str, str | int, True),
    (int | str, int | str | None, True),
    (int | str | None, int | str, False),
    (bool | None, int | None, True),
    (Dog, Animal, True),
    (Animal, Dog, False),
    (Dog | Cat, Animal, True),
    (Animal, Dog | Cat, False),
    (Dog, Cat, False),
    (object, int, False),
    (Literal["a"], str, True),
    (Literal["a"], Literal["a", "b"], True),
    (Literal["a", "b"], Literal["a"], False),
    (str, Literal["a"], False),
    (Literal[1], int, True),
    (Literal[1], str, False),
    (Literal["a", 1], int | str, True),
    (Literal[Color.RED], Color, True),
    (Color, int, False),
    (list[int], list[int], True),
    (list[int], list[str], False),
    (list[bool], list[int], False),
    (list[int], list[int | None], False),
    (dict[str, int], dict[str, int | None], False),
    (dict[str, int], Iterable[str], True),
    (dict[str, int], Iterable[int], False),
    (bytes, Sequence[int], True),
    (str, Sequence[int], False),
    (set[int], Iterable[int], True),
    (set[int], Sequence[int], False),
    (tuple[int, str], Sequence[int], False),
    (tuple[()], tuple[int, ...], True),
    (tuple[()], Sequence[int], True),
    (tuple[int, ...], Sequence[float], True),
    (Giver[Dog], Giver[Animal], True),
    (Giver[Animal], Giver[Dog], False),
    (Taker[Animal], Taker[Dog], True),
    (Taker[Dog], Taker[Animal], False),
    (Giver[Any], Giver[Dog], True),
    (GiverOfDogs, Giver[Animal], True),
    (Counter[str], dict[str, int], True),
    (Counter[str], Mapping[str, float], True),
    (list[int], list[Any], True),
    (list[Any], list[int], True),
    (list[int], Sequence[int], True),
    (list[int], Sequence[float], True),
    (list[Dog], Sequence[Animal], True),
    (list[Dog], Iterable[Animal], True),
    (list[Animal], Sequence[Dog], False),
    (list[int], Sequence[int | None], True),
    (list[int], set[int], False),
    (Sequence[int], list[int], False),
    (list[int], list, True),
    (list, list[int], True),
    (list, dict[str, int], False),
    (list[int], object, True),
    (list[int], int, False),
    (int, list[int], False),
    (str, Sequence[str], True),
    (str, list[str], False),
    (bytes, str, False),
    (dict[str, int], Mapping[str, int], True),
    (dict[str, int], Mapping[str, float], True),
    (dict[str, Dog], Mapping[str, Animal], True),
    (dict[str, int], dict[int, str], False),
    (dict[str, int], dict, True),
    (dict, Mapping[str, int], True),
    (tuple[int, str], tuple[int, str], True),
    (tuple[int, str], tuple[str, int], False),
    (tuple[int, int], tuple[int, ...], True),
    (tuple[int, int], Sequence[int], True),
    (tuple[Dog, int], tuple[Animal, float], True),
    (tuple[int], tuple[int, int], False),
    (tuple[int, ...], tuple[int, int], False),
    (set[int], frozenset[int], False),
    (Numbers, list[int], True),
    (Numbers, Sequence[int], True),
    (Point, tuple[int, str], True),
    (Box[int], Box[int], True),
    (Box[int], Box[str], False),
    (Box[int], Box[Any], True),
    (Box[Any], Box[int], True),
    (Box[int], BaseModel, True),
    (Large, Small, True),
    (Small, Large, False),
    (Wrong, Small, False),
    (Perhaps, Small, False),
    (Small, Mapping[str, object], True),
    (Small, dict[str, Any], False),
    (dict[str, int], Small, False),
    (Small, int, False),
    (list[Small], Sequence[Mapping[str, object]], True),
    (UserId, int, True),
    (int, UserId, False),
    (list[int], Ids, True),
    (Ids, list[int], True),
    (list[str], Ids, False),
    (str, JsonValue, True),
    (dict[str, JsonValue], JsonValue, True),
    (list[JsonValue], JsonValue, True),
    (int | None, JsonValue, True),
    (Parrot, Speaks, True),
    (int, Speaks, False),
    (Animal, Named, True),
    (int, Hashable, True),
    (type[Dog], type[Animal], True),
    (type[int], type[str], False),
    (Callable[[int], str], Callable[[int], str], True),
    (Callable[[int], str], Callable[..., Any], True),
    (int, T, True),
    (list[int], T, True),
    (Annotated[int, Field(ge=0)], int, True),
    (Annotated[int, Field(ge=0)], str, False),
    (int, Annotated[int, Field(ge=0)], True),
    (list[Annotated[int, Field(ge=0)]], list[int], True),
    (Annotated[list[Dog] | None, "x"], Sequence[Animal] | None, True),
    (Record, Record, True),
    (Record, dict, False),
]


def _id(value: Any) -> str:
    return str(value) if isinstance(value, bool) else type_name(value)


@pytest.mark.parametrize(("given_type", "wanted", "expected"), CASES, ids=_id)
def test_an_edge_is_what_type_checkers_say_of_it(given_type: Any, wanted: Any, expected: bool) -> None:
    assert fits(given_type, wanted) is expected


def _edge(given_type: Any, wanted: Any) -> Any:
    async def left() -> Any: ...
    async def right(value: Any) -> None: ...

    left.__annotations__["return"] = given_type
    right.__annotations__["value"] = wanted
    return step(left) >> step(right)


def test_an_edge_that_does_not_fit_is_refused_when_built_and_names_both_ends() -> None:
    with pytest.raises(EdgeError) as refused:
        _edge(list[Animal], dict[str, int | None])
    for part in ("'left'", "'right'", "'list[Animal]'", "'dict[str, int | None]'"):
        assert part in str(refused.value)


def test_a_step_that_takes_a_protocol_can_follow_one_that_gives_it() -> None:
    assert _edge(Parrot, Speaks) and _edge(Animal, Named)


@pytest.mark.parametrize(
    ("hint", "name"),
    [
        (int, "int"), (None, "None"), (int | None, "int | None"), (list[Dog], "list[Dog]"),
        (dict[str, list[int]], "dict[str, list[int]]"), (tuple[int, ...], "tuple[int, ...]"), (Any, "Any"),
        (Annotated[int, 1], "int"), (Literal["a"], "Literal['a']"), (Box[int], "Box[int]"),
    ],
)  # fmt: skip
def test_types_are_written_as_one_writes_them(hint: Any, name: str) -> None:
    assert type_name(hint) == name


def test_two_steps_of_one_name_in_a_scope_are_refused() -> None:
    with pytest.raises(DefinitionError, match=r"2 steps in here are named 'b'.*named"):
        check_unique(["a", "b", "c", "b"], "here")
    check_unique(["a", "b"], "here")
