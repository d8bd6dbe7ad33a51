"""Capitals: runs of capitalised words, with the small ones that join them."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

LONGEST: Final = 16
"""Words of a run at most; a longer one is looked at in parts."""
JOINING: Final = frozenset({"of", "in", "the", "and", "&"})
"""Small words that join other things than the parts of a person's name."""

PARTICLES: Final = (
    "van", "von", "de", "der", "den", "del", "della", "di", "da", "dos", "du", "la", "le", "al", "el", "bin", "ibn",
    "ben", "ter", "ten", "zu",
)  # fmt: skip
"""Small words within the names of people."""

_PARTICLE = rf"(?:{'|'.join(PARTICLES)}|of|the|y|e|in|and|&)"
_INITIAL = re.compile(r"(?:[A-Z]\.?){1,2}")
_SHORT: Final = 5


class Word(NamedTuple):
    """One word of a run.

    Attributes:
        text: The word.
        start: Where it begins in the text.
        end: Where it ends.
        key: The word as lists have it.
        small: Whether it is in lower case, and so only joins others.
    """

    text: str
    start: int
    end: int
    key: str
    small: bool


def _patterns(capital: str, letter: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """A run of capitalised words with what joins them, and one of its words."""
    ends = r"(?<=\bSt|\bMt|\bFt|\bDr|\bMr|\bMs|\bJr|\bSr)\.|(?<=\bMrs|\bMed|\bCtr)\.|(?<=\bProf|\bHosp)\."
    word = rf"{capital}(?<!\w.)(?:{letter}+|['\u2019-](?={letter}))*(?:(?<=\b[A-Z])\.(?:-?[A-Z]\.)*|{ends})?"
    run = re.compile(rf"{word}(?:[ \t]+(?:{_PARTICLE}[ \t]+){{0,3}}{word}){{0,{LONGEST - 1}}}")
    return run, re.compile(rf"{word}|[a-z&]+")


_ANY = _patterns(r"[^\W\d_a-zà-öø-ÿ]", r"[^\W\d_]")
_ASCII = _patterns("[A-Z]", "[A-Za-z]")


def patterns_for(text: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """The patterns of a run and of its words; those for ASCII are faster."""
    return _ASCII if text.isascii() else _ANY


def words_of(run: re.Match[str], word: re.Pattern[str]) -> list[Word]:
    """The words of a run."""
    text, start = run[0], run.start()
    if " " not in text and "\t" not in text:
        return [Word(text, start, start + len(text), _key(text), False)]
    return [_word(found, start) for found in word.finditer(text)]


def _word(match: re.Match[str], offset: int) -> Word:
    text = match[0]
    return Word(text, offset + match.start(), offset + match.end(), _key(text), text[0].islower())


def _key(text: str) -> str:
    key = text.lower()
    return key.removesuffix("'s").rstrip(".") if key[-1] in "s." else key


def spoken(words: list[Word]) -> str:
    """The words as lists have names of several words."""
    return " ".join(one.text.lower().removesuffix("'s") for one in words)


def is_initial(word: Word) -> bool:
    """Whether a word is one or two letters that stand for names."""
    return _INITIAL.fullmatch(word.text) is not None


def abbreviates(word: Word, words: list[Word]) -> bool:
    """Whether a word is an abbreviation rather than a name: a few capitals among words that are not all in capitals."""
    if len(word.text) >= _SHORT or not word.text.isupper():
        return False
    return not any(one.text.isupper() and len(one.text) >= _SHORT for one in words)
