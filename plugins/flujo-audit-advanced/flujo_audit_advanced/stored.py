"""The records of a log as they are in its files, for who does not write it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from flujo_audit_advanced.checkpoint import parse_checkpoint
from flujo_audit_advanced.errors import AuditError
from flujo_audit_advanced.files import LogFiles, numbered
from flujo_audit_advanced.recovery import read_segments


def stored_records(path: Path, start: int) -> Iterator[tuple[int, bytes]]:
    """The records from a number on, sealed or not, with their numbers; nothing is verified.

    Args:
        path: The log's folder.
        start: The first number; if it is negative, so many from the end.

    Raises:
        AuditError: There is no log.
        LogDamaged: A bundle is missing.
    """
    files = LogFiles(path)
    data = files.checkpoint()
    sealed = parse_checkpoint(data)[0].size if data is not None else 0
    if data is None and not files.segments():
        raise AuditError(f"there is no audit log in '{path}'")
    first, tail = _tail(files, sealed)
    end = max(sealed, first + len(tail))
    begin = start if start >= 0 else max(0, end + start)
    yield from numbered(files, begin, sealed)
    for index in range(max(begin, sealed, first), first + len(tail)):
        yield index, tail[index - first]


def _tail(files: LogFiles, sealed: int) -> tuple[int, list[bytes]]:
    try:
        kept = read_segments(files)
    except FileNotFoundError:  # a writer has just removed a segment: all of it is sealed
        return sealed, []
    return kept.first, kept.records
