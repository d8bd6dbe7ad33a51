"""What a record may be: a JSON object in one form, so that the same event has the same bytes for everybody.

A record is canonical JSON (RFC 8785) without what readers disagree on: no floats, no integers beyond 2^53, keys of ASCII
letters only. Each has three fields that the log itself looks at:

- ``id``: unique for each event, so that an event that stands twice is found, and exporters can send it twice.
- ``kind``: what happened, as ``step.started``. Kinds that begin with ``log.`` are the log's own.
- ``at``: when, in whole microseconds since 1970 (UTC).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, TypeAlias

from flujo_audit_advanced.errors import RecordRejected

MOST_BYTES: Final = 65_535
"""Bytes of the largest record: a bundle of C2SP tlog-tiles has 16 bits for the length. Larger payloads go by digest."""

MOST_INTEGER: Final = 2**53
"""The largest integer: beyond it, readers that know only doubles would read another number."""

DEEPEST: Final = 32
"""How many objects and lists may stand in one another."""

Value: TypeAlias = "str | int | bool | None | list[Value] | tuple[Value, ...] | Mapping[str, Value]"


def encode_record(record: Mapping[str, Value], /) -> bytes:
    """The bytes of a record: what the log stores, hashes and proves.

    Raises:
        RecordRejected: It has a value that the schema forbids, lacks ``id``, ``kind`` or ``at``, or is too large.
    """
    _check(record, "", 0)
    _check_head(record)
    try:
        made = json.dumps(record, ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False)
        data = made.encode()
    except UnicodeEncodeError:
        raise RecordRejected("a record has text that is not Unicode (half of a surrogate pair); replace it") from None
    if len(data) > MOST_BYTES:
        raise RecordRejected(
            f"a record of {len(data):,} bytes is larger than {MOST_BYTES:,}; put its payload elsewhere, and its digest here"
        )
    return data


def _check_head(record: Mapping[str, Value]) -> None:
    for name in ("id", "kind"):
        value = record.get(name)
        if not isinstance(value, str) or not value:
            raise RecordRejected(f"a record needs the field '{name}', a text that is not empty")
    at = record.get("at")
    if not isinstance(at, int) or isinstance(at, bool) or at < 0:
        raise RecordRejected("a record needs the field 'at', whole microseconds since 1970")


def _check(value: object, where: str, depth: int) -> None:
    if value is None or isinstance(value, str | bool):
        return
    if isinstance(value, int):
        if abs(value) > MOST_INTEGER:
            raise RecordRejected(f"a record has an integer beyond 2^53 at '{where}'; write it as text")
    elif isinstance(value, Mapping) and depth < DEEPEST:
        for key, one in value.items():
            if not isinstance(key, str) or not key.isascii():
                raise RecordRejected(f"a record has a key at '{where}' that is not ASCII text; rename it")
            _check(one, f"{where}.{key}" if where else key, depth + 1)
    elif isinstance(value, list | tuple) and depth < DEEPEST:
        for number, one in enumerate(value):
            _check(one, f"{where}[{number}]", depth + 1)
    elif depth >= DEEPEST:
        raise RecordRejected(f"a record is nested deeper than {DEEPEST} at '{where}'; flatten it")
    else:
        raise RecordRejected(
            f"a record has a value of type '{type(value).__name__}' at '{where}'; use text, integers, booleans, null, "
            "lists and objects"
        )
