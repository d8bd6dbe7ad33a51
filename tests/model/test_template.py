"""Prompts with placeholders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, computed_field
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel
from typing_extensions import TypedDict

from flujo_core import DefinitionError, Step
from flujo_core.model.template import parse


class Address(BaseModel):
    city: str = "Bern"


class Mail(BaseModel):
    subject: str = "hello"
    address: Address = Address()
    extra: dict[str, Any] = {"k": 1}
    tags: list[str] = ["a", "b"]
    maybe: Address | None = None
    größe: int = 5

    @property
    def shout(self) -> str:
        return self.subject.upper()

    @computed_field  # type: ignore[prop-decorator]
    @property
    def length(self) -> int:
        return len(self.subject)


@dataclass
class Plain:
    x: int = 1
    mail: Mail | None = None


class Base:
    x: int = 1


class Derived(Base):
    y: int = 2


class Pair(NamedTuple):
    a: int = 1
    b: Address = Address(city="Rome")


class Typed(TypedDict):
    a: int


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("{{ input.subject }}", Mail(), "hello"),
        ("{{input.subject}}", Mail(), "hello"),
        ("{{\n input.subject\t}}", Mail(), "hello"),
        ("a {{ input.subject }} b {{ input.address.city }} c", Mail(), "a hello b Bern c"),
        ("{{ input.shout }} {{ input.length }}", Mail(), "HELLO 5"),
        ("{{ input.address }}", Mail(), '{"city":"Bern"}'),
        ("{{ input.tags }}", Mail(), '["a","b"]'),
        ("{{ input.maybe }}", Mail(), "null"),
        ("{{ input.extra.k }}", Mail(), "1"),
        ("{{ input.größe }}", Mail(), "5"),
        ("{{ input }}", "text", "text"),
        ("{{ input }}", 5, "5"),
        ("{{ input.x }}", Plain(), "1"),
        ("{{ input.x }}{{ input.y }}", Derived(), "12"),
        ("{{ input.b.city }}", Pair(), "Rome"),
        ("{{ input.a }}", {"a": 3}, "3"),
        ("no placeholder { input } }} {{", Mail(), "no placeholder { input } }} {{"),
        ("", Mail(), ""),
    ],
)
def test_a_placeholder_is_replaced_by_what_it_names(text: str, value: Any, expected: str) -> None:
    hint = Typed if isinstance(value, dict) else type(value)
    assert parse(text, "s", hint).render(value) == expected


@given(st.text())
def test_what_is_in_a_value_is_never_taken_for_a_placeholder(text: str) -> None:
    for value in (text, "{{ input }}" + text, "{{ input.subject }}" + text):
        assert parse("<{{ input }}>", "s", str).render(value) == f"<{value}>"


@given(st.text(alphabet="ab{} \n"))
def test_a_text_without_placeholders_is_kept_as_it_is(text: str) -> None:
    if "{{" not in text:
        assert parse(text, "s", str).render("x") == text


@pytest.mark.parametrize(
    "text",
    [
        "{{ }}", "{{ input. }}", "{{ input..a }}", "{{ input.subject() }}", "{{ input.subject | upper }}",
        "{{ input[0] }}", "{{ a//b }}", "{{ a/ }}",
    ],
)  # fmt: skip
def test_a_placeholder_that_names_nothing_is_refused_with_the_step(text: str) -> None:
    with pytest.raises(DefinitionError, match="'summarise'"):
        parse(text, "summarise", Mail)


@pytest.mark.parametrize("text", ["{{ subject }}", "{{ other.subject }}", "{{ inputs }}", "{{ a[b]/c.d }}"])
def test_a_placeholder_of_a_step_that_is_not_there_is_refused_when_the_whole_is_known(text: str) -> None:
    asking = Step.agent("summarise", Agent(TestModel()), input=Mail, prompt=text)
    with pytest.raises(DefinitionError, match="'summarise'"):
        asking.check()


@pytest.mark.parametrize(
    ("text", "takes", "close"),
    [
        ("{{ input.subjcet }}", Mail, "did you mean 'subject'"),
        ("{{ input.address.cty }}", Mail, "did you mean 'city'"),
        ("{{ input.z }}", Plain, "'x'"),
        ("{{ input.c }}", Pair, "'a'"),
        ("{{ input.b }}", Typed, "'a'"),
        ("{{ input.subject }}", str, "'str'"),
        ("{{ input.subject }}", list[Mail], "list"),
    ],
)
def test_a_field_that_is_not_there_is_refused_with_a_close_match(text: str, takes: Any, close: str) -> None:
    with pytest.raises(DefinitionError, match="'summarise'") as refused:
        parse(text, "summarise", takes)
    assert close in str(refused.value)


@pytest.mark.parametrize("takes", [Any, object, dict[str, Any], Mail | None, Mail | Address])
def test_what_cannot_be_known_when_built_is_let_pass(takes: Any) -> None:
    assert parse("{{ input.anything }}", "s", takes)
