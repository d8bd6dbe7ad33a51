"""The finder: what counts, what it says of it, and that it never takes an error for an empty answer."""

import pickle
import time
import traceback
from collections.abc import Iterable, Iterator
from itertools import pairwise

import pytest
from flujo_deidentifier import (
    PROFILES,
    Action,
    DetectorFailed,
    DetectorMissing,
    DetectorTimeout,
    Finder,
    Profile,
    Span,
)
from flujo_deidentifier.rampart import RampartDetector
from hypothesis import given
from hypothesis import strategies as st

from flujo_core import ConfigurationError

PLAIN = ["patterns", "lists", "structure"]
NOTE = "Dr. Anna Novak saw the 45-year-old with Crohn's disease on May 3rd, 2021; MRN 12345678."


class Given:
    """A detector that gives what it was given."""

    def __init__(self, *spans: Span, name: str = "given") -> None:
        self.name = name
        self.spans = spans

    def detect(self, text: str, /) -> Iterable[Span]:
        return self.spans


class Broken:
    name = "broken"

    def detect(self, text: str, /) -> Iterator[Span]:
        yield Span(0, 1, "PERSON")
        raise ValueError(f"cannot read {text}")


class Hanging:
    name = "hanging"

    def detect(self, text: str, /) -> Iterable[Span]:
        time.sleep(5)
        return []


def values(finder: Finder, text: str) -> list[tuple[str, str]]:
    return [(text[span.start : span.end], span.label) for span in finder.find(text)]


def test_spans_are_in_order_and_do_not_overlap() -> None:
    assert values(Finder(detectors=PLAIN), NOTE) == [
        ("Dr. Anna Novak", "PERSON"),
        ("May 3rd, 2021", "DATE"),
        ("12345678", "ID"),
    ]


@given(st.text(max_size=60))
def test_any_text_has_spans_within_it(text: str) -> None:
    spans = Finder("gdpr", detectors=PLAIN).find(text)
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    assert all(one.end <= other.start for one, other in pairwise(spans))


def test_overlapping_spans_become_one_that_covers_all() -> None:
    finder = Finder("gdpr", detectors=[Given(Span(0, 4, "PERSON", 0.5), Span(2, 8, "LOCATION", 0.9))])
    assert [span[:4] for span in finder.find("abcdefghij")] == [(0, 8, "LOCATION", 0.9)]


def test_indexes_are_those_of_the_text_given() -> None:
    assert values(Finder(detectors=PLAIN), "ssn\u200b 123\u201145\u2011\u200b6789.") == [
        ("123\u201145\u2011\u200b6789", "SSN")
    ]


def test_years_and_ages_under_90_stay_under_safe_harbor_alone() -> None:
    text = "A 45-year-old, ill since 1998; her mother is a 93-year-old."
    assert values(Finder("hipaa-safe-harbor", detectors=PLAIN), text) == [("93-year-old", "AGE")]
    assert values(Finder("gdpr", detectors=PLAIN), text) == [("1998", "DATE")]


def test_the_profile_secrets_finds_keys_and_cards_and_no_names() -> None:
    text = "Ann Lee pays with 4111 1111 1111 1111, password: hunter22"
    assert values(Finder("secrets", detectors=PLAIN), text) == [
        ("4111 1111 1111 1111", "CREDIT_CARD"),
        ("hunter22", "SECRET"),
    ]


def test_a_name_that_was_found_is_found_again() -> None:
    text = "Anna Wren came late. Everybody knew that Wren was ill."
    assert values(Finder(detectors=PLAIN), text) == [("Anna Wren", "PERSON"), ("Wren", "PERSON")]


def test_allowed_terms_stay_and_denied_ones_never() -> None:
    profile = PROFILES["hipaa-safe-harbor"].with_terms(allow=["Anna Novak"], deny={"Project Falcon": "ORGANIZATION"})
    profile = profile.with_actions({"ORGANIZATION": Action.TOKEN})
    text = "Anna Novak leads project falcon, not falconry."
    assert values(Finder(profile, detectors=PLAIN), text) == [("project falcon", "ORGANIZATION")]


def test_every_find_is_explained_without_its_value() -> None:
    decisions = Finder(detectors=PLAIN).explain(NOTE)
    told = {(NOTE[one.span.start : one.span.end], one.action): one.reason for one in decisions}
    assert told["45-year-old", Action.KEEP] == "profile 'hipaa-safe-harbor' ignores rule 'age'"
    assert told["12345678", Action.TOKEN] == "rule 'id-words'"
    assert not any(value in repr(decisions) for value in ("Anna", "Novak", "12345678", "2021"))


@pytest.mark.parametrize(
    "detector", [Given(Span(0, 99, "PERSON")), Given(Span(3, 3, "PERSON")), Given(Span(-1, 2, "PERSON"))]
)
def test_a_span_that_cannot_be_is_an_error(detector: Given) -> None:
    with pytest.raises(DetectorFailed, match="'given'"):
        Finder(detectors=[detector]).find("short")


def test_a_detector_that_raises_is_an_error_that_quotes_nothing() -> None:
    with pytest.raises(DetectorFailed) as caught:
        Finder(detectors=["patterns", Broken()]).find(NOTE)
    assert "Novak" not in "".join(traceback.format_exception(caught.value))
    assert str(caught.value).startswith("detector 'broken' raised ValueError")


def test_a_detector_that_hangs_is_an_error() -> None:
    start = time.monotonic()
    with pytest.raises(DetectorTimeout, match="'hanging'"):
        Finder(detectors=[Hanging()], timeout=0.1).find("text")
    assert time.monotonic() - start < 3


def test_a_detector_that_there_is_not_is_told() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'patterns'"):
        Finder(detectors=["pattern"])
    with pytest.raises(ConfigurationError, match="no detector was given"):
        Finder(detectors=[])
    with pytest.raises(ConfigurationError, match="twice"):
        Finder(detectors=["patterns", "patterns"])


def test_a_detector_whose_model_is_missing_is_an_error(tmp_path) -> None:
    with pytest.raises(DetectorMissing, match="rampart"):
        RampartDetector(tmp_path)


def test_an_unknown_profile_is_told() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'hipaa-safe-harbor'"):
        Finder("hipaa-safe-harbour")


def test_labels_of_other_detectors_are_treated_by_the_default() -> None:
    assert [span.label for span in Finder("gdpr", detectors=[Given(Span(0, 2, "SHOE_SIZE"))]).find("44 is big")] == [
        "SHOE_SIZE"
    ]


def test_profiles_survive_pickling() -> None:
    profile = Profile("mine", {"PERSON": Action.BLOCK}, deny={"x": "ID"}, least=0.4)
    assert pickle.loads(pickle.dumps(profile)) == profile


@pytest.mark.parametrize("unit", ["A", "A ", "a.", "1 ", "1-", "Mr. ", "x dot ", "eyJ", '"a":', "(1)", "Ab de ", "%41"])
def test_the_time_for_a_text_grows_no_faster_than_the_text(unit: str) -> None:
    finder = Finder("gdpr", detectors=PLAIN)

    def seconds(length: int) -> float:
        text = unit * (length // len(unit))
        return min(_timed(finder, text) for _ in range(3))

    seconds(500)
    assert seconds(16_000) < 12 * seconds(4_000) + 0.05


def _timed(finder: Finder, text: str) -> float:
    start = time.process_time()
    finder.find(text)
    return time.process_time() - start
