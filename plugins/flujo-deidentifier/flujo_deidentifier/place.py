"""Place: which words of a run are a place: by lists, by the word for its kind, or after ``seen at``."""

from __future__ import annotations

import re
from typing import Final

from flujo_deidentifier.capitals import JOINING, Word, spoken
from flujo_deidentifier.everyday import BODIES, CARE, CARE_HEADS, GROUND, LEADING, TITLES, is_common
from flujo_deidentifier.lexicon import entries, lowered, place_starts, places, regions

_FIRM: Final = entries("firm-ground")
_BEFORE = re.compile(
    r"(?i:(?<![a-z])(?:at|in|from|near|to|of|visited|visiting|via|around|outside|our|the)\s+"
    r"(?:(?:the|our|downtown|central|northern|southern|eastern|western|nearby)\s+){0,2})$"
)
_SEEN: Final = entries("seen")
_CARED_WORD = re.compile(r"[A-Za-z]+(?:/u\b|'d\b)?")
_CARED_AT = re.compile(
    r"(?i:\b(?:[^.;!?\n]|(?<=\b[A-Z])\.|(?<=\b[DM]r|\bMs)\.){0,30}?\b(?:at|to|in|from|by|with|@)\s+(?:the\s+|our\s+)?)$"
)
_CARED_ENDS: Final = tuple(
    f" {word} " for word in ("at", "to", "in", "from", "@", "the", "our", "At", "To", "In", "From")
)
_AFTER = re.compile(
    r"(?:['\u2019]s)?(?:\s+(?i:(?:(?:medical|health|nursing|care|walk-in|urgent|family|dental|community)\s+)?"
    r"(?:clinic|hospital|office|center|centre|branch|area|campus|department|facility|practice|ward|er|cntr|ctr|home))"
    r"(?!\w))?(?:,\s(?:A[LKZR]|C[AOT]|D[CE]|FL|GA|HI|I[DLNA]|K[SY]|LA|M[EDAINSOT]|N[EVHJMYCD]|O[HKR]|PA|RI|S[CD]|T[NX]"
    r"|UT|V[TA]|W[AVIY])(?!\w)(?:\s\d{5}(?:-\d{4})?(?!\w))?)?"
)
_REGION = re.compile(r",\s([A-Z][a-z]{3,}(?:\s[A-Z][a-z]{3,})?)(?!\w)")
_GOING_ON: Final = ("'", "\u2019", " ", ",", "\n")
_MOST: Final = 5


def place_end(text: str, end: int) -> int:
    """Where a place really ends: with the word for its kind, and its state."""
    more = _AFTER.match(text, end) if text[end : end + 1] in _GOING_ON else None
    return more.end() if more else end


def listed(words: list[Word], at: int) -> int:
    """How many words from ``at`` on are a place of the lists; 0: none."""
    if words[at].small:
        return 0
    if words[at].key in place_starts() and at + 1 < len(words):
        for size in (4, 3, 2):
            if at + size <= len(words) and spoken(words[at : at + size]) in places():
                return size
    return int(words[at].key in places())


def in_state(text: str, word: Word) -> bool:
    """Whether a state or a country follows an unusual word: ``Baraboo, Wisconsin``."""
    if text[word.end : word.end + 1] != "," or word.small or is_common(word.key):
        return False
    region = _REGION.match(text, word.end)
    return region is not None and region[1].lower() in regions()


def is_meant(text: str, at: int) -> bool:
    """Whether the words before say that an everyday word is a place: ``in Reading``."""
    return _BEFORE.search(text[max(0, at - 24) : at]) is not None


def facility(words: list[Word]) -> list[Word]:
    """A facility's words, from the first that is its name to the last that says what it is; empty: it has no name."""
    last = max(at for at, word in enumerate(words) if word.key in CARE_HEADS)
    if last + 2 < len(words) and words[last + 1].text == "of":
        last = last + 2  # Children's Hospital of Alabama
    start = 0
    while start < last and (words[start].key in LEADING or words[start].small):
        start += 1
    return words[start : last + 1] if start < last else []


def ground(words: list[Word]) -> int:
    """How many words, from the first, are a name and the word for a kind of place: ``Ford County``; 0: none."""
    keys = [word.key for word in words]
    for at, key in enumerate(keys[:_MOST]):
        if words[at].text in JOINING and words[at].text != "of":
            return 0
        if at and key in GROUND and not words[at].small and keys[0] not in LEADING:
            body = at + 1 < len(keys) and keys[at + 1] in BODIES | CARE
            named = key in _FIRM or not all(map(is_common, keys[:at]))
            return at + 1 if named and not body else 0
    return 0


def _is_cared(before: str) -> bool:
    """Whether somebody was seen there; each word is looked up first, because to match at every place is slow."""
    return any(
        word[0].lower() in _SEEN and _CARED_AT.match(before, word.end()) is not None
        for word in _CARED_WORD.finditer(before)
    )


def cared(words: list[Word], before: str) -> list[Word]:
    """The words after ``seen at`` that are the name of a place; empty: none are.

    Args:
        words: A run.
        before: What stands before it.
    """
    if not before.endswith(_CARED_ENDS) or not _is_cared(before):
        return []
    stop = next((at for at, word in enumerate(words) if word.key in TITLES or word.text == "and"), len(words))
    while stop and words[stop - 1].small:
        stop -= 1
    taken = words[:stop]
    known = lowered("eponyms")
    return [] if all(is_common(word.key) for word in taken) or all(word.key in known for word in words) else taken
