"""Span: a place in a text that a detector has found; and what a detector is. Neither holds the text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol, runtime_checkable

LABELS: Final = (
    "ADDRESS", "AGE", "CREDIT_CARD", "DATE", "EMAIL", "IBAN", "ID", "IP", "LOCATION", "NRP", "ORGANIZATION", "PERSON",
    "PHONE", "SECRET", "SSN", "URL",
)  # fmt: skip
"""The labels of our own detectors; detectors of others may give further ones, which a profile treats by its default."""


class Span(NamedTuple):
    """What was found, and where; it never holds the text itself, so it may be logged.

    Attributes:
        start: Where it begins, an index into the text given.
        end: Where it ends, exclusive.
        label: What it is: one of ``LABELS``, or a word of a detector's own.
        score: How sure the detector is, from 0 to 1.
        detector: The name of the detector that found it.
        rule: The rule of that detector, such as ``"luhn"``; a fixed word that never quotes the text.
    """

    start: int
    end: int
    label: str
    score: float = 1.0
    detector: str = ""
    rule: str = ""


@runtime_checkable
class Detector(Protocol):
    """Finds spans in one text. It may be called from several threads at once."""

    @property
    def name(self) -> str:
        """Its name, as in ``Finder(detectors=[...])`` and in ``Span.detector``."""
        ...

    def detect(self, text: str, /) -> Iterable[Span]:
        """The spans of a text, in any order; they may overlap.

        Whatever it raises stops the run: an error is never taken for an empty answer.

        Args:
            text: Normalised text: see ``flujo_deidentifier.normal``. Indexes are into this text.
        """
        ...


@runtime_checkable
class LateDetector(Detector, Protocol):
    """A detector that is dear, and asked last: it may pass by what others have found."""

    def detect_rest(self, text: str, found: Sequence[Span], /) -> Iterable[Span]:
        """The spans of a text that others have not found; those that they have may be among them.

        Args:
            text: As for ``detect``.
            found: What the detectors before it have found.
        """
        ...
