"""Questions: the types of their answers by name, and what callers see."""

from __future__ import annotations

import sys
from datetime import date
from enum import Enum
from typing import Annotated, Any, Generic, Literal, NewType, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from flujo_core import DefinitionError, InvalidValue, Question
from flujo_core.model.question import check_response, response_name, response_of, schema_of, validated_answer

T = TypeVar("T")


class Approval(BaseModel):
    ok: bool


class Careful(Approval):
    note: str = ""


class Box(BaseModel, Generic[T]):
    held: T


class Colour(Enum):
    RED = "red"


class Opaque:
    pass


Positive = Annotated[int, Field(gt=0)]
HINTS: list[Any] = [
    Approval, bool, str, int, float, None, Colour, date, list[Approval], dict[str, int], tuple[int, ...], Box[int],
    Literal["a", "b'c", 1, True, None], Literal[Colour.RED], Approval | None, list[Approval | None],
]  # fmt: skip


@pytest.mark.parametrize("hint", HINTS, ids=str)
def test_a_type_is_found_again_by_its_name(hint: Any) -> None:
    assert response_of(hint, response_name(hint)) == hint
    others = [one for one in HINTS if one != hint and one is not None]
    assert response_of(others[0] | hint, response_name(hint)) == (hint if hint is not None else type(None))


def test_names_of_types_tell_modules_and_places() -> None:
    class Approval(BaseModel):
        ok: int

    local = f"{__name__}:test_names_of_types_tell_modules_and_places.<locals>.Approval"
    assert response_name(Approval) == local
    assert response_name(list[Approval | None]) == f"builtins:list[{local} | NoneType]"
    assert response_of(globals()["Approval"] | Approval, local) is Approval


def test_a_class_of_the_main_program_is_named_as_others_import_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Approval, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "/somewhere/triage.py", raising=False)
    assert response_name(Approval) == "triage:Approval"


def test_what_is_annotated_keeps_its_bounds() -> None:
    assert response_name(Positive) == "int"
    assert response_of(Positive | None, "int") is Positive


@pytest.mark.parametrize("hint", [Any, object, str])
def test_types_that_json_has_itself_need_not_be_declared(hint: Any) -> None:
    assert response_of(hint, "str") is str
    assert response_of(hint, "Literal['yes', 'no']") == Literal["yes", "no"]


@pytest.mark.parametrize(
    ("hint", "recorded"),
    [
        (Approval, "somewhere:Approval"),
        (str, "int"),
        (int, "Literal['a']"),
        (Any, "os:PathLike"),
        (Any, "Literal[open('x')]"),
        (Any, "Literal["),
        (Approval, response_name(Careful)),
    ],
)
def test_a_type_that_is_not_declared_is_not_found(hint: Any, recorded: str) -> None:
    with pytest.raises(LookupError):
        response_of(hint, recorded)


@pytest.mark.parametrize(
    ("response", "gives"),
    [
        (Approval, Approval),
        (Approval, Approval | str),
        (bool, Any),
        (Literal["a"], str),
        (list[Approval], list[Approval]),
    ],
)
def test_an_answer_that_can_be_the_output_passes(response: Any, gives: Any) -> None:
    check_response(response, gives, "step 'ask'")


@pytest.mark.parametrize(
    ("response", "gives", "message"),
    [
        (Approval, str, "step 'ask' asks for 'Approval', and gives 'str'; the answer becomes its output"),
        (Approval | None, Approval, "asks for 'Approval | None', and gives 'Approval'"),
        (Careful, Approval, "asks for 'Careful', which its output type, 'Approval', does not name"),
        (Approval, Any, "asks for 'Approval', which its output type, 'Any', does not name"),
        (Opaque, Opaque, "step 'ask' asks a person: a person cannot give a 'Opaque'"),
    ],
)
def test_an_answer_that_cannot_be_the_output_is_refused(response: Any, gives: Any, message: str) -> None:
    with pytest.raises(InvalidValue, match=message.replace("|", r"\|")):
        check_response(response, gives, "step 'ask'")


def test_a_schema_is_that_of_the_answer() -> None:
    assert schema_of(Approval)["required"] == ["ok"]
    assert schema_of(Literal["a", "b"])["enum"] == ["a", "b"]
    with pytest.raises(DefinitionError, match="a person cannot give a 'Opaque'"):
        schema_of(Opaque)


def test_an_answer_is_an_instance_or_its_data() -> None:
    assert validated_answer(Approval(ok=True), Approval) == (b'{"ok":true}', Approval(ok=True))
    assert validated_answer({"ok": True}, Approval) == (b'{"ok":true}', Approval(ok=True))


@pytest.mark.parametrize("value", [None, "private", {"ok": "private"}, 3, {}])
def test_an_answer_that_does_not_fit_is_refused_without_being_shown(value: Any) -> None:
    with pytest.raises(InvalidValue, match="the answer is not a 'Approval'") as raised:
        validated_answer(value, Approval)
    assert "private" not in str(raised.value)


def test_an_answer_that_would_come_back_as_something_else_is_refused() -> None:
    with pytest.raises(InvalidValue, match="the answer would come back from the journal as something else"):
        validated_answer(Careful(ok=True), Approval)


@given(st.from_type(Approval), st.booleans())
def test_what_was_validated_is_validated_to_the_same(answer: Approval, as_data: bool) -> None:
    data, restored = validated_answer(answer.model_dump() if as_data else answer, Approval)
    assert restored == answer and validated_answer(restored, Approval) == (data, restored)


def test_a_question_shows_neither_its_text_nor_its_token() -> None:
    question = Question("r", "a/approve", "private?", {}, token="secret")
    assert repr(question) == "<Question 'r' 'a/approve'>" and str(question) == repr(question)
    with pytest.raises(AttributeError):
        question.token = "other"  # type: ignore[misc]


def test_a_type_that_is_no_class_is_named_as_it_is_written() -> None:
    assert response_name(NewType("Dose", int)) == f"{__name__}.Dose"
