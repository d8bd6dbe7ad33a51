"""Clinical codes, values of a laboratory, devices and eponyms are kept; names and addresses that look so are found."""

from __future__ import annotations

import pytest
from flujo_deidentifier import Finder

FINDER = Finder("hipaa-safe-harbor")


def found(text: str) -> list[str]:
    return [text[span.start : span.end] for span in FINDER.find(text)]


@pytest.mark.parametrize(
    "text",
    [
        "ICD-10 E11.9, CPT 99213, LOINC 2345-7, RxNorm 197361",
        "SNOMED CT 73211009 and ICD-10-CM code I10 were coded.",
        "WBC 11.2, Hgb 13.4, Na 138, BP 120/80, HR 72",
        "K 4.1, Cl 101, BUN 14, Cr 0.9, Glucose 105, Temp 37.2",
        "HbA1c 7.1, LDL: 99, SpO2 97",
        "Foley catheter placed.",
        "Foley in situ, Kocher incision, Mallory-Weiss tear",
        "Apgar 9/10, Glasgow coma scale 15",
        "Bell's palsy; Graves disease; Parkinson's disease",
        "for 3 weeks, 2 tablets twice daily, a 72-year-old man",
    ],
)
def test_what_belongs_to_the_illness_is_kept(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("Foley was seen by Dr. Bell on Monday", ["Foley", "Dr. Bell"]),
        ("Kelly Murphy, MRN 99213", ["Kelly Murphy", "99213"]),
        ("CPT Smith called 555-867-5309", ["Smith", "555-867-5309"]),
        ("She lives at 12 Oak Street, Anaheim, CA 92805", ["12 Oak Street, Anaheim, CA 92805"]),
    ],
)
def test_people_and_places_that_look_like_it_are_found(text: str, values: list[str]) -> None:
    covered = " ".join(found(text))
    assert all(value in covered for value in values)
