"""The detector ``lists``: names of people and places, by lists and by the words around them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import Final

from flujo_deidentifier.capitals import JOINING, Word, abbreviates, is_initial, patterns_for, spoken, words_of
from flujo_deidentifier.everyday import (
    BODIES,
    CARE,
    CARE_HEADS,
    GROUND,
    LEADING,
    TITLES,
    is_common,
    never_alone,
    never_names,
)
from flujo_deidentifier.lexicon import entries, lowered, nations, regions
from flujo_deidentifier.place import cared, facility, ground, in_state, is_meant, listed, place_end
from flujo_deidentifier.span import Span

NAME: Final = "lists"
_NAMED_BEFORE = re.compile(
    r"(?i:(?<![a-z])(?:named|called|names?(?:\s+(?:is|was)|\s*:|)|surname|i'm|mother|father|mom|dad|son|daughter|wife"
    r"|husband|brother|sister|kid|driver|surgeon|attending:?|pcp:?|provider:?|physician:?|referring:?|nurse:?"
    r"|therapist:?|spoke with|records of|summary for|claim for|report for|results for|chart of|chart for|brought"
    r"|attn\.?:?|per|d/w|discussed with|paged|reservation for"
    r"|dear|regards,?|sincerely,?|member:?|partner's name|mr\.?|mrs\.?|ms\.?|dr\.?|prof\.?)\s+[\"'(]?)$"
)
_NAMED_ENDS: Final = entries("before-names")
_TITLE_AFTER = re.compile(r",?\s+(?:M\.?D|D\.?O|R\.?N|N\.?P|PA-C|Ph\.?D|DDS|DMD|LPN|CRNA|Esq|Jr|Sr)\b")
_TITLE_COMES: Final = (",", " ", "\n")
_FIRST_AFTER = re.compile(r",\s+([^\W\d_]+)(?:\s+[A-Z]\.)?(?!\w)")
_BY_LOOK: Final = frozenset({"unlisted", "care-words", "ground"})
_NO_SURNAMES: Final = CARE | GROUND | BODIES
_ENDING: Final = CARE | BODIES | LEADING
_MOST: Final = 7
_BEFORE: Final = 60


class NameListDetector:
    """Names of people and places: capitalised words, by lists and by the words around them."""

    name = NAME

    def detect(self, text: str, /) -> Iterator[Span]:
        """The spans of a text; in one that is all in one case, the look of a word says nothing."""
        even = text.islower() or text.isupper()
        cased = text.title() if even else text
        if len(cased) != len(text):
            return
        plain, alone = never_names(), never_alone()
        run, word = patterns_for(cased)
        for match in run.finditer(cased):
            lower = match[0].lower()
            if lower in alone or plain.issuperset(lower.split()):
                continue
            start = match.start()
            words = words_of(match, word)
            for span in judged(words, cased[start - _BEFORE if start > _BEFORE else 0 : start], cased):
                if not even or span.rule not in _BY_LOOK:
                    yield span


def judged(words: list[Word], before: str, text: str) -> Iterator[Span]:
    """What a run of words holds.

    Args:
        words: The run.
        before: What stands before it.
        text: The text.
    """
    if words and words[0].small:
        words = words[next((at for at, word in enumerate(words) if not word.small), len(words)) :]
    if not words:
        return
    if len(words) > 1 and (spans := _together(words, before, text)) is not None:
        yield from spans
    elif taken := cared(words, before):
        yield _location(taken, 0.65, "region" if spoken(taken) in regions() else "care-words", text)
        yield from judged(words[len(taken) :], "", text)
    else:
        yield from _listed(words, text)


def _together(words: list[Word], before: str, text: str) -> Iterator[Span] | None:
    """What a run holds in which one word says what others are: a title, or the word for a kind of place."""
    keys = [word.key for word in words]
    cares = not CARE_HEADS.isdisjoint(keys)
    title = -1 if cares or TITLES.isdisjoint(keys) else next(at for at, key in enumerate(keys) if key in TITLES)
    if -1 < title < len(words) - 1:
        return chain(_titled(words[title:], text), judged(words[:title], before, text))
    if cares and (head := facility(words)):
        return iter((_location(head, 0.8, "facility", text),))
    if not GROUND.isdisjoint(keys) and (count := ground(words)) > 1:
        return chain((_location(words[:count], 0.7, "ground", text),), judged(words[count:], "", text))
    return None


def _location(words: list[Word], score: float, rule: str, text: str) -> Span:
    return Span(words[0].start, place_end(text, words[-1].end), "LOCATION", score, NAME, rule)


def _person(first: Word, last: Word, score: float, rule: str, text: str) -> Span:
    """A person; a given name may stand after the surname and a comma."""
    given = _FIRST_AFTER.match(text, last.end) if text[last.end : last.end + 1] == "," else None
    end = given.end() if given and _is_given(given[1]) else last.end
    return Span(first.start, end, "PERSON", score, NAME, rule)


def _titled(words: list[Word], text: str) -> Iterator[Span]:
    """A title and the name after it, and what the rest of the run holds."""
    stop = 1
    while stop < min(len(words), _MOST) and words[stop].text not in JOINING and not _ends_name(words[stop]):
        stop += 1
    while stop > 1 and words[stop - 1].small:
        stop -= 1
    if stop > 1:
        yield _person(words[0], words[stop - 1], 0.95, "title", text)
    yield from judged(words[stop:], "", text)


def _listed(words: list[Word], text: str) -> Iterator[Span]:
    """What the lists have of a run, from left to right."""
    at = 0
    while at < len(words):
        word = words[at]
        last = _whole_name(words, at)
        place = listed(words, at) if last is None else 0
        if place:
            if place > 1 or not is_common(word.key) or word.key in nations() or is_meant(text, word.start):
                taken = words[at : at + place]
                yield _location(taken, 0.7, "region" if spoken(taken) in regions() else "place", text)
            at += place
        elif last is None and in_state(text, word):
            yield _location([word], 0.7, "place", text)
            at += 1
        elif last is not None:
            yield _person(word, words[last], 0.6 if is_common(word.key) else 0.85, "given-and-surname", text)
            at = last + 1
        else:
            found = _alone(word, words, text)
            if found is not None:
                yield _person(word, word, *found, text)
            at += 1


def _whole_name(words: list[Word], at: int) -> int | None:
    """Where a name ends that begins with a given name or initials and goes on with a surname, or with an initial."""
    word = words[at]
    if word.text[-1] == "." and is_initial(word):
        last = next((after for after in range(at + 1, len(words)) if not is_initial(words[after])), at)
        known = last > at and words[last].key in entries("surnames") and words[last].key not in LEADING
        return last if known else None
    if word.small or word.key in LEADING or word.key not in entries("given-names"):
        return None
    last = at + 1
    while last + 1 < len(words) and words[last].small and words[last].text not in JOINING:
        last += 1
    if last == len(words) or not (is_initial(words[last]) or _is_surname(words[last])):
        return None
    while (
        last + 1 < len(words) and (is_initial(words[last]) or words[last].small) and words[last + 1].text not in JOINING
    ):
        last += 1
    return last


def _alone(word: Word, words: list[Word], text: str) -> tuple[float, str] | None:
    """The score and the rule of a word that stands for somebody by itself."""
    key = word.key
    unknown = not (word.small or is_common(key) or len(key) == 1 or abbreviates(word, words))
    if not unknown and key not in entries("surnames"):
        return None
    known_otherwise = key in lowered("eponyms")
    if unknown and key in entries("given-names") and not known_otherwise:
        return 0.55, "given-name"
    if key in entries("surnames"):
        if text[word.end : word.end + 1] in _TITLE_COMES and _TITLE_AFTER.match(text, word.end):
            return 0.8, "name-words"
        if _is_announced(text, word.start):
            return 0.7, "name-words"
    if not unknown or key in lowered("demonyms"):
        return None
    return (0.45, "surname") if key in entries("surnames") and not known_otherwise else (0.35, "unlisted")


def _is_announced(text: str, at: int) -> bool:
    """Whether the words before a place say that a name is there."""
    before = text[at - 24 if at > 24 else 0 : at]
    last = before.rsplit(None, 1)[-1:]
    return bool(last) and last[0].strip(".,:;\"'()").lower() in _NAMED_ENDS and bool(_NAMED_BEFORE.search(before))


def _is_given(word: str) -> bool:
    return word[0].isupper() and word.lower() in entries("given-names") and not is_common(word.lower())


def _is_surname(word: Word) -> bool:
    known = word.key in entries("surnames") or not is_common(word.key)
    return known and word.text[:1].isupper() and word.key not in _NO_SURNAMES


def _ends_name(word: Word) -> bool:
    return not is_initial(word) and word.key in _ENDING
