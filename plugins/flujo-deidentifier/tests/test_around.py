"""Initials, small words and nicknames beside a found name are found with it."""

import pytest
from flujo_deidentifier import Finder, Span
from flujo_deidentifier.around import whole

FINDER = Finder("gdpr", detectors=["patterns", "lists"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("It was signed by A. B. Kovacs today.", "A. B. Kovacs"),
        ("ATTENDING: J.R. Kovacs, MD", "J.R. Kovacs"),
        ("The judges, D. Jenkins among them", "D. Jenkins"),
        ("Present: J. van der Kovacs.", "J. van der Kovacs"),
        ("Signed by Kovacs S., registrar", "Kovacs S."),
        ("John K. Kovacs came", "John K. Kovacs"),
        ('Diego "Junior" Andrade came', 'Diego "Junior" Andrade'),
        ("CASE OF KOVACS v. POLAND", "KOVACS"),
    ],
)
def test_what_belongs_to_a_name_is_found_with_it(text: str, value: str) -> None:
    assert value in {text[span.start : span.end] for span in FINDER.find(text)}


@pytest.mark.parametrize(
    "text", ["Kovacs went. A. Then he slept.", "Kovacs in class B today", "he said Kovacs and Kovacs"]
)
def test_what_is_beside_a_name_and_no_part_of_it_is_left(text: str) -> None:
    assert "Kovacs" in {text[span.start : span.end] for span in FINDER.find(text)}


def test_only_names_grow_and_spans_stay_apart() -> None:
    text = "A. Bo C. Li, D. 5"
    spans = [Span(3, 5, "PERSON", 0.9), Span(9, 11, "PERSON", 0.8), Span(16, 17, "ID", 1.0)]
    assert [(text[one.start : one.end], one.label, one.score) for one in whole(text, spans)] == [
        ("A. Bo C. Li", "PERSON", 0.9),
        ("5", "ID", 1.0),
    ]
    assert whole("Bo B", [Span(0, 2, "PERSON"), Span(3, 4, "ID")]) == [Span(0, 4, "PERSON")]
