"""Pipelines: how nodes are put together, named and addressed."""

from __future__ import annotations

import dataclasses
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from flujo_core import DefinitionError, EdgeError, Loop, Parallel, Pipeline, Step, step
from flujo_core.model.flow import join, parts_of, scope_at, walk


@step
async def a(value: int) -> int:
    return value


@step
async def b(value: int) -> str:
    return str(value)


@step
async def c(value: str) -> int:
    return len(value)


class Both(BaseModel):
    left: str
    right: str


@step
async def d(value: str) -> str:
    return value


def addresses(
    node: Pipeline[object, object] | Step[object, object] | Pipeline[int, int] | Pipeline[int, str],
) -> list[str]:
    return [address for address, _ in walk(node)]


def test_a_pipeline_takes_what_its_first_step_takes_and_gives_what_its_last_one_gives() -> None:
    pipeline = a >> b
    assert pipeline.takes is int and pipeline.gives is str


def test_putting_together_changes_nothing_that_it_is_made_of() -> None:
    first = a >> b
    second = first >> c
    assert addresses(first) == ["a", "b"] and addresses(second) == ["a", "b", "c"]


def test_parts_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        a.name = "x"  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        (a >> b).name = "x"  # type: ignore[misc]


def test_unnamed_pipelines_are_dissolved_and_named_ones_are_scopes() -> None:
    inner = b >> c
    assert addresses(a >> inner) == ["a", "b", "c"]
    assert addresses((a >> inner.named("in")).named("out")) == ["out/a", "out/in/b", "out/in/c"]
    assert addresses((a >> b) >> (c >> a.named("a2"))) == ["a", "b", "c", "a2"]


def test_a_name_may_come_again_in_another_scope() -> None:
    assert addresses(a >> (a >> b).named("in")) == ["a", "in/a", "in/b"]


def test_two_parts_of_one_name_in_one_scope_are_refused_when_built() -> None:
    with pytest.raises(DefinitionError, match="'a'"):
        _ = a >> b >> c >> a
    with pytest.raises(DefinitionError, match="'in'"):
        _ = (a >> b).named("in") >> (c >> a).named("in")
    with pytest.raises(DefinitionError, match="'a'"):
        _ = (a >> b) >> c.named("a")


def test_a_duplicate_cannot_hide_in_an_unnamed_pipeline_made_by_hand() -> None:
    with pytest.raises(DefinitionError):
        Pipeline(None, (a, Pipeline(None, (a.named("x"), a)))).check()


def test_a_wrong_edge_across_pipelines_is_refused() -> None:
    with pytest.raises(EdgeError, match=r"'b'.*'a'"):
        _ = b >> a  # type: ignore[operator]
    with pytest.raises(EdgeError, match=r"b.*in"):
        _ = (a >> b) >> (a >> b).named("in")  # type: ignore[operator]


def test_what_is_no_node_cannot_be_put_behind_one() -> None:
    with pytest.raises(TypeError):
        _ = a >> (lambda value: value)  # type: ignore[operator]


@pytest.mark.parametrize("name", ["", " ", "\t\n"])
def test_an_empty_name_is_refused(name: str) -> None:
    for node in (a, a >> b):
        with pytest.raises(DefinitionError):
            node.named(name)
    with pytest.raises(DefinitionError):
        step(name=name)(lambda value: value)


def test_an_empty_pipeline_is_refused() -> None:
    with pytest.raises(DefinitionError):
        Pipeline(None, ())


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4))
def test_an_address_can_be_read_back_whatever_the_names_are(names: list[str]) -> None:
    address = ""
    for name in names:
        address = join(address, name)
    assert [unquote(segment) for segment in address.split("/")] == names
    assert address.isascii() and all(mark not in address for mark in "[]#~! ")


@given(st.text(), st.text())
def test_different_names_have_different_addresses(one: str, other: str) -> None:
    assert (join("", one) == join("", other)) is (one == other)


def test_repr_is_short_and_names_the_part() -> None:
    assert (
        repr(a) == "<Step 'a'>"
        and repr(a >> b) == "<Pipeline 'a >> b'>"
        and repr((a >> b).named("x")) == "<Pipeline 'x'>"
    )


def test_a_name_is_text_that_is_not_empty() -> None:
    for name in (3, "", "  "):
        with pytest.raises(DefinitionError, match="a step's name is text"):
            a.named(name)  # type: ignore[arg-type]


def test_a_scope_is_found_by_its_address() -> None:
    def say(name: str) -> Step[str, str]:
        return d.named(name)

    @step
    async def f(value: str) -> Both:
        return Both(left=value, right=value)

    inner = Loop("inner", say("one"), until=bool, max_iterations=1)
    fan = Parallel("fan", left=say("left"), right=(inner >> say("two")).named("sub"), into=Both)
    whole = say("f") >> fan.policy(fallback=f)
    assert scope_at(whole, "") is whole
    assert [one.label for one in parts_of(scope_at(whole, "fan[right]"))] == ["sub"]
    assert [one.label for one in parts_of(scope_at(whole, "fan[right]/sub"))] == ["inner", "two"]
    assert [one.label for one in parts_of(scope_at(whole, "fan[right]/sub/inner[*]"))] == ["one"]
    assert [one.label for one in parts_of(scope_at(whole, "fan~fallback"))] == ["f"]
    changed = {"fan[left]": [inner]}
    assert [one.label for one in parts_of(scope_at(whole, "fan[left]/inner[*]", changed))] == ["one"]
    with pytest.raises(LookupError):
        scope_at(whole, "fan[middle]")
