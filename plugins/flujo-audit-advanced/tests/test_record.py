"""What a record may be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flujo_audit_advanced import RecordRejected, encode_record
from flujo_audit_advanced.record import MOST_BYTES, MOST_INTEGER, checked_record, parse_record
from hypothesis import given
from hypothesis import strategies as st

HEAD: dict[str, Any] = {"id": "1", "kind": "step.started", "at": 1}
TEXTS = st.text(alphabet=st.characters(blacklist_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-MOST_INTEGER, MOST_INTEGER) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(max_codepoint=127)), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(st.characters(max_codepoint=127), min_size=3), VALUES, max_size=5))
def test_what_is_encoded_is_read_back_and_has_one_form(fields: dict[str, Any]) -> None:
    record = fields | HEAD
    data = encode_record(record)
    assert parse_record(data) == record and checked_record(data) == data
    assert encode_record(dict(reversed(record.items()))) == data


@pytest.mark.parametrize(
    ("field", "where"),
    [
        (1.5, "x"), (float("nan"), "x"), (MOST_INTEGER + 1, "x"), (-MOST_INTEGER - 1, "x"), (b"bytes", "x"),
        ({"ü": 1}, "x"), ({1: 1}, "x"), ([1, {"a": 2.0}], "x[1].a"), (object(), "x"), ("\ud800", ""),
    ],
)  # fmt: skip
def test_what_readers_disagree_on_is_refused_and_its_place_named(field: Any, where: str) -> None:
    with pytest.raises(RecordRejected, match=where.replace("[", r"\[") or None) as caught:
        encode_record(HEAD | {"x": field})
    assert "bytes'" not in str(caught.value).replace("type 'bytes'", "")


def test_a_value_nested_too_deeply_is_refused() -> None:
    value: Any = 1
    for _ in range(31):
        value = [value]
    assert parse_record(encode_record(HEAD | {"x": value}))["x"] == value
    with pytest.raises(RecordRejected, match="nested deeper"):
        encode_record(HEAD | {"x": [[value]]})
    for deep in (40, 100_000):
        with pytest.raises(RecordRejected):
            parse_record(b'{"at":1,"id":"1","kind":"k","x":' + b"[" * deep + b"]" * deep + b"}")


@pytest.mark.parametrize("name", ["id", "kind", "at"])
@pytest.mark.parametrize("value", [None, "", True, -1, "x"])
def test_the_fields_of_every_record_are_checked(name: str, value: Any) -> None:
    if name != "at" and value == "x":
        return
    with pytest.raises(RecordRejected, match=f"'{name}'"):
        encode_record(HEAD | {name: value})
    missing = {key: one for key, one in HEAD.items() if key != name}
    with pytest.raises(RecordRejected, match=f"'{name}'"):
        encode_record(missing)


def test_the_logs_own_kinds_are_its_own() -> None:
    for make in (lambda: encode_record(HEAD | {"kind": "log.opened"}),
                 lambda: checked_record(b'{"at":1,"id":"1","kind":"log.key_rotated"}')):  # fmt: skip
        with pytest.raises(RecordRejected, match=r"'log\.'"):
            make()


def test_the_largest_record_is_65535_bytes() -> None:
    room = MOST_BYTES - len(encode_record(HEAD | {"x": ""}))
    assert len(encode_record(HEAD | {"x": "y" * room})) == MOST_BYTES
    with pytest.raises(RecordRejected, match="65,536 bytes"):
        encode_record(HEAD | {"x": "y" * (room + 1)})


@pytest.mark.parametrize(
    "data",
    [
        b"", b"x", b"[]", b"null", b'{"at":1,"id":"1","kind":"k"} ', b'{"id":"1","at":1,"kind":"k"}',
        b'{"at": 1,"id":"1","kind":"k"}', b'{"at":1,"at":1,"id":"1","kind":"k"}', b'{"at":1.0,"id":"1","kind":"k"}',
        b'{"at":1e3,"id":"1","kind":"k"}', b'{"at":1,"id":"1","kind":"k","x":NaN}', b'{"at":-0,"id":"1","kind":"k"}',
        b'{"at":1,"id":"1","kind":"k","x":9007199254740993}', b'{"at":1,"id":"1","kind":"k","\xc3\xbc":1}',
        b'{"at":1,"id":"1","kind":"k","x":"\\u00fc"}', b'{"at":1,"id":"1","kind":"k","x":"\xff"}',
        b'{"at":1,"id":"1","kind":"k","x":"\\ud800"}', b'\xef\xbb\xbf{"at":1,"id":"1","kind":"k"}',
        b'{"at":1,"id":"1","kind":"k","x":' + b"9" * 5000 + b"}",
    ],
)  # fmt: skip
def test_bytes_that_are_no_record_in_its_one_form_are_refused(data: bytes) -> None:
    with pytest.raises(RecordRejected):
        checked_record(data)


def test_no_message_has_a_value() -> None:
    for value in (1.23456, 2**60 + 7, b"secret-value"):
        with pytest.raises(RecordRejected) as caught:
            encode_record(HEAD | {"x": value})
        assert (
            "secret" not in str(caught.value) and "23456" not in str(caught.value) and "115292" not in str(caught.value)
        )
    with pytest.raises(RecordRejected) as caught:
        parse_record(json.dumps(HEAD | {"x": "secret-value"}).encode())
    assert "secret" not in str(caught.value)
