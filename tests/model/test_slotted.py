"""Slotted: plain data that is cheap to define, and is to its users what a dataclass is."""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import FrozenInstanceError, field, fields, is_dataclass, replace
from typing import Any, ClassVar, Generic, TypeVar

import pytest
from pydantic import TypeAdapter

from flujo_core.model.slotted import Compared, NamedTuple, Slotted, frozen

T = TypeVar("T")


class Base(Slotted):
    kind: ClassVar[str] = "base"
    name: str
    size: int = 1


class Further(Base):
    kind = "further"
    tail: tuple[int, ...] = ()


class Pair(Compared):
    left: int
    right: int = 0


class Empty(Slotted):
    pass


class Many(Compared):
    items: list[int] = field(default_factory=list)


@frozen()
class Policy:
    attempts: int
    wait: float = 1.0
    on: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError("attempts")


@frozen(eq=False, repr=False)
class Thing:
    name: str


class Named(Thing):
    def __init__(self, other: str) -> None:
        super().__init__(other.upper())


class Row(NamedTuple):
    """A row."""

    left: int
    right: str = "x"

    @property
    def both(self) -> str:
        return f"{self.left}{self.right}"


class Narrow(Row):
    __slots__ = ()

    def replaced(self, **changes: Any) -> Narrow:
        return self._replace(**changes)


class Held(NamedTuple, Generic[T]):
    one: T


class Nothing(NamedTuple):
    pass


def test_fields_are_given_by_place_by_name_and_by_default() -> None:
    one = Further("a", size=2)
    assert (one.name, one.size, one.tail, one.kind, Base("b").kind) == ("a", 2, (), "further", "base")
    assert (Further("a", 1, (3,)).tail, Base("a").size) == ((3,), 1)
    Empty()


def test_each_class_has_a_constructor_of_its_own_whichever_is_made_first() -> None:
    class Late(Further):
        more: int = 5

    Base("a")
    assert Late("a", 1, (), 6).more == 6 and Further("b").tail == ()


@pytest.mark.parametrize("times", [1, 2])
def test_what_a_constructor_does_not_take_is_an_error_as_of_a_dataclass(times: int) -> None:
    class Fresh(Base):
        pass

    for _ in range(times):
        with pytest.raises(TypeError, match=r"Fresh.__init__\(\) missing 1 required positional argument: 'name'"):
            Fresh()  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="unexpected keyword argument 'other'"):
            Fresh("a", other=1)  # type: ignore[call-arg]


def test_there_is_no_other_attribute() -> None:
    with pytest.raises(AttributeError):
        Base("a").other = 1  # type: ignore[attr-defined]
    assert not hasattr(Further("a"), "__dict__")


def test_it_is_copied_and_pickled() -> None:
    one = Further("a", 2, (1,))
    for other in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one)), one.changed()):
        assert type(other) is Further and (other.name, other.size, other.tail) == ("a", 2, (1,))
    assert one.changed(size=7).size == 7 and one.size == 2
    with pytest.raises(TypeError):
        one.changed(other=1)


def test_it_is_compared_by_identity_unless_it_says_otherwise() -> None:
    assert Base("a") != Base("a") and len({Base("a"), Base("a")}) == 2
    assert Pair(1, 2) == Pair(1, 2) != Pair(1, 3) and Pair(1) != (1, 0)
    with pytest.raises(TypeError):
        hash(Pair(1))


def test_tools_see_its_signature() -> None:
    assert str(inspect.signature(Further)) == "(name: 'str', size: 'int' = 1, tail: 'tuple[int, ...]' = ())"


def test_a_factory_makes_a_value_for_each() -> None:
    one, other = Many(), Many()
    one.items.append(1)
    assert other.items == [] and Many([2]).items == [2] and one == Many([1])


def test_what_is_frozen_takes_fields_by_place_by_name_and_by_default() -> None:
    assert (Policy(2).wait, Policy(2, 3.0).wait, Policy(wait=4.0, attempts=1).wait) == (1.0, 3.0, 4.0)
    Policy(1).on.append("x")
    assert (
        Policy(1).on == []
        and Named("a").name == "A"
        and repr(Policy(1, on=["b"])) == "Policy(attempts=1, wait=1.0, on=['b'])"
    )


@pytest.mark.parametrize(
    ("arguments", "named", "message"),
    [
        ((), {}, "missing a required argument: 'attempts'"),
        ((1,), {"attempts": 1}, "no place for argument 'attempts'"),
        ((1,), {"other": 1}, "no place for argument 'other'"),
        ((1, 2, [], 4), {}, "no place for an argument"),
    ],
)
def test_what_is_frozen_refuses_what_it_has_no_place_for(arguments: Any, named: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Policy(*arguments, **named)


def test_what_is_frozen_cannot_be_set() -> None:
    one = Policy(1)
    with pytest.raises(FrozenInstanceError):
        one.attempts = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del one.wait
    with pytest.raises(ValueError, match="attempts"):
        Policy(0)


def test_what_is_frozen_is_compared_unless_it_says_otherwise() -> None:
    assert Policy(1) == Policy(1) != Policy(2)
    assert Thing("a") != Thing("a") and len({Thing("a"), Thing("a")}) == 2


@pytest.mark.parametrize("one", [Policy(1), Further("a"), Thing("t")])
def test_the_functions_of_dataclasses_know_it(one: Any) -> None:
    first = fields(one)[0].name
    assert is_dataclass(type(one)) and getattr(replace(one), first) == getattr(one, first)
    assert getattr(replace(one, **{first: 7}), first) == 7


def test_pydantic_reads_it_as_a_dataclass() -> None:
    assert TypeAdapter(Policy).validate_python({"attempts": "3"}) == Policy(3)
    with pytest.raises(ValueError, match="attempts"):
        TypeAdapter(Policy).validate_python({})


def test_a_named_tuple_is_one() -> None:
    one = Row(1)
    assert one == (1, "x") and one.both == "1x" and one[1] == one.right and Row(right="y", left=2) == (2, "y")
    assert (
        one._replace(left=5) == (5, "x")
        and one._asdict() == {"left": 1, "right": "x"}
        and Row._make([3, "z"]).left == 3
    )
    assert Row._fields == ("left", "right") and Row._field_defaults == {"right": "x"} and Row.__doc__ == "A row."
    assert repr(one) == "Row(left=1, right='x')" and str(inspect.signature(Row)) == "(left: 'int', right: 'str' = 'x')"
    assert pickle.loads(pickle.dumps(one)) == one and copy.deepcopy(one) == one and not hasattr(one, "__dict__")
    match one:
        case Row(left, right=found):
            assert (left, found) == (1, "x")
    with pytest.raises(ValueError, match="'other'"):
        one._replace(other=1)  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        one.left = 2  # type: ignore[misc]


@pytest.mark.parametrize("times", [1, 2])
def test_a_named_tuple_refuses_what_it_does_not_take(times: int) -> None:
    class Fresh(NamedTuple):
        left: int

    for _ in range(times):
        with pytest.raises(TypeError, match=r"Fresh.__new__\(\) missing 1 required positional argument: 'left'"):
            Fresh()  # type: ignore[call-arg]


def test_a_class_of_a_named_tuple_stays_of_its_class() -> None:
    narrow = Narrow(1, "y")
    assert (
        type(narrow.replaced(left=2)) is Narrow
        and narrow.both == "1y"
        and type(pickle.loads(pickle.dumps(narrow))) is Narrow
    )
    assert Held(5).one == 5 and Held[int](5) == (5,) and Nothing() == ()
    assert TypeAdapter(Row).validate_python({"left": "1"}) == Row(1)
