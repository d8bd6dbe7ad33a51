"""Capitalised words: by lists and by the words around them."""

import pytest
from flujo_deidentifier.clinical import harmless
from flujo_deidentifier.proper import NameListDetector

DETECTOR = NameListDetector()


def found(text: str) -> set[tuple[str, str]]:
    spans = [span for span in DETECTOR.detect(text) if span.score >= 0.5 and not harmless(text, span)]
    return {(text[span.start : span.end], span.label) for span in spans}


@pytest.mark.parametrize(
    ("text", "value", "label"),
    [
        ("seen by Dr. A. Novak today", "Dr. A. Novak", "PERSON"),
        ("a man, John Smith, was", "John Smith", "PERSON"),
        ("a woman, Maria L., was", "Maria L.", "PERSON"),
        ("Mr Christos Saveriades appealed", "Mr Christos Saveriades", "PERSON"),
        ("Peter van Houten wrote", "Peter van Houten", "PERSON"),
        ("Attending: Ball, MD. See", "Ball", "PERSON"),
        ("treated at St. Joseph's Hospital on", "St. Joseph's Hospital", "LOCATION"),
        ("seen at NYU Langone on", "NYU Langone", "LOCATION"),
        ("seen by Dr. John L. at Mt. Sinai on", "Mt. Sinai", "LOCATION"),
        ("visited our Dallas clinic on", "Dallas clinic", "LOCATION"),
        ("residing in Fairfield, CT, diagnosed", "Fairfield, CT", "LOCATION"),
        ("she lives in New York now", "New York", "LOCATION"),
        ("from Ford County to", "Ford County", "LOCATION"),
    ],
)
def test_a_name_is_found_with_its_label(text: str, value: str, label: str) -> None:
    assert (value, label) in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "Crohn's disease, Hodgkin lymphoma and a positive Chaddock reflex",
        "a Gleason score of 7",
        "the Framingham Heart Study",
        "What are the treatment options for this?",
        "On Monday the Court of First Instance",
        "use of the DASH diet",
        "The ADA guidelines",
        "I'd like to know if we'll meet",
        "A tertiary care center",
    ],
)
def test_eponyms_and_everyday_words_are_left(text: str) -> None:
    assert found(text) == set()


def test_a_text_in_one_case_is_read_by_lists_alone() -> None:
    assert ("john smith", "PERSON") in found("my name is john smith")
    assert ("JOHN SMITH", "PERSON") in found("PATIENT JOHN SMITH ADMITTED")
