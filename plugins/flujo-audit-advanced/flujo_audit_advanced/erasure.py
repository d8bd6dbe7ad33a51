"""Erasure: the payloads of a run or of somebody are destroyed, and the log says so; what it proves stays."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from flujo_audit_advanced.errors import AuditError, PayloadErased
from flujo_audit_advanced.log import AuditLog
from flujo_audit_advanced.payloads import Payloads
from flujo_audit_advanced.record import encode_record, fresh_head, parse_record
from flujo_audit_advanced.stored import stored_records
from flujo_core import subject_digest

ERASING: Final = "payload.erasing"
ERASED: Final = "payload.erased"

Fate: TypeAlias = Literal["kept", "erased", "missing", "altered"]
"""What became of a payload: it is there; it was erased, and the log says so; it is gone, and the log does not say so;
it is there and is not what is on record."""


class Standing(NamedTuple):
    """A payload that is on record, and what became of it.

    Attributes:
        number: The number of the record.
        name: What the payload is of: ``input``.
        fate: What became of it.
        data: Its bytes, if it is there.
    """

    number: int
    name: str
    fate: Fate
    data: bytes | None = None


async def erase(log: AuditLog, payloads: Payloads, *, run: str | None = None, subject: str | None = None) -> int:
    """Erases all payloads of a run that is about nobody, or of all runs about somebody.

    The log says so before and after, so that payloads which are gone are never gone without a word.

    Args:
        log: The log, open for writing.
        payloads: Its payloads.
        run: The run's id.
        subject: Whom runs are about, as ``run_async(subject=...)`` said.

    Returns:
        How many groups of payloads there were.

    Raises:
        AuditError: They cannot be erased, or the log cannot be written.
    """
    wanted = [] if run is None else [payloads.group(run=run)]
    wanted += [] if subject is None else [payloads.group(subject=subject_digest(subject))]
    groups = [group for group in wanted if payloads.has(group)]
    for group in groups:
        await log.append(encode_record({**fresh_head(ERASING), "group": group}))
        await asyncio.to_thread(payloads.erase, group)
        await log.append(encode_record({**fresh_head(ERASED), "group": group}))
    return len(groups)


def standings(log: Path, payloads: Payloads) -> Iterator[Standing]:
    """Every payload that is on record, and what became of it.

    Raises:
        AuditError: There is no log.
    """
    found = [(number, parse_record(data)) for number, data in stored_records(log, 0) if _may_have(data)]
    erased = {record["group"] for _, record in found if record["kind"] in (ERASING, ERASED)}
    for number, record in found:
        for name, value in record.items():
            if isinstance(value, dict) and isinstance(value.get("payload"), dict):
                yield _standing(number, name, value["payload"], payloads, erased)


def counted(found: Iterable[Standing]) -> dict[str, int]:
    """How many payloads have which fate."""
    return dict(Counter(one.fate for one in found))


def _may_have(data: bytes) -> bool:
    return b'"payload' in data


def _standing(number: int, name: str, told: dict[str, Any], payloads: Payloads, erased: set[str]) -> Standing:
    try:
        return Standing(number, name, "kept", payloads.read(told))
    except PayloadErased:
        return Standing(number, name, "erased" if told["group"] in erased else "missing")
    except AuditError:
        return Standing(number, name, "altered")
