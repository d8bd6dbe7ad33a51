"""Ordinary: words that are nobody's name, in no surroundings; a model need not be asked about them."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from flujo_deidentifier.clinical import is_clinical
from flujo_deidentifier.everyday import BODIES, CARE, never_names
from flujo_deidentifier.lexicon import entries, lowered

# Words that begin sentences or name offices, and that a few families are called, too.
_FUNCTION: Final = entries("function")


@lru_cache(maxsize=65536)
def ordinary(word: str) -> bool:
    """Whether a word, as it is written, says nothing of anybody."""
    if len(word) == 1 or (word.isdigit() and len(word) < 4):
        return True
    key = word.lower()
    if key in _FUNCTION or key in never_names() or key in BODIES or key in CARE or key in lowered("demonyms"):
        return True
    if word in entries("abbreviations"):
        return True
    return (word.islower() and word in entries("words")) or is_clinical(word)
