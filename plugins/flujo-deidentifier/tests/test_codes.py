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
        "72M with COPD, FEV1 38% predicted, on carbidopa-levodopa 25/100",
        "MMSE 18/30, MoCA 14/30, creatinine 1.9, CA 19-9 1,204, GCS 13 (E3 V4 M6)",
        "birth weight 3420 g, G3P2 at 28 weeks, pT2N0M0, BRAF V600E",
        "Dix-Hallpike positive, Epley maneuver, Kayser-Fleischer rings, Marfan habitus",
        "Zollinger-Ellison suspected; Salter-Harris II; Jackson-Pratt drain; Addison crisis",
        "on Humira, Keppra and warfarin; anti-Ro and anti-La negative; a nonsmoker",
        "pain 5/10, decreased to 3/10; strength 4/5; seen by 2/3 of staff",
    ],
)
def test_what_belongs_to_the_illness_is_kept(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("Foley was seen by Dr. Bell on Monday", ["Foley", "Dr. Bell"]),
        ("Kelly Murphy, MRN 99213", ["Kelly Murphy", "99213"]),
        ("Reservation for Williams, per Harris note", ["Williams", "Harris"]),
        ("Surname: KUNC", ["KUNC"]),
        ("Treated at Children's Hospital of Alabama", ["Children's Hospital of Alabama"]),
        ("A patient from Baraboo, Wisconsin", ["Baraboo"]),
        ("CPT Smith called 555-867-5309", ["Smith", "555-867-5309"]),
        ("She lives at 12 Oak Street, Anaheim, CA 92805", ["12 Oak Street, Anaheim, CA 92805"]),
    ],
)
def test_people_and_places_that_look_like_it_are_found(text: str, values: list[str]) -> None:
    covered = " ".join(found(text))
    assert all(value in covered for value in values)
