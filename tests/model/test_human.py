"""HumanInput: what it asks, what it refuses, and what is checked with the whole."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict

from flujo_core import (
    Branch,
    Cache,
    Default,
    DefinitionError,
    EdgeError,
    From,
    HumanInput,
    Loop,
    Map,
    Parallel,
    PauseForHumanInput,
    Retry,
    SignatureError,
    Step,
    diagram,
    step,
    walk,
)
from flujo_core.model.action import HumanAction


class Draft(BaseModel):
    text: str


class Approval(BaseModel):
    ok: bool
    note: str = ""


class Colour(Enum):
    RED = "red"


class Box(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    held: Step[Any, Any]


class Handle:
    pass


@step
async def write(topic: str) -> Draft:
    return Draft(text=topic)


@step
async def many(topic: str) -> list[Draft]:
    return [Draft(text=topic)]


@step
async def send(approval: Approval) -> str:
    return str(approval.ok)


approve = HumanInput("approve", Approval, ask="Send this?\n\n{{ input.text }}")


def asked(node: HumanInput[Any, Any]) -> HumanAction:
    assert isinstance(node.action, HumanAction)
    return node.action


def test_it_is_a_leaf_that_gives_the_answer() -> None:
    whole = write >> approve >> send
    whole.check()
    assert approve.gives is Approval and approve.takes is Any and isinstance(approve, Step)
    assert [address for address, _ in walk(whole)] == ["write", "approve", "send"]


def test_its_question_shows_fields_of_its_input() -> None:
    assert asked(approve).pause(Draft(text="Hello")).question == "Send this?\n\nHello"


def test_its_question_shows_what_others_gave() -> None:
    node = HumanInput("ok", bool, ask="{{ input.text }} of {{ run_input }} and {{ write.text }}")
    (write >> node).check()
    values = {From.run_input: "r", From("write", path="text"): "w"}
    assert asked(node).pause(Draft(text="i"), values).question == "i of r and w"


def test_its_terms_are_those_of_the_pause() -> None:
    node = HumanInput(
        "a", Approval, ask="?", approvers=["x", "y"], quorum=2, expires_in=timedelta(days=1), on_expiry="stop"
    )
    pause = asked(node).pause(None)
    assert (pause.approvers, pause.quorum, pause.expires_in, pause.on_expiry, pause.response_model) == (
        ("x", "y"), 2, timedelta(days=1), "stop", Approval,
    )  # fmt: skip


def test_a_default_answer_is_validated_when_it_is_built() -> None:
    plain: Any = Default({"ok": False})
    default = asked(HumanInput("a", Approval, ask="?", on_expiry=plain)).on_expiry
    assert isinstance(default, Default) and default.value == Approval(ok=False)
    wrong: Any = Default({"ok": "private"})
    with pytest.raises(DefinitionError, match="step 'a': the default answer is not a 'Approval': 'ok'") as raised:
        HumanInput("a", Approval, ask="?", on_expiry=wrong)
    assert "private" not in str(raised.value)


@pytest.mark.parametrize("kind", [bool, str, int, Colour, Literal["a", "b"], list[Approval], Approval | None, Draft])
def test_an_answer_is_of_any_type_that_json_can_hold(kind: Any) -> None:
    assert HumanInput("a", kind, ask="?").gives == kind


@pytest.mark.parametrize("kind", [Handle, Box, list[Handle], Step])
def test_an_answer_that_json_cannot_hold_is_refused(kind: Any) -> None:
    with pytest.raises(DefinitionError, match=r"step 'a': a person cannot give a '.*': JSON has no such values"):
        HumanInput("a", kind, ask="?")


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"quorum": 0}, "'quorum'"),
        ({"quorum": True}, "'quorum'"),
        ({"quorum": 2, "approvers": ["x", "x"]}, "'quorum' of a question is 2, and it has 1"),
        ({"approvers": "ops"}, "'approvers'"),
        ({"approvers": [""]}, "'approvers'"),
        ({"approvers": [1]}, "'approvers'"),
        ({"expires_in": 3}, "'expires_in'"),
        ({"expires_in": timedelta(-1)}, "'expires_in'"),
        ({"on_expiry": "default"}, "'on_expiry'"),
        ({"ask": 3}, "'ask' of step 'a' is text"),
        ({"ask": "{{ input..x }}"}, "the question of step 'a' has a placeholder"),
        ({"version": 2}, "'version'"),
        ({"was": " "}, "'was'"),
    ],
)
def test_terms_that_cannot_be_are_refused(terms: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        HumanInput("a", Approval, **({"ask": "?"} | terms))


@pytest.mark.parametrize("name", ["", " ", 3])
def test_a_name_that_cannot_be_is_refused(name: Any) -> None:
    with pytest.raises(DefinitionError, match="a step's name is text"):
        HumanInput(name, Approval, ask="?")


@pytest.mark.parametrize(
    "policies",
    [{"retry": Retry(2)}, {"timeout": 3}, {"cache": Cache()}, {"fallback": send}, {"validators": [lambda one: None]}],
    ids=lambda one: str(one).partition(" at 0x")[0],
)
def test_policies_of_what_works_are_refused(policies: dict[str, Any]) -> None:
    (name,) = policies
    with pytest.raises(DefinitionError, match=f"step 'approve' waits for a person, and cannot have '{name}'"):
        approve.policy(**policies)


def test_a_version_and_an_earlier_name_are_kept() -> None:
    changed = approve.named("release", was="approve").policy(version="2", migrations={"1": None})
    assert changed.policies.version == "2" and changed.policies.was == "approve" and changed.label == "release"
    assert HumanInput("a", bool, ask="?", version="2", was="b").policies.was == "b"
    assert approve.policies.version is None


def text_of(draft: Draft) -> str:
    return draft.text


def places() -> dict[str, Any]:
    """The question with a wrong placeholder, in each place of a pipeline in which its input's type is known."""
    wrong = HumanInput("wrong", Draft, ask="{{ input.txt }}")
    return {
        "sequence": write >> wrong,
        "parallel": write >> Parallel("p", a=wrong, b=wrong.named("other")),
        "map": many >> Map("m", wrong),
        "branch": write >> Branch("b", on=text_of).case("x", wrong).default(wrong.named("other")),
        "named": write >> (wrong >> HumanInput("next", bool, ask="?")).named("inner"),
        "loop": write >> Loop("l", wrong, until=lambda draft: True, max_iterations=2),
        "second in a map": many >> Map("m", HumanInput("first", Draft, ask="?") >> wrong),
        "fallback": write >> write_again.policy(fallback=wrong),
    }


