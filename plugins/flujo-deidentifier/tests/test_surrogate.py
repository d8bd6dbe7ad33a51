"""Surrogates, dates that move, values made less exact: the form stays, the value goes."""

from datetime import date

import pytest
from flujo_deidentifier import Action, Span, ValueBlocked
from flujo_deidentifier.checksum import digits_of, is_address, is_card, is_iban, is_npi, is_ssn, is_vin
from flujo_deidentifier.dates import SPAN, days_of, shifted, year_of
from flujo_deidentifier.generalise import generalised
from flujo_deidentifier.replacement import replacement
from flujo_deidentifier.surrogate import surrogate
from hypothesis import given
from hypothesis import strategies as st

KEY = b"k" * 32
VALUES = [
    ("PERSON", "Dr. John Smith"),
    ("PERSON", "James T."),
    ("EMAIL", "a@b.com"),
    ("PHONE", "(310) 555-1234"),
    ("SSN", "123-45-6789"),
    ("CREDIT_CARD", "4111 1111 1111 1111"),
    ("IBAN", "GB82 WEST 1234 5698 7654 32"),
    ("IP", "10.1.2.3"),
    ("IP", "2001:db8::1"),
    ("URL", "https://x.org/a"),
    ("ID", "MRN-12345a"),
    ("ID", "1HGCM82633A004352"),
    ("ID", "1234567893"),
    ("ADDRESS", "12 Main St"),
    ("ADDRESS", "90210"),
    ("LOCATION", "Paris"),
    ("ORGANIZATION", "ACME Inc"),
    ("NRP", "Turkish"),
    ("AGE", "93-year-old"),
    ("DATE", "June 5th, 2020"),
    ("SECRET", "hunter2"),
    ("SHOE_SIZE", "44"),
]


@pytest.mark.parametrize(("label", "text"), VALUES)
def test_a_surrogate_is_another_value_and_always_the_same(label: str, text: str) -> None:
    made = surrogate(label, text, KEY)
    assert made != text and made == surrogate(label, text, KEY)
    if label != "DATE":
        assert len({surrogate(label, text, KEY, attempt=number) for number in range(8)}) > 1


def test_another_key_gives_other_surrogates() -> None:
    made = [surrogate(label, text, KEY) for label, text in VALUES]
    assert sum(one == surrogate(*value, b"j" * 32) for one, value in zip(made, VALUES, strict=True)) < 3


@given(st.binary(min_size=16, max_size=32))
def test_checksums_of_surrogates_are_right(key: bytes) -> None:
    assert is_card(digits_of(surrogate("CREDIT_CARD", "4111-1111-1111-1111", key)))
    assert is_iban(surrogate("IBAN", "GB82WEST12345698765432", key))
    assert is_vin(surrogate("ID", "1HGCM82633A004352", key))
    assert is_npi(surrogate("ID", "1234567893", key))
    assert is_ssn(digits_of(surrogate("SSN", "123-45-6789", key)))
    assert is_address(surrogate("IP", "10.1.2.3", key)) and is_address(surrogate("IP", "2001:db8::1", key))


def test_a_surname_alone_has_the_surrogate_of_the_whole_name() -> None:
    whole = surrogate("PERSON", "Dr. John Smith", KEY)
    assert whole.startswith("Dr. ") and whole.split()[-1] == surrogate("PERSON", "Smith", KEY)


def test_the_form_of_a_number_stays() -> None:
    made = surrogate("PHONE", "(310) 555-1234", KEY)
    assert [one if not one.isdigit() else "0" for one in made] == [
        one if not one.isdigit() else "0" for one in "(310) 555-1234"
    ]


@pytest.mark.parametrize(
    ("text", "moved"),
    [
        ("2020-01-31", "2020-03-11"),
        ("1/2/2020", "2/11/2020"),
        ("31.12.1999", "09.02.2000"),
        ("Jan 5, 2021", "Feb 14, 2021"),
        ("5th of March 2020", "14th of April 2020"),
        ("Tuesday, April 07, 2020", "Sunday, May 17, 2020"),
        ("12 Oct 1998", "21 Nov 1998"),
        ("2020-01-31T10:00:00Z", "2020-03-11T10:00:00Z"),
        ("12/25/74", "02/03/75"),
    ],
)
def test_a_date_moves_and_keeps_its_form(text: str, moved: str) -> None:
    assert shifted(text, 40) == moved


@pytest.mark.parametrize(
    "text", ["02/10", "June 1961", "last month", "2020-13-45", "31.02.2020", "99/99/9999", "12 Blob 2020"]
)
def test_what_is_no_whole_date_does_not_move(text: str) -> None:
    assert shifted(text, 40) is None


@given(st.dates(min_value=date(1970, 1, 1), max_value=date(2060, 1, 1)), st.text(max_size=8))
def test_the_days_between_the_dates_of_a_subject_stay(day: date, subject: str) -> None:
    days = days_of(KEY, subject)
    assert 1 <= abs(days) <= SPAN and days == days_of(KEY, subject)
    moved = shifted(day.isoformat(), days)
    assert moved is not None and (date.fromisoformat(moved) - day).days == days


def test_values_become_less_exact() -> None:
    assert generalised("AGE", "93-year-old") == "90+-year-old" and generalised("AGE", "45 yo") == "45 yo"
    assert generalised("ADDRESS", "90210") == "90200" and generalised("ADDRESS", "10234-1234") == "00000"
    assert generalised("DATE", "May 3rd, 2021") == "2021" and generalised("DATE", "02/10") is None
    assert year_of("June 1961") == "1961" and generalised("LOCATION", "Paris") is None


def test_an_action_gives_what_takes_the_place_of_a_span() -> None:
    text = "seen 2020-01-31 by Ann"
    day, name = Span(5, 15, "DATE"), Span(19, 22, "PERSON")
    assert replacement(name, text, Action.KEEP, KEY) == "Ann"
    assert replacement(name, text, Action.TOKEN, KEY) is None
    assert replacement(name, text, Action.SHIFT, KEY) is None
    assert replacement(name, text, Action.SURROGATE, KEY) == surrogate("PERSON", "Ann", KEY)
    assert replacement(day, text, Action.SHIFT, KEY, "s-1") == shifted("2020-01-31", days_of(KEY, "s-1"))
    assert replacement(day, text, Action.GENERALISE, KEY) == "2020"
    with pytest.raises(ValueBlocked, match="PERSON from 19 to 22") as caught:
        replacement(name, text, Action.BLOCK, KEY)
    assert "Ann" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["1HGCM826-3A004352", "1hgcm82633a004352", "1HGCM826_3A00435-", "é" * 17, "I" * 17, "1HGCM82633A00435"]
)
def test_what_only_looks_like_a_vehicle_number_is_none(text: str) -> None:
    assert not is_vin(text)


ALIKE = st.text("0123456789IOQabcXYZé²٣-_ ", max_size=40)


@given(st.one_of(ALIKE, ALIKE.map(lambda text: "1e" + text[:8].ljust(8, "0")), ALIKE.map(lambda text: "GB" + text)))
def test_no_check_raises_whatever_it_is_asked(text: str) -> None:
    for check in (is_address, is_card, is_iban, is_npi, is_ssn, is_vin):
        assert check(text) in (True, False)
