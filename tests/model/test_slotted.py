"""Slotted: plain data that is cheap to define, and is to its users what a dataclass is."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import ClassVar

import pytest

from flujo_core.model.slotted import Compared, Slotted


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