@step
async def write_again(draft: Draft) -> Draft:
    return draft


@pytest.mark.parametrize("place", places())
def test_a_placeholder_is_checked_against_what_comes_in(place: str) -> None:
    with pytest.raises(DefinitionError, match="the question of step 'wrong' has a placeholder"):
        places()[place].check()


def test_the_prompt_of_an_agent_is_checked_so_too() -> None:
    ask: Step[Any, Any] = Step.agent("ask", "registered", prompt="{{ input.txt }}")
    with pytest.raises(DefinitionError, match="the prompt of step 'ask' has a placeholder"):
        (write >> ask).check()


def test_where_nothing_is_known_of_the_input_nothing_is_refused() -> None:
    HumanInput("a", bool, ask="{{ input.anything }}").check()
    (HumanInput("a", bool, ask="?") >> HumanInput("b", bool, ask="{{ input }}")).check()


def test_what_may_not_have_run_is_not_shown() -> None:
    route = Branch("route", on=str.lower).case("x", write).default(write.named("other"))
    with pytest.raises(DefinitionError, match="has taken that case; show it by a step before this one"):
        (route >> HumanInput("a", bool, ask="{{ route[x]/write.text }}")).check()


def test_its_answer_must_fit_what_follows() -> None:
    with pytest.raises(EdgeError, match="step 'ok' gives 'bool' and the next step, 'send', takes 'Approval'"):
        HumanInput("ok", bool, ask="?") >> send  # type: ignore[operator]


def test_a_step_that_asks_for_something_else_than_it_gives_is_refused() -> None:
    with pytest.raises(SignatureError, match="step 'ask' asks a person for 'Approval', and gives 'Draft'"):

        @step
        async def ask(topic: str) -> Draft | PauseForHumanInput[Approval]:
            raise AssertionError


def test_a_diagram_shows_it_as_a_question() -> None:
    node = HumanInput("pay", bool, ask="?", approvers=["ops", "cfo"], quorum=2, expires_in=timedelta(hours=2))
    chart = diagram(write >> node >> HumanInput("next", bool, ask="?", approvers=["ops"]))
    assert '[/"pay<br/>2 of ops, cfo<br/>within 2 h 00 min"/]' in chart and '[/"next<br/>asks ops"/]' in chart
    tree = diagram(write >> node, style="text")
    assert "human, 2 of ops, cfo, within 2 h 00 min" in tree and "Any -> bool" in tree
