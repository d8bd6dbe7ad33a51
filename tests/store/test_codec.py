"""Events to records and back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json, to_json

from flujo_core import (
    AttemptFailed,
    BranchDecided,
    CallCompleted,
    ErrorInfo,
    ItemTaken,
    LoopDecided,
    NodeCompleted,
    NodeFailed,
    NodeStarted,
    Origin,
    QuestionAnswered,
    QuestionAsked,
    QuestionLapsed,
    QuestionTerms,
    QuestionWithdrawn,
    Record,
    RunEnded,
    RunPaused,
    RunResumed,
    RunStarted,
    StepCompleted,
    StepFailed,
    StepStarted,
    TokenReissued,
    Usage,
    VoteCast,
)
from flujo_core.model.event import NO_ORIGIN
from flujo_core.model.patch import Extend, Set, Update
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
texts = st.dictionaries(names, names, max_size=2)
origins = st.just(NO_ORIGIN) | st.builds(Origin, names, texts, names)
changes = st.builds(Set, plain) | st.builds(Extend, st.lists(plain, max_size=2))
updates = st.builds(Update, st.dictionaries(names, plain, max_size=2), st.lists(names, max_size=2, unique=True))
patches = st.dictionaries(names, changes | updates, max_size=2)
maybe = st.none() | names
terms = st.builds(
    QuestionTerms, st.lists(names, max_size=2).map(tuple), st.integers(1, 3), st.none() | times,
    st.sampled_from(["fail", "stop", "default"]), plain,
)  # fmt: skip
asked = st.builds(
    QuestionAsked, *head, numbers, st.sampled_from(["step", "pre", "post", "tool"]), st.text(max_size=5), names,
    st.dictionaries(names, plain, max_size=2), terms, plain, patches, times, usages, maybe, maybe,
)  # fmt: skip
begun = st.one_of(
    st.builds(RunStarted, *head, names, plain, st.dictionaries(names, plain, max_size=2), origins),
    st.builds(StepStarted, *head, numbers),
    st.builds(AttemptFailed, *head, numbers, errors, times, usages, maybe),
    st.builds(StepCompleted, *head, numbers, plain, st.just({}), times, usages, st.sampled_from(["node", "cache"])),
    st.builds(StepFailed, *head, numbers, errors, times, usages),
    st.builds(
        RunEnded, *head, st.sampled_from(["completed", "failed", "stopped", "refused", "cancelled"]), plain,
        maybe, st.none() | errors,
    ),
)  # fmt: skip
events = st.one_of(
    begun,
    st.builds(StepCompleted, *head, numbers, plain, patches, times, usages),
    st.builds(NodeStarted, *head, numbers, st.sampled_from(["map", "loop"]), st.booleans(), st.just(("[a]", "[b]"))),
    st.builds(ItemTaken, *head, numbers, names, plain),
    st.builds(LoopDecided, *head, numbers, numbers, st.booleans()),
    st.builds(BranchDecided, *head, numbers, names),
    st.builds(NodeCompleted, *head, numbers, patches, times, st.sampled_from(["node", "fallback"]), plain),
    st.builds(NodeFailed, *head, numbers, errors, times),
    asked,
    st.builds(VoteCast, *head, numbers, plain, maybe, st.booleans()),
    st.builds(QuestionAnswered, *head, numbers, plain, maybe, st.booleans(), st.booleans()),
    st.builds(QuestionLapsed, *head, numbers, st.sampled_from(["fail", "stop"])),
    st.builds(QuestionWithdrawn, *head, numbers),
    st.builds(TokenReissued, *head, numbers, names),
    st.builds(CallCompleted, *head, numbers, names, plain, patches, usages),
    st.builds(RunPaused, *head),
    st.builds(RunResumed, *head, origins, st.booleans(), texts),
)


def _parts(one: Any) -> Any:
    """What an event has, down to the fields of what it holds."""
    slots = [name for kind in type(one).__mro__ for name in getattr(kind, "__slots__", ())]
    if isinstance(one, tuple) or not slots:
        return one
    return {name: _parts(getattr(one, name)) for name in slots}


def _patch(event: Any) -> bytes:
    """Its changes, as the journal writes them."""
    kinds = {Set: ("set",), Extend: ("extend",), Update: ("put", "drop")}
    parts = {}
    for name, change in getattr(event, "patch", {}).items():
        values = [
            dict.fromkeys(value) if key == "drop" else value
            for key, value in zip(kinds[type(change)], change, strict=True)
        ]
        parts[name] = dict(zip(kinds[type(change)], values, strict=True))
    return to_json(parts)


def _encoded(event: Any, epoch: int = 1) -> Record:
    if isinstance(event, QuestionAsked):
        return encode(event, to_json(event.payload), _patch(event), epoch)
    values = [getattr(event, name) for name in ("input", "output", "item", "answer", "result") if hasattr(event, name)]
    state = to_json(event.context) if isinstance(event, RunStarted) else _patch(event)
    return encode(event, to_json(values[0] if values else None), state, epoch)


@given(events)
def test_an_event_survives_its_record(event: Any) -> None:
    back = decode(_encoded(event))
    assert type(back) is type(event) and _parts(back) == _parts(event)


@given(st.lists(begun, max_size=6))
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


@given(events, st.integers(1, 9))
def test_the_header_says_what_a_store_must_know_without_the_rest(event: Any, epoch: int) -> None:
    record = _encoded(event, epoch)
    closes = isinstance(event, QuestionAnswered | QuestionLapsed | QuestionWithdrawn)
    opens = isinstance(event, QuestionAsked)
    assert record.epoch == epoch and record.question == (event.question if closes else 0)
    assert record.expires_at == (event.terms.expires_at if opens else None)
    assert record.token_hash == (event.token_hash if opens else None)
    statuses: dict[type, str] = {RunStarted: "running", RunResumed: "running", RunPaused: "paused"}
    assert record.outcome == statuses.get(type(event), record.outcome)
    assert (record.kind.startswith("run_")) is isinstance(event, RunStarted | RunResumed | RunPaused | RunEnded)


@given(events)
def test_values_stand_in_the_second_line_and_changes_in_the_third(event: Any) -> None:
    lines = _encoded(event).payload.split(b"\n")
    assert len(lines) in (1, 2, 3)
    if isinstance(event, QuestionAsked | VoteCast | QuestionAnswered):
        value = from_json(lines[1])
        assert value == (event.payload if isinstance(event, QuestionAsked) else event.answer)
        assert not {"text", "state", "default", "answer"} & from_json(lines[0]).keys()
    if hasattr(event, "patch"):
        assert lines[2] == _patch(event)


def test_records_of_before_there_were_origins_are_read() -> None:
    old = Record("r", None, 1, "run_started", "", "", 1.0, b'{"pipeline":"p"}\n1\n{}')
    started = decode(old)
    assert isinstance(started, RunStarted) and started.origin is NO_ORIGIN and started.pipeline == "p"


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
