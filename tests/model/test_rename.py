"""Addresses of a run when nodes have got other names."""

from __future__ import annotations

import pytest

from flujo_core.model.event import (
    NodeStarted,
    QuestionAnswered,
    QuestionAsked,
    QuestionTerms,
    RunPaused,
    RunResumed,
    RunStarted,
    StepCompleted,
    StepStarted,
)
from flujo_core.model.rename import renamed
from flujo_core.model.run import fold

RENAMES = {
    "a": "b",
    "a[*]/x": "b[*]/y",
    "fan[left]/q": "fan[left]/z",
    "a~fallback/f": "b~fallback/g",
    "s": "t",
    "t": "s",
}


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("a", "b"),
        ("a[1]", "b[1]"),
        ("a#2[3]/x", "b#2[3]/y"),
        ("a[k%2Fv]/x!tool.call_1", "b[k%2Fv]/y!tool.call_1"),
        ("a[1]/x#2~fallback/x", "b[1]/y#2~fallback/x"),
        ("a~fallback", "b~fallback"),
        ("a~fallback/f", "b~fallback/g"),
        ("a[1]/xx", "b[1]/xx"),
        ("fan[left]/q", "fan[left]/z"),
        ("fan#3[left]/q[2]/q", "fan#3[left]/z[2]/q"),
        ("fan[right]/q", "fan[right]/q"),
        ("ab/x", "ab/x"),
        ("q/a", "q/a"),
        ("s/t", "t/t"),
        ("t", "s"),
        ("", ""),
    ],
)
def test_a_name_is_another_one_where_it_is_that_nodes(address: str, expected: str) -> None:
    assert renamed(address, RENAMES) == expected


def test_without_renames_an_address_stays_the_same_object() -> None:
    address = "a/b/c"
    assert renamed(address, {}) is address


def test_a_resumed_run_goes_on_under_the_new_names() -> None:
    def head(number: int, address: str) -> tuple[str, None, int, float, str]:
        return "run", None, number, float(number), address

    terms = QuestionTerms()
    state = fold(
        [
            RunStarted(*head(1, ""), "pipeline", None, {"log": []}),
            NodeStarted(*head(2, "a"), 1, "loop", True, ("[1]",)),
            StepStarted(*head(3, "a[1]/x"), 1),
            StepCompleted(*head(4, "a[1]/x"), 1, 7, {}, 1.0, None),
            StepStarted(*head(5, "a[1]/q"), 1),
            QuestionAsked(*head(6, "a[1]/q!tool.1"), 1, "tool", "?", "bool", {}, terms, None, {}),
            RunPaused(*head(7, "")),
            RunResumed(*head(8, ""), renamed={"a": "b", "a[*]/x": "b[*]/y"}),
            QuestionAnswered(*head(9, "b[1]/q!tool.1"), 6, True, None, False),
        ]
    )
    assert {address: one.address for address, one in state.steps.items()} == {"b[1]/y": "b[1]/y", "b[1]/q": "b[1]/q"}
    assert state.steps["b[1]/y"].output == 7 and state.steps["b[1]/q"].status == "running"
    assert [*state.nodes] == ["b"] and state.questions[6].asked.address == "b[1]/q!tool.1"
    assert [*state.contexts.scopes] == ["b", "b[1]"] and state.contexts.opened == {"b": ["b", "b[1]"]}
