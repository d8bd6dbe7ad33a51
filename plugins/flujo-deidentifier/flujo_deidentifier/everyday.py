"""Everyday: words of the language, and which of them no family is called by."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from flujo_deidentifier.lexicon import entries, place_starts, places

TITLES: Final = entries("titles")
"""What stands before the names of people: ``dr``."""
CARE: Final = entries("care")
"""Words in the names of places of care."""
CARE_HEADS: Final = entries("care-heads")
"""Those of them that say what the place is: ``hospital``."""
BODIES: Final = entries("bodies")
"""Words in the names of companies and offices."""
GROUND: Final = entries("ground")
"""Words for kinds of places: ``county``."""
LEADING: Final = entries("leading")
"""Words that begin sentences, and names of nothing."""
_CALENDAR: Final = entries("calendar-and-web")
_PART: Final = 3


def is_common(key: str) -> bool:
    """Whether a word is an everyday one, or made of such: ``we'll``, ``well-known``."""
    if key in entries("words") or key in _CALENDAR:
        return True
    return ("'" in key or "-" in key) and all(is_common(part) or len(part) < _PART for part in re.split("['-]", key))


@cache
def never_names() -> frozenset[str]:
    """The everyday words that are no part of a name, in no surroundings."""
    names = (entries("given-names") | entries("surnames")) - LEADING
    places_too = places() | place_starts() | CARE_HEADS | GROUND
    return (entries("words") | _CALENDAR | LEADING) - names - places_too - TITLES


@cache
def never_alone() -> frozenset[str]:
    """The everyday words that are never a name where no other capitalised word stands beside them."""
    return (entries("words") | _CALENDAR) - entries("surnames") - places()
