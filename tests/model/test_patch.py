"""Patches: what a step changed, found, applied, and carried through JSON."""

from __future__ import annotations

import copy
from collections.abc import Mapping, MutableMapping, Sequence
from datetime import date
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from typing_extensions import TypeAliasType, TypedDict

from flujo_core import InvalidValue, PipelineContext
from flujo_core.model.draft import State, draft, state_of, touched
from flujo_core.model.patch import Extend, Patch, PatchAdapter, Set, Update, apply, changes, patch_adapter


def difference(made: PipelineContext, base: State) -> Patch:
    """What a draft changed."""
    return changes(touched(made), base, patch_adapter(type(made)).growing)


class Person(BaseModel):
    name: str = ""
    tags: list[str] = []


class Everything(PipelineContext):
    number: int = 0
    ratio: float = 0.0
    flag: bool = False
    text: str = ""
    maybe: int | None = None
    items: list[int] = []
    rows: list[dict[str, int]] = []
    table: dict[str, list[int]] = {}
    by_number: dict[int, str] = {}
    person: Person = Person()
    people: list[Person] = []
    staff: dict[str, Person] = {}


words = st.text(max_size=4)
numbers = st.integers(-(2**70), 2**70)
persons = st.builds(Person, name=words, tags=st.lists(words, max_size=3))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "number": numbers,
    "ratio": st.floats(allow_nan=False, allow_infinity=False),
    "flag": st.booleans(),
    "text": words,
    "maybe": st.none() | numbers,
    "items": st.lists(numbers, max_size=4),
    "rows": st.lists(st.dictionaries(words, numbers, max_size=2), max_size=3),
    "table": st.dictionaries(words, st.lists(numbers, max_size=2), max_size=3),
    "by_number": st.dictionaries(numbers, words, max_size=3),
    "person": persons,
    "people": st.lists(persons, max_size=2),
    "staff": st.dictionaries(words, persons, max_size=2),
}


@st.composite
def edits(draw: st.DrawFn, context: Everything) -> None:
    """Some edits of ``context``: fields set anew, and values changed in place."""
    for name in draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=5)):
        value = getattr(context, name)
        how = draw(st.integers(0, 4))
        if isinstance(value, list) and how > 1:
            if value and how == 2:
                del value[draw(st.integers(0, len(value) - 1))]
            elif value and how == 3:
                value.reverse()
            else:
                value.extend(draw(VALUES[name]))
        elif isinstance(value, dict) and how > 1:
            if value and how == 2:
                value.pop(draw(st.sampled_from(list(value))))
            elif value and how == 3:
                key = draw(st.sampled_from(list(value)))
                value[key] = value.pop(key)
            else:
                value.update(draw(VALUES[name]))
        elif isinstance(value, Person) and how > 1:
            value.tags.append(draw(words))
        else:
            setattr(context, name, draw(VALUES[name]))


def _state(data: st.DataObject) -> State:
    return state_of(Everything(**{name: data.draw(values) for name, values in VALUES.items()}))


@given(st.data())
def test_a_patch_applied_to_its_base_gives_the_draft(data: st.DataObject) -> None:
    base = _state(data)
    before = copy.deepcopy(base)
    made = draft(Everything, base)
    data.draw(edits(made))  # type: ignore[arg-type]
    patch = difference(made, base)
    assert base == before, "the base was changed in place"
    apply(base, patch)
    assert base == state_of(made)
    for name in patch:  # a dict that changed comes back in its new order
        if isinstance(base[name], dict):
            assert list(base[name]) == list(getattr(made, name))


@given(st.data())
def test_a_patch_survives_the_json_round_trip(data: st.DataObject) -> None:
    base = _state(data)
    made = draft(Everything, base)
    data.draw(edits(made))  # type: ignore[arg-type]
    patch = difference(made, base)
    adapter = patch_adapter(Everything)
    assert adapter.encoded(patch)[1] == patch
    assert adapter.validate(patch) == patch


@given(st.data())
def test_reading_and_setting_the_same_value_again_is_no_change(data: st.DataObject) -> None:
    base = _state(data)
    made = draft(Everything, base)
    for name in VALUES:
        setattr(made, name, copy.deepcopy(getattr(made, name)))
    assert difference(made, base) == {}


@given(st.data())
def test_applying_a_patch_leaves_the_values_that_were_in_the_state_as_they_are(data: st.DataObject) -> None:
    base = _state(data)
    held = dict(base)
    before = copy.deepcopy(held)
    made = draft(Everything, base)
    data.draw(edits(made))  # type: ignore[arg-type]
    apply(base, difference(made, base))
    assert held == before


def _changed(kind: type[PipelineContext], edit: Any, state: State | None = None) -> Patch:
    base = state if state is not None else state_of(kind())
    made = draft(kind, base)
    edit(made)
    return difference(made, base)


def test_an_append_is_a_delta_of_the_new_items_only() -> None:
    assert _changed(Everything, lambda c: c.items.extend([3, 4]), state_of(Everything(items=[1, 2]))) == {
        "items": Extend([3, 4])
    }


