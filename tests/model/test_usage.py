"""What a function does with a parameter, told from its source; where that cannot be told, nothing is claimed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import pytest

from flujo_core.model.usage import Usage, usage_of


def field(it: Any) -> Any:
    """Gives a field."""
    return it.age


def fields(it: Any, other: Any) -> Any:
    it.count += 1
    it.seen.append(other)
    it.state.name = it.name.first
    del it.old
    return [it.age for _ in range(3)]


def nothing(it: Any) -> int:
    return 1


async def awaits(it: Any) -> Any:
    return it.age + 1


class Thing:
    def method(self, it: Any) -> Any:
        return it.age

    def __call__(self, it: Any) -> Any:
        return it.age


def passes(it: Any) -> Any:
    return repr(it)


def renames(it: Any) -> Any:
    other = it
    return other.age


def rebinds(it: Any) -> Any:
    it = nothing
    return it.age  # type: ignore[attr-defined]


def looks(it: Any) -> Any:
    return locals()


def looks_deep(it: Any) -> Any:
    return sys._getframe()


def closes(it: Any) -> Any:
    def inner() -> Any:
        return it

    return inner


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def around(*given: Any) -> Any:
        return function(*given)

    return around


@wrapped
def decorated(it: Any) -> Any:
    return it.age


made: dict[str, Any] = {}
exec("def hidden(it):\n    return it.age\n", made)

lonely = lambda it: it.patients  # noqa: E731
twins = (lambda it: it.age), (lambda it: it.name)  # fmt: skip


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (field, Usage((("age",),), (), ("age",))),
        (fields, Usage((("count",), ("seen", "append"), ("name", "first"), ("age",)), ("count", "state", "old"))),
        (nothing, Usage()),
        (awaits, Usage((("age",),))),
        (Thing().method, Usage((("age",),), (), ("age",))),
        (lonely, Usage((("patients",),), (), ("patients",))),
    ],
)
def test_the_fields_that_a_function_takes_and_sets_are_known(function: Any, expected: Usage) -> None:
    assert usage_of(function, "it") == expected


@pytest.mark.parametrize(
    "function",
    [
        passes, renames, rebinds, looks, looks_deep, closes, decorated, made["hidden"], twins[0], Thing(), len,
        partial(field),
    ],
)  # fmt: skip
def test_of_what_cannot_be_told_nothing_is_claimed(function: Any) -> None:
    assert usage_of(function, "it") is None


def test_of_a_parameter_that_the_code_does_not_have_nothing_is_claimed() -> None:
    assert usage_of(field, "other") is None


def test_a_file_that_does_not_parse_claims_nothing(tmp_path: Any) -> None:
    file = tmp_path / "changed.py"
    file.write_text("def field(it):\n    return it.age\n")
    space: dict[str, Any] = {}
    exec(compile(file.read_text(), str(file), "exec"), space)
    file.write_text("def field(it):\n    return it.age +\n")
    assert usage_of(space["field"], "it") is None
