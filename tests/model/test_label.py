"""Where the values of a type carry labels."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, NamedTuple, NewType, NotRequired, Required, TypeVar

import pytest
from pydantic import BaseModel, Field, RootModel, computed_field
from typing_extensions import TypeAliasType, TypedDict

from flujo_core.errors import DefinitionError
from flujo_core.model.label import Label, labels_of

if TYPE_CHECKING:
    from elsewhere import Unknown  # type: ignore[import-not-found]

T = TypeVar("T")
Secret = Annotated[str, Label("phi")]
Bounded = TypeVar("Bounded", bound=Annotated[str, Label("phi")])


class Name(BaseModel):
    first: Secret
    age: int = 0


class Person(BaseModel):
    name: Name
    others: list[Name] = []
    by_id: dict[Annotated[str, Label("id")], Name] = {}
    note: Annotated[str, Label("note"), Field(max_length=3)] | None = None
    twice: Annotated[str | None, Label("b"), Label("a")] = Field(default=None)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def full(self) -> Secret:
        return ""


class Tree(BaseModel):
    name: Secret
    below: list[Tree] = []


@dataclass
class Left:
    right: Right | None
    mine: Secret


@dataclass
class Right:
    left: list[Left]
    other: Annotated[str, Label("other")]


@dataclass
class Box(Generic[T]):
    value: T
    more: list[T]


class Boxed(Box[Secret]):
    pass


class Keys(TypedDict):
    sure: Required[Secret]
    perhaps: NotRequired[Annotated[int, Label("id")]]


class Pair(NamedTuple):
    one: Secret
    other: int


class Page(Generic[T]):
    def __init__(self, value: object) -> None:
        self.value = value


class Names(list[Secret]):
    pass


class Generic_(BaseModel, Generic[T]):
    value: T


@dataclass
class Deeper(Generic[T]):
    inner: Deeper[list[T]] | None
    value: Annotated[T, Label("phi")]


@dataclass
class HalfKnown:
    missing: Unknown
    known: Secret


class Later(BaseModel):
    later: Annotated[Defined, Label("phi")]


class Defined(BaseModel):
    name: Annotated[str, Label("name")]


Alias = TypeAliasType("Alias", Secret)
Around = TypeAliasType("Around", Annotated[list[T], Label("list")], type_params=(T,))  # type: ignore[misc]
Number = NewType("Number", Annotated[int, Label("id")])  # type: ignore[valid-newtype]


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        pytest.param(str, {}, id="a plain type"),
        pytest.param(Any, {}, id="anything"),
        pytest.param(None, {}, id="nothing"),
        pytest.param(list, {}, id="a container without parameters"),
        pytest.param(Secret, {"": "phi"}, id="a type itself"),
        pytest.param(Secret | None, {"": "phi"}, id="a member of a union"),
        pytest.param(Annotated[Name, Label("x")], {"": "x", "first": "phi"}, id="a model, and a field of it"),
        pytest.param(
            Person,
            {
                "name.first": "phi",
                "others.*.first": "phi",
                "by_id.~key": "id",
                "by_id.*.first": "phi",
                "note": "note",
                "twice": "a b",
                "full": "phi",
            },
            id="fields at any depth",
        ),
        pytest.param(Tree, {"name": "phi", "below.*.**.name": "phi"}, id="a model that holds itself"),
        pytest.param(
            Left,
            {
                "right.other": "other",
                "mine": "phi",
                "right.left.*.**.mine": "phi",
                "right.left.*.**.right.other": "other",
            },
            id="two classes that hold each other",
        ),
        pytest.param(Box[Secret], {"value": "phi", "more.*": "phi"}, id="a generic dataclass"),
        pytest.param(
            Box[Box[Secret]],
            {"value.value": "phi", "value.more.*": "phi", "more.*.value": "phi", "more.*.more.*": "phi"},
            id="a generic dataclass in itself",
        ),
        pytest.param(Boxed, {"value": "phi", "more.*": "phi"}, id="a subclass of a generic dataclass"),
        pytest.param(Generic_[Secret], {"value": "phi"}, id="a generic model"),
        pytest.param(Page[Secret], {"*": "phi"}, id="a generic class that does not say what it holds"),
        pytest.param(Names, {"*": "phi"}, id="a subclass of a list"),
        pytest.param(Keys, {"sure": "phi", "perhaps": "id"}, id="a typed dict"),
        pytest.param(Pair, {"one": "phi"}, id="a named tuple"),
        pytest.param(RootModel[list[Name]], {"root.*.first": "phi"}, id="a root model"),
        pytest.param(AsyncIterator[Name], {"*.first": "phi"}, id="a stream"),
        pytest.param(tuple[int, Secret], {"1": "phi"}, id="a tuple of fixed length"),
        pytest.param(tuple[Secret, ...], {"*": "phi"}, id="a tuple of any length"),
        pytest.param(Alias, {"": "phi"}, id="an alias"),
        pytest.param(Around[Secret], {"": "list", "*": "phi"}, id="a generic alias"),
        pytest.param(Number, {"": "id"}, id="a new type"),
        pytest.param(Bounded, {"": "phi"}, id="the bound of a type variable"),
        pytest.param(Callable[[Secret], Secret], {}, id="a function"),
        pytest.param(Literal["phi"], {}, id="a literal"),
        pytest.param(type[Name], {}, id="a class as a value"),
        pytest.param(HalfKnown, {"known": "phi"}, id="a class with a name that is not there at run time"),
        pytest.param(Later, {"later": "phi", "later.name": "name"}, id="a model that was made before its field's"),
    ],
)
def test_the_labelled_places_of_a_type_are_found(hint: Any, expected: dict[str, str]) -> None:
    assert {".".join(path): " ".join(labels) for path, labels in labels_of(hint)} == expected


def test_a_generic_class_that_grows_in_itself_is_looked_into_for_a_while() -> None:
    found = labels_of(Deeper[int])
    assert found[-1].path == ("value",)
    assert 1 < len(found) < 20


def test_labels_are_equal_by_their_names() -> None:
    assert Label("phi") == Label("phi")
    assert Label("phi") != Label("pii")
    assert Label("phi") != "phi"
    assert len({Label("phi"), Label("phi")}) == 1
    assert repr(Label("phi")) == "Label('phi')"


@pytest.mark.parametrize("name", ["", " ", "two words", "phi!", "."])
def test_a_label_is_a_word(name: str) -> None:
    with pytest.raises(DefinitionError, match="a label is a word, such as 'phi', of letters"):
        Label(name)


def test_a_label_is_text() -> None:
    with pytest.raises(DefinitionError, match="a label is a word, such as 'phi', not 'int'"):
        Label(3)  # type: ignore[arg-type]
