"""Events to records and back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from flujo_core import (
    AttemptFailed,
    ErrorInfo,
    Record,
    RunEnded,
    RunStarted,
    StepCompleted,
    StepFailed,
    StepStarted,
    Usage,
)
from flujo_core.model.run import fold
from flujo_core.store.codec import decode, encode

names = st.text(min_size=1, max_size=6)
times = st.floats(0, 2e9, allow_nan=False)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | names,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=5,
)
errors = st.builds(ErrorInfo, names, st.text(max_size=5))
costs = st.none() | st.decimals(0, 10, places=4)
usages = st.none() | st.builds(Usage, *[st.integers(0, 9)] * 4, costs)
head = (names, st.none() | names, st.integers(1, 99), times, names)
numbers = st.integers(0, 5)
events = st.one_of(
    st.builds(RunStarted, *head, names, plain, st.dictionaries(names, plain, max_size=2)),
    st.builds(StepStarted, *head, numbers),
    st.builds(AttemptFailed, *head, numbers, errors, times),
    st.builds(StepCompleted, *head, numbers, plain, st.just({}), times, usages),
    st.builds(StepFailed, *head, numbers, errors, times),
    st.builds(
        RunEnded, *head, st.sampled_from(["completed", "failed", "stopped", "refused", "cancelled"]), plain,
        st.none() | names, st.none() | errors,
    ),
)  # fmt: skip


def _parts(event: Any) -> dict[str, Any]:
    parts = {name: getattr(event, name) for kind in type(event).__mro__ for name in getattr(kind, "__slots__", ())}
    if isinstance(error := parts.get("error"), ErrorInfo):
        parts["error"] = (error.type, error.message)
    return parts


def _encoded(event: Any) -> Record:
    value = to_json(getattr(event, "input", getattr(event, "output", None)))
    return encode(event, value, to_json(getattr(event, "context", {})))


@given(events)
def test_an_event_survives_its_record(event: Any) -> None:
    back = decode(_encoded(event))
    assert type(back) is type(event) and _parts(back) == _parts(event)


@given(st.lists(events, max_size=6))
def test_the_fold_of_decoded_records_is_the_fold_of_the_events(happened: list[Any]) -> None:
    one, two = fold(happened), fold(decode(_encoded(event)) for event in happened)
    assert one.status == two.status and one.output == two.output and one.reason == two.reason
    assert [(s.address, s.status, s.attempts, s.output, s.usage, s.duration) for s in one.steps.values()] == [
        (s.address, s.status, s.attempts, s.output, s.usage, s.duration) for s in two.steps.values()
    ]


@given(events)
def test_the_clear_header_holds_no_value(event: Any) -> None:
    record = _encoded(event)
    assert record[:4] == (event.run_id, event.tenant, event.sequence, event.kind) and record.address == event.address
    assert record.outcome in (
        "",
        "running",
        "paused",
        "completed",
        "skipped",
        "failed",
        "stopped",
        "refused",
        "cancelled",
    )


def test_a_value_with_line_breaks_stays_in_its_line() -> None:
    event = StepCompleted("r", None, 3, 1.0, "a", 1, "one\ntwo\r\n\u2028three", {}, 0.5, None)
    assert decode(_encoded(event)).output == "one\ntwo\r\n\u2028three"  # type: ignore[union-attr]


def test_a_cost_keeps_its_digits() -> None:
    event = StepCompleted("r", None, 3, 1.0, "a", 1, None, {}, 0.5, Usage(1, 2, 3, 4, Decimal("0.000000123450")))
    assert decode(_encoded(event)).usage == event.usage  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["nonsense", "", "chunk", "step_failed"])
def test_a_record_that_is_none_of_ours_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="r"):
        decode(Record("r", None, 1, kind, "a", "", 1.0, b'{"attempt": 1, "error": null, "duration": 1}'))


def test_a_payload_that_is_no_json_is_refused() -> None:
    with pytest.raises(ValueError):
        decode(Record("r", None, 1, "run_started", "", "", 1.0, b"\x00\xff"))
