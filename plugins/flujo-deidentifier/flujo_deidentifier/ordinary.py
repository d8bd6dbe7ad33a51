"""Ordinary: words that are nobody's name, in no surroundings; a model need not be asked about them."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from flujo_deidentifier.clinical import is_clinical
from flujo_deidentifier.lexicon import entries, lowered
from flujo_deidentifier.proper import BODIES, CARE, never_names

# Words that begin sentences or name offices, and that a few families are called, too.
_FUNCTION: Final = frozenset(
    "the a an my he she it you we they i as so do will an his her its our your their this that these those what which who when where why how"
    " if in on at to of for from by with and or but not no yes all any some each every both many may must can could would should might"
    " be been being am is are was were has have had do does did just also then than there here now dear current human rule law state court"
    " number board chamber district federal service council head high house people president record republic session world day national"
    " northern southern western eastern assize supreme regional appeal police officer bill article section commission convention"
    " government party act code billing love cool grand oh ve ll re isn wasn doesn didn couldn wouldn shouldn aren weren hasn haven don".split()
)


@lru_cache(maxsize=65536)
def ordinary(word: str) -> bool:
    """Whether a word, as it is written, says nothing of anybody."""
    if len(word) == 1 or (word.isdigit() and len(word) < 4):
        return True
    key = word.lower()
    if key in _FUNCTION or key in never_names() or key in BODIES or key in CARE or key in lowered("demonyms"):
        return True
    return (word.islower() and word in entries("words")) or is_clinical(word)
