"""A context that shows another one: whatever is done with it is done with the one that is shown."""

from __future__ import annotations

import pickle
from copy import copy, deepcopy
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from flujo_core import PipelineContext
from flujo_core.model.draft import draft, touched
from flujo_core.model.view import view


class Shelf(PipelineContext):
    books: list[str] = []
    owner: str = "Ada"

    @property
    def count(self) -> int:
        return len(self.books)

    def add(self, book: str) -> None:
        self.books.append(book)


class Strict(PipelineContext):
    model_config = ConfigDict(validate_assignment=True)
    shelves: int = 0


class Holder(BaseModel):
    shelf: Shelf


class Stage:
    def __init__(self, *contexts: Any) -> None:
        self.contexts = contexts
        self.shown = 0

    def current(self) -> Any:
        return self.contexts[self.shown]


@pytest.fixture
def stage() -> Stage:
    return Stage(draft(Shelf, {"books": ["a"], "owner": "Ada"}), draft(Shelf, {"books": ["x", "y"], "owner": "Bob"}))


def test_it_shows_the_one_that_is_current(stage: Stage) -> None:
    seen: Any = view(Shelf, stage)
    assert (seen.books, seen.owner, seen.count) == (["a"], "Ada", 1)
    stage.shown = 1
    assert (seen.books, seen.owner, seen.count) == (["x", "y"], "Bob", 2)
    seen.owner = "Eve"
    seen.add("z")
    assert touched(stage.contexts[1]) == {"books": ["x", "y", "z"], "owner": "Eve"}
    stage.shown = 0
    assert (seen.books, seen.owner) == (["a"], "Ada")


def test_it_is_a_context_of_that_class(stage: Stage) -> None:
    seen: Any = view(Shelf, stage)
    assert isinstance(seen, Shelf)
    assert isinstance(seen, PipelineContext)
    assert seen.__class__ is Shelf
    assert repr(seen) == str(seen) == "Shelf(books=..., owner=...)"
    assert seen.model_dump() == {"books": ["a"], "owner": "Ada"}
    assert seen.model_dump_json() == '{"books":["a"],"owner":"Ada"}'
    assert dict(seen) == {"books": ["a"], "owner": "Ada"}
    assert Shelf.model_validate(seen).owner == "Ada"


def test_it_is_equal_to_what_it_shows(stage: Stage) -> None:
    seen: Any = view(Shelf, stage)
    assert seen == Shelf(books=["a"])
    assert Shelf(books=["a"]) == seen
    assert seen == view(Shelf, stage)
    assert seen != Shelf(books=["b"])
    with pytest.raises(TypeError):
        hash(seen)


@pytest.mark.parametrize(
    "made", [copy, deepcopy, lambda seen: seen.model_copy(), lambda seen: pickle.loads(pickle.dumps(seen))]
)
def test_a_copy_is_of_what_it_shows_and_shows_it_no_more(stage: Stage, made: Any) -> None:
    copied = made(view(Shelf, stage))
    assert type(copied) is Shelf
    stage.shown = 1
    assert (copied.books, copied.owner) == (["a"], "Ada")


def test_in_another_model(stage: Stage) -> None:
    holder = Holder(shelf=view(Shelf, stage))  # type: ignore[arg-type]
    assert holder.model_dump() == {"shelf": {"books": ["a"], "owner": "Ada"}}
    holder.shelf.owner = "Eve"
    assert stage.contexts[0].owner == "Eve"


def test_what_the_class_refuses_is_refused(stage: Stage) -> None:
    seen: Any = view(Shelf, stage)
    with pytest.raises(AttributeError):
        _ = seen.colour
    with pytest.raises(ValueError, match="no field"):
        seen.colour = "red"
    strict: Any = view(Strict, Stage(draft(Strict, {"shelves": 1})))
    with pytest.raises(ValidationError):
        strict.shelves = "many"
    strict.shelves = 3
    assert strict.shelves == 3


def test_the_class_is_made_once(stage: Stage) -> None:
    assert type(view(Shelf, stage)) is type(view(Shelf, stage))


def test_a_field_is_deleted_and_the_context_copied_where_it_is_shown() -> None:
    shown = Shelf(books=["a"])
    shown_to_who_looks: Any = view(Shelf, Stage(shown))
    twin = copy(shown_to_who_looks)
    assert type(twin) is Shelf and twin == shown and twin.books is shown.books
    del shown_to_who_looks.owner
    assert "owner" not in vars(shown)
