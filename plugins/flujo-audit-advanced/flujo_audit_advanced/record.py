"""What a record may be: a JSON object in one form, so that the same event has the same bytes for everybody.

A record is canonical JSON (RFC 8785) without what readers disagree on: no floats, no integers beyond 2^53, keys of
ASCII only. Each has three fields that the log itself looks at:

- ``id``: unique for each event, so that an event that stands twice is found, and exporters can send it twice.
- ``kind``: what happened, as ``step.started``. Kinds that begin with ``log.`` are the log's own.
- ``at``: when, in whole microseconds since 1970 (UTC).
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Final, NoReturn, TypeAlias
from uuid import uuid4

from flujo_audit_advanced.errors import RecordRejected

MOST_BYTES: Final = 65_535
"""Bytes of the largest record: a bundle of C2SP tlog-tiles has 16 bits for the length. Larger payloads go by digest."""

MOST_INTEGER: Final = 2**53
"""The largest integer: beyond it, readers that know only doubles would read another number."""

DEEPEST: Final = 32
"""How many objects and lists may stand in one another."""

OWN: Final = "log."
"""How the kinds of the log's own records begin."""

Value: TypeAlias = "str | int | bool | list[Value] | tuple[Value, ...] | Mapping[str, Value] | None"


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False)


class EncodedRecord(bytes):
    """The bytes of a record that the schema allows; made by ``encode_record`` and ``checked_record`` only."""


def encode_record(record: Mapping[str, Value], /) -> EncodedRecord:
    """The bytes of a record: what the log stores, hashes and proves.

    Raises:
        RecordRejected: It has a value that the schema forbids, lacks ``id``, ``kind`` or ``at``, or is too large.
    """
    _check_object(record, "", 1)
    check_head(record)
    if str(record["kind"]).startswith(OWN):
        raise RecordRejected(f"a record's kind begins with '{OWN}', which only the log's own do; take another")
    return encoded(record)


def encoded(record: Mapping[str, Value], /) -> EncodedRecord:
    """The bytes of a record of the log's own."""
    try:
        data = _ENCODER.encode(record).encode()
    except UnicodeEncodeError:
        raise RecordRejected("a record has text that is not Unicode (half of a surrogate pair); replace it") from None
    _check_size(data)
    return EncodedRecord(data)


def fresh_head(kind: str) -> dict[str, Value]:
    """What each record has, of now."""
    return {"id": uuid4().hex, "kind": kind, "at": time.time_ns() // 1000}


def own_record(kind: str, fields: Mapping[str, Value]) -> EncodedRecord:
    """A record of the log's own, of now."""
    return encoded({**fresh_head(OWN + kind), **fields})


def checked_record(data: bytes, /) -> EncodedRecord:
    """Bytes from elsewhere, if they are a record as ``encode_record`` makes it.

    Raises:
        RecordRejected: They are not.
    """
    if str(parse_record(data)["kind"]).startswith(OWN):
        raise RecordRejected(f"a record's kind begins with '{OWN}', which only the log's own do; take another")
    return EncodedRecord(data)


def parse_record(data: bytes, /) -> dict[str, Any]:
    """The object that the bytes of a record are, which may be the log's own.

    Raises:
        RecordRejected: They are no record, or not in its one form.
    """
    _check_size(data)
    try:
        record = _DECODER.decode(data.decode())
        again = _ENCODER.encode(record).encode()
    except RecursionError:
        raise RecordRejected(f"a record is nested deeper than {DEEPEST}") from None
    except ValueError:
        raise RecordRejected("a record is not JSON in UTF-8; use 'encode_record'") from None
    if not isinstance(record, dict) or again != data:
        raise RecordRejected("a record is not a JSON object in canonical form (RFC 8785); use 'encode_record'")
    if not data.isascii() or data.count(b"{") + data.count(b"[") > DEEPEST:
        _check(record, "", 0)
    check_head(record)
    return record


def check_head(record: Mapping[str, Value]) -> None:
    """Checks the fields that each record has.

    Raises:
        RecordRejected: One is missing, or of another type.
    """
    for name in ("id", "kind"):
        value = record.get(name)
        if not isinstance(value, str) or not value:
            raise RecordRejected(f"a record needs the field '{name}', a text that is not empty")
    at = record.get("at")
    if not isinstance(at, int) or isinstance(at, bool) or at < 0:
        raise RecordRejected("a record needs the field 'at', whole microseconds since 1970")


def _check_size(data: bytes) -> None:
    if len(data) > MOST_BYTES:
        raise RecordRejected(
            f"a record of {len(data):,} bytes is larger than {MOST_BYTES:,}; keep its payload elsewhere and a digest"
        )


def _check(value: object, where: str, depth: int) -> None:
    """Checks any value; what most fields are is passed by ``_check_object`` already."""
    if isinstance(value, Mapping):
        _check_object(value, where, _deeper(depth, where))
    elif isinstance(value, list | tuple):
        for number, one in enumerate(value):
            _check(one, f"{where}[{number}]", _deeper(depth, where))
    elif isinstance(value, int):
        if abs(value) > MOST_INTEGER:
            raise RecordRejected(f"a record has an integer beyond 2^53 at '{where}'; write it as text")
    elif value is not None and not isinstance(value, str):
        raise RecordRejected(
            f"a record has a value of type '{type(value).__name__}' at '{where}'; it may have text, integers, "
            "booleans, null, lists and objects"
        )


def _check_object(record: Mapping[Any, Any], where: str, depth: int) -> None:
    for key, one in record.items():
        if not isinstance(key, str) or not key.isascii():
            raise RecordRejected(f"a record has a key at '{where}' that is not ASCII text; rename it")
        kind = type(one)
        if kind is str or kind is bool or one is None or (kind is int and -MOST_INTEGER <= one <= MOST_INTEGER):
            continue
        if kind is dict:
            _check_object(one, f"{where}.{key}" if where else key, _deeper(depth, where))
        else:
            _check(one, f"{where}.{key}" if where else key, depth)


def _deeper(depth: int, where: str) -> int:
    if depth == DEEPEST:
        raise RecordRejected(f"a record is nested deeper than {DEEPEST} at '{where}'; flatten it")
    return depth + 1


def _integer(text: str) -> int:
    number = int(text) if len(text) < 18 else MOST_INTEGER + 1
    if abs(number) > MOST_INTEGER:
        raise RecordRejected("a record has an integer beyond 2^53; write it as text")
    return number


def _no_float(text: str) -> NoReturn:
    raise RecordRejected(
        "a record has a number that is no integer; write it as text, or as an integer of a smaller unit"
    )


_DECODER: Final = json.JSONDecoder(parse_float=_no_float, parse_constant=_no_float, parse_int=_integer)
