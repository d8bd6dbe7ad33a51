"""The detector ``presidio``: Presidio's analyzer as one detector among others. Needs the extra ``presidio``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from threading import Lock
from typing import Final, Protocol

from flujo_deidentifier.errors import DetectorMissing
from flujo_deidentifier.span import Span

INSTALL: Final = "pip install 'flujo-deidentifier[presidio]'"
LABEL_OF: Final = {
    "CREDIT_CARD": "CREDIT_CARD", "CRYPTO": "ID", "DATE_TIME": "DATE", "EMAIL_ADDRESS": "EMAIL", "IBAN_CODE": "IBAN",
    "IP_ADDRESS": "IP", "LOCATION": "LOCATION", "MEDICAL_LICENSE": "ID", "NRP": "NRP", "ORGANIZATION": "ORGANIZATION",
    "PERSON": "PERSON", "PHONE_NUMBER": "PHONE", "UK_NHS": "ID", "URL": "URL", "US_BANK_NUMBER": "ID",
    "US_DRIVER_LICENSE": "ID", "US_ITIN": "SSN", "US_PASSPORT": "ID", "US_SSN": "SSN",
}  # fmt: skip
"""Presidio's entities, in our words; others become ``ID``."""


class Result(Protocol):
    """What is used of what Presidio finds."""

    entity_type: str
    start: int
    end: int
    score: float


class Analyzer(Protocol):
    """What is used of Presidio's analyzer engine."""

    def analyze(self, text: str, language: str) -> Sequence[Result]:
        """What is found in a text."""
        ...


class PresidioDetector:
    """What Presidio finds in English, with its own recognizers.

    Args:
        analyzer: An analyzer engine; None: one with Presidio's defaults, made when the first text is given.

    Raises:
        DetectorMissing: Presidio is not installed.
    """

    name = "presidio"

    def __init__(self, analyzer: Analyzer | None = None) -> None:
        if analyzer is None and find_spec("presidio_analyzer") is None:
            raise DetectorMissing(f"detector 'presidio' needs the package 'presidio_analyzer'; run \"{INSTALL}\"")
        self._given = analyzer
        self._lock = Lock()

    def detect(self, text: str, /) -> Iterator[Span]:
        """The spans that Presidio gives."""
        with self._lock:
            results = self._analyzer.analyze(text=text, language="en")
        for one in results:
            label = LABEL_OF.get(one.entity_type, "ID")
            yield Span(one.start, one.end, label, one.score, self.name, one.entity_type.lower())

    @cached_property
    def _analyzer(self) -> Analyzer:
        if self._given is not None:
            return self._given
        made: Analyzer = import_module("presidio_analyzer").AnalyzerEngine()
        return made
