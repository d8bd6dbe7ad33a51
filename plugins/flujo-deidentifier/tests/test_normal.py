"""What detectors look at, and the way back to the indexes of the text given."""

import pytest
from flujo_deidentifier.normal import normalised
from hypothesis import given
from hypothesis import strategies as st

ODD = st.text(
    st.sampled_from("ab1 -\n.@\u200b\u00ad\u2011\u2019\uff11\u0661\ufb01\u00bd\u0430\u0301\u00a0\ud83d\ufe0f"),
    max_size=40,
)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("J\u200bohn", "John"),
        ("Jo\u00adhn", "John"),
        ("555\u2011123\u20134567", "555-123-4567"),
        ("\uff11\uff12\uff13", "123"),
        ("\u0661\u0662", "12"),
        ("\ufb01nd", "find"),
        ("O\u2019Neil", "O'Neil"),
        ("P\u0430ul", "Paul"),
        ("Jose\u0301", "Jos\u00e9"),
        ("a\u00a0b", "a b"),
        ("John-\nson", "John-son"),
        ("caf\u00e9", "caf\u00e9"),
        ("\u041c\u043e\u0441\u043a\u0432\u0430", "\u041c\u043e\u0441\u043a\u0432\u0430"),
    ],
)
def test_what_hides_a_value_is_undone(text: str, plain: str) -> None:
    assert normalised(text).text == plain


@given(ODD)
def test_every_span_of_the_normal_text_has_its_place(text: str) -> None:
    normal = normalised(text)
    places = [normal.original(at, at + 1) for at in range(len(normal.text))]
    assert all(0 <= start < end <= len(text) for start, end in places)
    assert [start for start, _ in places] == sorted(start for start, _ in places)


def test_a_place_after_removed_characters_is_that_of_the_text_given() -> None:
    text = "\u200bcall \u200bAnn\u00ad Lee"
    normal = normalised(text)
    start, end = normal.original(normal.text.index("Ann"), normal.text.index("Ann") + 3)
    assert text[start:end] == "Ann"


def test_text_that_hides_nothing_is_not_copied() -> None:
    text = "plain text, 123-45-6789"
    assert normalised(text).text is text
