"""National numbers and telephone numbers, by the real libraries."""

from __future__ import annotations

import pytest
from flujo_deidentifier import Finder
from flujo_deidentifier.national import NationalNumberDetector
from flujo_deidentifier.telephone import TelephoneDetector

NUMBERS = NationalNumberDetector()
PHONES = TelephoneDetector()


@pytest.mark.parametrize(
    ("text", "number", "rule"),
    [
        ("Codice fiscale: RCCMNL83S18D969H.", "RCCMNL83S18D969H", "it.codicefiscale"),
        ("Her DNI is 54362315K, she says.", "54362315K", "es.dni"),
        ("NIR 2 95 10 99 126 111 93", "2 95 10 99 126 111 93", "fr.nir"),
        ("HETU 131052-308T", "131052-308T", "fi.hetu"),
        ("NHS number 943 476 5870 on file", "943 476 5870", "gb.nhs"),
        ("her BSN: 1112.22.333", "1112.22.333", "nl.bsn"),
        ("PESEL 44051401359", "44051401359", "pl.pesel"),
        ("CPF: 390.533.447-05", "390.533.447-05", "br.cpf"),
        ("Aadhaar 2341 2341 2346", "2341 2341 2346", "in.aadhaar"),
        ("IMEI 35686800-004141-20", "35686800-004141-20", "imei"),
    ],
)
def test_national_numbers_are_found_where_they_stand(text: str, number: str, rule: str) -> None:
    (span,) = NUMBERS.detect(text)
    assert text[span.start : span.end] == number and (span.label, span.rule) == ("ID", rule)


@pytest.mark.parametrize(
    "text",
    [
        "RCCMNL83S18D969I",  # its check letter is another
        "The count was 943 476 5870 cells.",  # it would pass as one, and nothing says that it is one
        "ICD-10 E11.9, CPT 99213-25, LOINC 2345-7, WBC 11.2, BP 120/80",
        "version 1.2.3.4567 build 20211104",
        "",
        "a" * 5000,
        "1 " * 3000,
    ],
)
def test_other_numbers_are_not(text: str) -> None:
    assert list(NUMBERS.detect(text)) == []


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Ring +44 20 7031 3000 now", "+44 20 7031 3000"),
        ("Ring +43 1 58858-0.", "+43 1 58858-0"),
        ("call (650) 253-0000 today", "(650) 253-0000"),
        ("call 650.253.0000 x123", "650.253.0000 x123"),
        ("Tel +91 22 2778 2778;", "+91 22 2778 2778"),
    ],
)
def test_telephone_numbers_of_the_world_are_found(text: str, number: str) -> None:
    (span,) = PHONES.detect(text)
    assert text[span.start : span.end] == number and span.label == "PHONE"


@pytest.mark.parametrize(
    "text",
    ["2021-11-04", "11/04/2021", "192.168.100.200", "536-22-8726", "1234567", "x" * 4000, "1" * 4000, "- " * 4000],
)
def test_dates_addresses_and_other_digits_are_no_telephone_numbers(text: str) -> None:
    assert list(PHONES.detect(text)) == []


def test_numbers_of_another_country_need_no_code_there() -> None:
    assert [span.label for span in TelephoneDetector("GB").detect("Ring 020 7031 3000.")] == ["PHONE"]
    assert list(PHONES.detect("Ring 020 7031 3000.")) == []


def test_they_are_detectors_by_name() -> None:
    finder = Finder("gdpr", detectors=["patterns", "stdnum", "phones"])
    text = "PESEL 44051401359, ring +44 20 7031 3000"
    assert [text[span.start : span.end] for span in finder.find(text)] == ["44051401359", "+44 20 7031 3000"]
