"""Contexts, and the drafts of them that steps see."""

from __future__ import annotations

import copy
import json
import pickle
from functools import cached_property
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, computed_field, model_validator

from flujo_core import DefinitionError, PipelineContext
from flujo_core.model.draft import draft, own, state_of, touched
from flujo_core.model.patch import changes


class Note(BaseModel):
    text: str = ""


class Ticket(PipelineContext):
    severity: int = 0
    title: str = "none"
    log: list[str] = []
    note: Note = Note()
    extra: dict[str, list[int]] = Field(default_factory=dict)


def fresh(**values: Any) -> Ticket:
    return draft(Ticket, state_of(Ticket(**values)))  # type: ignore[return-value]


some = st.builds(
    dict,
    severity=st.integers(),
    title=st.text(),
    log=st.lists(st.text(max_size=3)),
    note=st.builds(Note, text=st.text()),
    extra=st.dictionaries(st.text(max_size=3), st.lists(st.integers())),
)
subset = st.sets(st.sampled_from(sorted(Ticket.model_fields)))


@given(some, subset)
def test_a_draft_is_like_an_ordinary_instance_whatever_was_touched_before(values: Any, read: set[str]) -> None:
    def made() -> Ticket:
        context = fresh(**values)
        for name in sorted(read, reverse=True):
            getattr(context, name)
        return context

    plain = Ticket(**values)
    assert made() == plain and plain == made() and made() == made()
    assert made().model_dump() == plain.model_dump()
    assert made().model_dump_json() == plain.model_dump_json()
    assert list(made().model_dump()) == list(plain.model_dump())
    assert list(made()) == list(plain)
    assert made().model_copy() == plain
    assert made().model_copy(update={"severity": 9}) == plain.model_copy(update={"severity": 9})
    assert made().model_copy(deep=True) == plain
    assert copy.copy(made()) == plain
    assert copy.deepcopy(made()) == plain
    assert pickle.loads(pickle.dumps(made())) == plain
    assert Ticket.model_validate(made().model_dump()) == plain
    assert made().model_dump(include={"title"}) == {"title": values["title"]}


def test_a_draft_differs_from_an_instance_with_another_value() -> None:
    assert fresh() != Ticket(severity=1)
    assert Ticket(severity=1) != fresh()
    assert fresh() != "ticket"


def test_a_draft_owns_what_it_reads() -> None:
    state = state_of(Ticket(log=["a"], note=Note(text="n"), extra={"k": [1]}))
    before = copy.deepcopy(state)
    context = draft(Ticket, state)
    assert isinstance(context, Ticket)
    context.log.append("b")
    context.note.text = "changed"
    context.extra["k"].append(2)
    context.severity = 5
    assert state == before
    assert (context.log, context.note.text, context.extra, context.severity) == (
        ["a", "b"],
        "changed",
        {"k": [1, 2]},
        5,
    )


def test_copies_of_a_draft_are_independent_of_it() -> None:
    context = fresh(log=["a"])
    deep = copy.deepcopy(context)
    context.log.append("b")
    assert deep.log == ["a"]


def test_a_draft_knows_only_what_was_touched() -> None:
    context = fresh()
    assert touched(context) == {}
    _ = context.title
    context.severity = 1
    assert touched(context) == {"title": "none", "severity": 1}


def test_a_misspelt_field_is_an_error_in_both_directions() -> None:
    context = fresh()
    with pytest.raises(AttributeError):
        _ = context.sevrity  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="sevrity"):
        context.sevrity = 1  # type: ignore[attr-defined]


def test_repr_and_str_show_the_names_of_the_fields_and_no_value() -> None:
    for context in (Ticket(title="CANARY"), fresh(title="CANARY")):
        for shown in (repr(context), str(context), f"{context}", f"{[context]}"):
            assert "CANARY" not in shown and "title=..." in shown


def test_private_attributes_are_refused_since_they_could_not_be_committed() -> None:
    with pytest.raises(DefinitionError, match="_secret"):

        class Bad(PipelineContext):
            _secret: int = PrivateAttr(default=0)


class Rich(PipelineContext):
    model_config = ConfigDict(validate_assignment=True)
    low: int = 1
    high: int = 2

    @model_validator(mode="after")
    def _ordered(self) -> Rich:
        if self.low > self.high:
            raise ValueError("low is above high")
        return self

    @computed_field  # type: ignore[prop-decorator]
    @property
    def span(self) -> int:
        return self.high - self.low


def test_a_context_that_validates_assignments_does_so_in_a_draft_too() -> None:
    context = draft(Rich, state_of(Rich()))
    assert isinstance(context, Rich)
    context.high = 9
    assert context.span == 8
    with pytest.raises(ValueError, match="valid integer"):
        context.high = "many"  # type: ignore[assignment]
    with pytest.raises(ValueError, match="low is above high"):
        context.model_copy().low = 10
    assert json.loads(context.model_dump_json()) == {"low": 1, "high": 9, "span": 8}


class Cached(PipelineContext):
    number: int = 2

    @cached_property
    def square(self) -> int:
        return self.number**2


def test_a_cached_property_is_no_field_of_the_patch() -> None:
    state = state_of(Cached())
    context = draft(Cached, state)
    assert isinstance(context, Cached) and context.square == 4
    assert changes(touched(context), state, frozenset()) == {}


def test_fields_of_a_base_context_are_inherited() -> None:
    class Special(Ticket):
        owner: str = "me"

    context = draft(Special, state_of(Special(title="t")))
    assert isinstance(context, Special) and (context.title, context.owner) == ("t", "me")


class Counted(BaseModel):
    """A big value that counts how often it is copied or compared."""

    size: int = 0

    def __deepcopy__(self, memo: Any = None) -> Counted:
        COUNTS["copies"] += 1
        return Counted(size=self.size)

    def __eq__(self, other: object) -> bool:
        COUNTS["comparisons"] += 1
        return isinstance(other, Counted) and other.size == self.size


COUNTS = {"copies": 0, "comparisons": 0}


class Big(PipelineContext):
    count: int = 0
    big: Counted = Counted()


def test_touching_one_field_copies_and_compares_no_other() -> None:
    state = state_of(Big(big=Counted(size=1)))
    COUNTS.update(copies=0, comparisons=0)
    context = draft(Big, state)
    assert isinstance(context, Big)
    context.count += 1
    assert changes(touched(context), state, frozenset())
    assert COUNTS == {"copies": 0, "comparisons": 0}


@pytest.mark.parametrize("value", [1, "a", b"b", None, 1.5, True, int])
def test_what_cannot_change_is_not_copied(value: object) -> None:
    assert own(value) is value


def test_what_can_change_is_copied() -> None:
    value = [[1]]
    mine = own(value)
    assert mine == value and mine is not value and mine[0] is not value[0]
