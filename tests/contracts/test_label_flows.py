"""Each planted leak of labelled data is found, by both its ends; pipelines without one are not flagged."""

from __future__ import annotations

import pytest
from label_kit import CLEAN, LEAKS, Case, Isolated

from flujo_core.model.leak import Leak, leaks_of
from flujo_core.model.tool import tool_facts
from flujo_core.model.wiring import wire


def found(case: Case) -> tuple[Leak, ...]:
    node = case.build()
    return leaks_of(node, wire(node), case.context, Isolated())


@pytest.mark.parametrize("case", LEAKS.values(), ids=LEAKS)
def test_a_planted_leak_is_found(case: Case) -> None:
    ends = {
        (f"'{one.field}' of {one.source}" if one.field else one.source, f"{one.kind} {one.name} at {one.address}")
        for one in found(case)
    }
    assert ends == set(case.ends)


@pytest.mark.parametrize("case", CLEAN.values(), ids=CLEAN)
def test_a_pipeline_without_a_leak_is_not_flagged(case: Case) -> None:
    assert [str(one) for one in found(case)] == []


def test_there_are_thirty_of_each_at_least() -> None:
    assert len(LEAKS) >= 30 and len(CLEAN) >= 30


def test_what_is_no_tool_has_no_facts() -> None:
    assert tool_facts(object()) is None
    assert Isolated().tool("search") is None and not Isolated().has_model("local:x")
