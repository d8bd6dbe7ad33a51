"""The order of plugins: what they declare, and by name where they declare nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flujo_core import Plugin
from flujo_core.hooks.order import circle, declared_order, earlier

NAMES = list("abcdef")


def made(**plugins: dict[str, Any]) -> dict[str, Plugin]:
    return {name: type(name, (Plugin,), {"name": name, **said})() for name, said in plugins.items()}


@pytest.mark.parametrize(
    ("plugins", "order"),
    [
        ({"b": {}, "a": {}}, ["a", "b"]),
        ({"a": {"after": ("b",)}, "b": {}}, ["b", "a"]),
        ({"a": {}, "b": {"before": ("a",)}}, ["b", "a"]),
        ({"a": {"after": ("gone",)}, "b": {"before": ["gone"]}}, ["a", "b"]),
        ({"a": {"after": ("c",)}, "b": {}, "c": {}}, ["b", "c", "a"]),
    ],
)
def test_before_and_after_come_before_the_name_and_mean_nothing_of_what_is_not_there(
    plugins: dict[str, Any], order: list[str]
) -> None:
    assert declared_order(list(plugins), made(**plugins)) == order


def test_what_is_said_of_a_plugin_that_is_not_asked_for_leads_on() -> None:
    plugins = made(a={"after": ("m",)}, m={"after": ("z",)}, z={}, b={})
    assert declared_order(["a", "b", "z"], plugins) == ["b", "z", "a"]
    assert declared_order(["a", "b"], plugins) == ["a", "b"]


def test_two_ways_through_plugins_that_are_not_asked_for_are_walked_once() -> None:
    plugins = made(a={"after": ("m", "n")}, m={"after": ("y",)}, n={"after": ("y",)}, y={"after": ("z",)}, z={})
    assert declared_order(["a", "z"], plugins) == ["z", "a"]


def test_a_circle_is_found_and_its_plugins_are_named() -> None:
    assert circle(made(a={"before": ("b",)}, b={"before": ("c",)}, c={}, d={})) == ()
    assert set(circle(made(a={"before": ("b",)}, b={"before": ("a",)}, c={"after": ("a",)}))) == {"a", "b"}
    assert list(circle(made(me={"before": ("me",)}))) == ["me"]


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=8), st.permutations(NAMES))
def test_every_declared_order_is_kept_and_the_order_does_not_depend_on_how_plugins_come(
    pairs: list[tuple[str, str]], order: list[str]
) -> None:
    upward = [(first, second) for first, second in pairs if first < second]
    said: dict[str, dict[str, Any]] = {name: {"before": tuple(b for a, b in upward if a == name)} for name in order}
    found = declared_order(order, made(**said))
    assert found == declared_order(NAMES, made(**{name: said[name] for name in NAMES})) == NAMES
    downward: dict[str, dict[str, Any]] = {name: {"after": tuple(b for a, b in upward if a == name)} for name in order}
    found = declared_order(order, made(**downward))
    assert all(
        found.index(first) < found.index(second) for second in NAMES for first in earlier(made(**downward))[second]
    )
