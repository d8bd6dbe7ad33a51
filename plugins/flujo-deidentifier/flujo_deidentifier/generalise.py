"""Generalise: less exact values, as the Safe Harbor rule of HIPAA has them."""

from __future__ import annotations

import re
from typing import Final

from flujo_deidentifier.dates import year_of

OLDEST: Final = 89
_RARE_ZIPS: Final = frozenset(
    {
        "036",
        "059",
        "063",
        "102",
        "203",
        "556",
        "692",
        "790",
        "821",
        "823",
        "830",
        "831",
        "878",
        "879",
        "884",
        "890",
        "893",
    }
)
"""Beginnings of ZIP codes in whose areas fewer than 20,000 people live."""
_ZIP = re.compile(r"(?<!\d)(\d{3})\d\d(?:-\d{4})?(?!\d)")


def generalised(label: str, text: str) -> str | None:
    """A less exact value; None where the label or the form of the text has none.

    A date becomes its year; an age over 89 "90+", other ages stay; a ZIP code its first three digits and "00", or
    "00000" in areas where few people live.

    Args:
        label: The label of the value.
        text: The value.
    """
    if label == "DATE":
        return year_of(text)
    if label == "AGE":
        return re.sub(r"\d+", lambda age: "90+" if int(age[0]) > OLDEST else age[0], text, count=1)
    if label == "ADDRESS" and _ZIP.fullmatch(text.strip()):
        return _ZIP.sub(lambda code: "00000" if code[1] in _RARE_ZIPS else f"{code[1]}00", text)
    return None