def test_a_dict_change_is_a_delta_of_its_entries() -> None:
    def edit(context: Everything) -> None:
        context.by_number[3] = "c"
        del context.by_number[1]

    base = state_of(Everything(by_number={1: "a", 2: "b"}))
    assert _changed(Everything, edit, base) == {"by_number": Update({3: "c"}, [1])}


def test_a_list_that_loses_an_item_is_set_as_a_whole() -> None:
    patch = _changed(Everything, lambda c: c.items.pop(0), state_of(Everything(items=[1, 2])))
    assert patch == {"items": Set([2])}


def test_a_dict_in_another_order_is_restored_in_that_order() -> None:
    base = state_of(Everything(by_number={1: "a", 2: "b"}))

    def edit(context: Everything) -> None:
        context.by_number = {2: "b", 3: "c", 1: "z"}

    apply(base, _changed(Everything, edit, base))
    assert list(base["by_number"].items()) == [(2, "b"), (3, "c"), (1, "z")]


class Loose(PipelineContext):
    flags: list[Any] = [0]
    facts: dict[str, Any] = {"done": 0}
    deep: dict[str, list[Any]] = {"a": [1]}
    anything: Any = 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("flags", [False]), ("facts", {"done": False}), ("deep", {"a": [True]}), ("anything", True), ("flags", [0.0])],
    ids=str,
)
def test_a_value_of_another_type_is_a_change_even_where_python_calls_the_two_equal(field: str, value: Any) -> None:
    base = state_of(Loose())
    apply(base, _changed(Loose, lambda c: setattr(c, field, value), base))
    assert repr(base[field]) == repr(value)


def test_a_new_item_of_another_type_at_an_old_place_is_not_lost_when_the_list_also_grows() -> None:
    base = state_of(Loose())

    def edit(context: Loose) -> None:
        context.flags[0] = False
        context.flags.append(2)

    apply(base, _changed(Loose, edit, base))
    assert repr(base["flags"]) == "[False, 2]"


Ids = TypeAliasType("Ids", list[int])


class Shape(TypedDict):
    a: int


class Held(PipelineContext):
    optional: list[int] | None = [1]
    either: str | dict[str, int] = {"a": 1}
    anything: Any = [1]
    any_dict: Any = {"a": 1}
    an_object: object = [1]
    sequence: Sequence[int] = [1]
    mapping: Mapping[str, int] = {"a": 1}
    mutable: MutableMapping[str, int] = {"a": 1}
    typed: Shape = {"a": 1}
    alias: Ids = [1]
    bare_list: list = [1]  # type: ignore[type-arg]
    bare_dict: dict = {"a": 1}  # type: ignore[type-arg]
    constrained: Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=9)] = [1]
    nested: Annotated[list[int] | None, Field(description="x")] = [1]


@pytest.mark.parametrize("field", sorted(Held.model_fields))
def test_a_list_that_grows_or_a_dict_that_changes_is_committed_under_whatever_hint_it_is_declared(field: str) -> None:
    base = state_of(Held())
    made = draft(Held, base)
    value = getattr(made, field)
    if isinstance(value, list):
        value.append(2)
    else:
        value["a"] = 2
    adapter = patch_adapter(Held)
    patch = adapter.validate(difference(made, base))
    apply(base, adapter.encoded(patch)[1])
    assert base[field] == value and type(base[field]) is type(value)


class Keyed(PipelineContext):
    by_day: dict[date, int] = {}
    by_flag: dict[bool, int] = {}
    by_pair: dict[tuple[int, int], str] = {}


def test_entries_with_keys_that_are_no_text_survive_the_round_trip() -> None:
    base = state_of(Keyed(by_flag={True: 1}))

    def edit(context: Keyed) -> None:
        context.by_day[date(2026, 1, 2)] = 3
        context.by_flag[False] = 2
        del context.by_flag[True]

    patch = _changed(Keyed, edit, base)
    assert patch_adapter(Keyed).encoded(patch)[1] == patch


def test_entries_with_keys_that_json_cannot_give_back_are_refused() -> None:
    def edit(context: Keyed) -> None:
        context.by_pair[1, 2] = "x"

    with pytest.raises(InvalidValue, match="by_pair"):
        patch_adapter(Keyed).encoded(_changed(Keyed, edit))


def test_what_was_written_comes_back_and_what_no_longer_fits_is_refused() -> None:
    class Then(PipelineContext):
        items: list[int] = []
        table: dict[str, int] = {}

    class Now(PipelineContext):
        table: dict[str, bool] = {}

    patch = {"items": Extend([1]), "table": Update({"a": 2}, ["b"])}
    data, _ = PatchAdapter(Then).encoded(patch)
    assert PatchAdapter(Then).decoded(data) == patch
    with pytest.raises(InvalidValue, match="no field 'items'"):
        PatchAdapter(Now).decoded(data)
    data, _ = PatchAdapter(Then).encoded({"table": Set({"a": 5})})
    with pytest.raises(InvalidValue, match=r"'table'.*does not fit"):
        PatchAdapter(Now).decoded(data)
