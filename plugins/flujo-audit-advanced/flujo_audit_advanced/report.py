"""What a verification found, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

MOST_FINDINGS: Final = 50
"""Findings that a report has at most."""


class Finding(NamedTuple):
    """Something that is not as it was written.

    Attributes:
        number: The first record that it concerns; by it findings are sorted.
        place: Where it is: a record's number or a file.
        what: What is wrong there.
    """

    number: int
    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


class Anchored(NamedTuple):
    """Somebody else has seen the log.

    Attributes:
        size: How many records.
        by: Who: ``witness NAME``, ``stamp NAME``, ``copy PATH``, ``seen NAME``.
        at: When, in seconds since 1970, by their clock; None if they did not say.
    """

    size: int
    by: str
    at: int | None

    def __str__(self) -> str:
        when = f" at {datetime.fromtimestamp(self.at, UTC):%Y-%m-%d %H:%M:%S}Z" if self.at is not None else ""
        return f"{self.by}{when}"


@dataclass
class Report:
    """What a verification found.

    Attributes:
        origin: The log's name.
        size: How many records the newest checkpoint is of.
        root: Its root, in hex.
        key: The id of the key that signed it, in hex; None if no key was given.
        unsealed: How many records there are beyond it.
        findings: What is not as it was written, the first place first; none: the log is intact.
        notices: What should be looked at, and changes no record.
        anchored: Who has seen how much, the most first.
    """

    origin: str = ""
    size: int = 0
    root: str = ""
    key: str | None = None
    unsealed: int = 0
    findings: list[Finding] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    anchored: list[Anchored] = field(default_factory=list)

    @property
    def intact(self) -> bool:
        """Whether everything is as it was written."""
        return not self.findings

    @property
    def unanchored(self) -> int:
        """How many sealed records nobody else is known to have seen."""
        return self.size - max((one.size for one in self.anchored), default=0)

    def lines(self) -> list[str]:
        """The report as text."""
        signed = f", signed by key {self.key}" if self.key else "; no signature was checked"
        found = [f"{self.origin or 'no checkpoint'}: {self.size} records{signed}"]
        found += [f"BAD {one}" for one in self.findings]
        found += [f"note: {one}" for one in self.notices]
        found += [f"anchored up to record {one.size - 1}: {one}" for one in self.anchored if one.size]
        if self.unsealed:
            found.append(f"unsealed: {self.unsealed} records are beyond the checkpoint; only the disk protects them")
        return [*found, self._verdict()]

    def _verdict(self) -> str:
        if self.findings:
            return f"CHANGED OR DAMAGED: first at {self.findings[0].place}"
        if self.key is None:
            return "the files agree with each other; whether they are what was signed, 'flujo audit verify' says"
        if not self.anchored:
            return "intact, and UNANCHORED: who has the log's key could have rewritten all of it"
        best = self.anchored[0]
        rest = f"; {self.unanchored} records since are unanchored" if self.unanchored else ""
        return f"intact: untampered since the checkpoint of {best.size} records, kept by {best}{rest}"

    def as_json(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "origin": self.origin,
            "size": self.size,
            "root": self.root,
            "key": self.key,
            "intact": self.intact,
            "unsealed": self.unsealed,
            "unanchored": self.unanchored,
            "findings": [one._asdict() for one in self.findings],
            "notices": self.notices,
            "anchored": [one._asdict() for one in self.anchored],
        }
