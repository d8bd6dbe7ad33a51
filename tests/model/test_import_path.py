"""Import paths: what has one, and what does not."""

from __future__ import annotations

from functools import partial
from typing import Any, NewType

import pytest
from spec_kit import Echo, Mail, Queue, echo, made, plain
from typing_extensions import TypeAliasType

from flujo_core.model.import_path import function_of, is_path, path_of, step_at

Short = TypeAliasType("Short", str)
Id = NewType("Id", str)
HERE = __name__


@pytest.mark.parametrize(
    ("thing", "path"),
    [
        (plain, "spec_kit:plain"),
        (made.action.function, "spec_kit:made"),  # type: ignore[union-attr]
        (Mail, "spec_kit:Mail"),
        (Echo.run, "spec_kit:Echo.run"),
        (Queue.BILLING, "spec_kit:Queue.BILLING"),
        (Short, f"{HERE}:Short"),
        (Id, f"{HERE}:Id"),
        (len, "builtins:len"),
    ],
)
def test_functions_classes_aliases_and_members_have_a_path(thing: Any, path: str) -> None:
    assert path_of(thing) == path and is_path(path)


def test_what_is_bound_made_on_the_spot_or_an_object_has_none() -> None:
    def inner() -> None:
        pass

    for thing in (echo.run, partial(plain), lambda: None, inner, echo, 3, [].append):
        with pytest.raises(LookupError, match=r"is "):
            path_of(thing)


def test_the_function_of_a_step_is_where_the_step_is() -> None:
    function = function_of(made)
    assert function.__name__ == "made" and step_at(function) is made
    assert step_at(plain) is None and function_of(plain) is plain


@pytest.mark.parametrize("text", ["acme/mask", "mask", "a:", ":a", "a.b", "a/b:c", "a:b c", "1:b", "a..b:c", ""])
def test_the_name_of_something_registered_is_no_path(text: str) -> None:
    assert not is_path(text)
