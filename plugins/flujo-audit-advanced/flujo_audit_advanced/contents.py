"""What the records of a log say: whether each is a record, whether one stands twice, what their clocks and keys did."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from flujo_audit_advanced.errors import NotSigned, RecordRejected
from flujo_audit_advanced.files import LogFiles, numbered
from flujo_audit_advanced.keys import ROTATED, Rotation
from flujo_audit_advanced.record import parse_record
from flujo_audit_advanced.report import MOST_FINDINGS, Anchored, Finding, Report

SLACK_US: Final = 5_000_000
"""Microseconds by which a record may say an earlier time than one before it: many tasks' records come in any order."""


class Contents:
    """Looks at the records of a log, one after the other.

    Args:
        files: The log.
        report: What gets the findings; it has the log's origin.

    Attributes:
        rotations: The keys that followed one another.
    """

    def __init__(self, files: LogFiles, report: Report) -> None:
        self._files, self._report = files, report
        self.rotations: list[Rotation] = []
        self._ids: set[int] = set()
        self._latest = (0, 0)
        self._times: list[tuple[int, int]] = []

    def look(self, records: Sequence[bytes], first: int) -> None:
        """Looks at the next records, of which the first has that number."""
        for number, data in enumerate(records, first):
            try:
                record = parse_record(data)
            except RecordRejected as error:
                self._bad(number, str(error))
                continue
            name = hash(record["id"])
            if name in self._ids:
                self._replayed(number, record["id"])
            self._ids.add(name)
            self._time(number, record["at"])
            if record["kind"] == ROTATED:
                self._rotated(number, record)

    def ahead_of(self, anchored: Iterable[Anchored]) -> Iterator[str]:
        """For each who says when they had seen the log, the first record that says a later time."""
        for one in anchored:
            if one.at is not None:
                latest = (one.at + 1) * 1_000_000 + SLACK_US
                found = next((number for number, at in self._times if number < one.size and at > latest), None)
                if found is not None:
                    yield f"record {found} says a time after {one.by} had seen it: the clock of its writer was ahead"

    def _time(self, number: int, at: int) -> None:
        latest, since = self._latest
        if at < latest - SLACK_US:
            self._report.notices.append(
                f"record {number} says a time {(latest - at) / 1e6:.1f} s before that of record {since}: a clock was "
                "set back"
            )
        if at < latest - SLACK_US or at > latest:
            self._latest = at, number
            if not self._times or at > self._times[-1][1] + SLACK_US:
                self._times.append((number, at))

    def _replayed(self, number: int, name: str) -> None:
        """Says which record had the id before; it is searched for only then, so that not every id is kept."""
        for earlier, data in numbered(self._files, 0, number if len(self._report.findings) < MOST_FINDINGS else 0):
            if json.dumps(name, ensure_ascii=False).encode() in data and parse_record(data)["id"] == name:
                self._bad(number, f"it has the id of record {earlier}: an event was replayed")
                return

    def _rotated(self, number: int, record: Mapping[str, Any]) -> None:
        try:
            self.rotations.append(Rotation.of(number, record, self._report.origin))
        except NotSigned as error:
            self._bad(number, f"it says that the log has another key, and {error}")

    def _bad(self, number: int, what: str) -> None:
        self._report.findings.append(Finding(number, f"record {number}", what))
