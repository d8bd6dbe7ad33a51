"""What is causally after an address, told from the addresses and kinds of events alone."""

from __future__ import annotations

from typing import Any

import pytest

from flujo_core.model.causality import History, path_of
from flujo_core.model.event import (
    AttemptFailed,
    ErrorInfo,
    NodeCompleted,
    NodeFailed,
    NodeStarted,
    RunEnded,
    RunResumed,
    RunStarted,
    StepCompleted,
    StepStarted,
)

ERROR = ErrorInfo("E", "")


class Told:
    """Events, one after the other."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def add(self, kind: Any, address: str, *rest: Any) -> None:
        self.events.append(kind("r", None, len(self.events) + 1, 1.0, address, *rest))

    def step(self, address: str) -> None:
        self.add(StepStarted, address, 1)
        self.add(StepCompleted, address, 1, None, {}, 0.0, None)

    def left(self, *roots: str) -> list[str]:
        kept = History(self.events).before(roots)
        return [f"{type(one).__name__} {one.address}".strip() for one in kept]


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("", ()),
        ("a", (("name", "a"),)),
        ("a!tool.x/y", (("name", "a"),)),
        ("a/b", (("name", "a"), ("attempt", "1"), ("name", "b"))),
        ("a#2/b", (("name", "a"), ("attempt", "2"), ("name", "b"))),
        ("a[1]/b", (("name", "a"), ("attempt", "1"), ("scope", "1"), ("name", "b"))),
        ("a[~default]/b", (("name", "a"), ("attempt", "1"), ("scope", "~default"), ("name", "b"))),
        ("a#3[k%2Fx]/b%5B", (("name", "a"), ("attempt", "3"), ("scope", "k%2Fx"), ("name", "b%5B"))),
        ("a~fallback/b", (("name", "a"), ("aside", "fallback"), ("name", "b"))),
    ],
)
def test_an_address_is_its_parts(address: str, path: Any) -> None:
    assert path_of(address) == path


def retried() -> Told:
    """A scope that fails twice, and its fallback; and a step behind it."""
    told = Told()
    told.add(RunStarted, "", "p", None, {})
    for attempt, inner in ((1, "s/a"), (2, "s#2/a")):
        told.add(NodeStarted, "s", attempt, "pipeline", True, ())
        told.step(inner)
        told.add(AttemptFailed, "s", attempt, ERROR, 0.0)
    told.step("s~fallback/z")
    told.add(NodeCompleted, "s", 2, {}, 0.0, "fallback")
    told.step("end")
    told.add(RunEnded, "", "completed")
    return told


BEGIN = ["RunStarted", "NodeStarted s"]
FIRST = [*BEGIN, "StepStarted s/a", "StepCompleted s/a", "AttemptFailed s"]
SECOND = [*FIRST, "NodeStarted s", "StepStarted s#2/a", "StepCompleted s#2/a", "AttemptFailed s"]
THIRD = [*SECOND, "StepStarted s~fallback/z", "StepCompleted s~fallback/z", "NodeCompleted s"]


@pytest.mark.parametrize(
    ("root", "left"),
    [
        ("s", ["RunStarted"]),
        ("s/a", BEGIN),
        ("s#2/a", [*FIRST, "NodeStarted s"]),
        ("s~fallback/z", SECOND),
        ("end", THIRD),
    ],
)
def test_attempts_and_fallbacks_are_one_after_the_other(root: str, left: list[str]) -> None:
    assert retried().left(root) == left


def test_of_two_roots_what_is_after_either_is_left_out() -> None:
    assert retried().left("end", "s#2/a") == retried().left("s#2/a")


def test_names_are_those_that_nodes_have_at_the_end() -> None:
    told = Told()
    told.add(RunStarted, "", "p", None, {})
    told.step("a")
    told.step("b")
    told.add(RunResumed, "")
    told.events[-1].renamed = {"a": "b", "b": "c"}
    told.step("d")
    assert list(History(told.events).addresses) == ["b", "c", "d"]
    assert told.left("c") == ["RunStarted", "StepStarted a", "StepCompleted a", "RunResumed"]


def test_a_node_that_failed_for_good_has_not_once_something_in_it_runs_anew() -> None:
    told = Told()
    told.add(RunStarted, "", "p", None, {})
    told.add(NodeStarted, "fan", 1, "parallel", False, ("[l]", "[r]"))
    told.step("fan[l]/a")
    told.step("fan[r]/b")
    told.add(NodeFailed, "fan", 1, ERROR, 0.0)
    assert told.left("fan[l]/a") == ["RunStarted", "NodeStarted fan", "StepStarted fan[r]/b", "StepCompleted fan[r]/b"]
