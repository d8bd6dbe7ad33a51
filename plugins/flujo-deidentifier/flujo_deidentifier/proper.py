"""Proper names: what a run of capitalised words is, by lists and by the words around it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Final, NamedTuple

from flujo_deidentifier.lexicon import entries, lowered, place_starts, places, regions
from flujo_deidentifier.span import Span

_PARTICLE = r"(?:van|von|de|der|den|del|della|di|da|dos|du|la|le|al|el|bin|ibn|ben|ter|ten|zu|of|the|y|e|in|and|&)"


LONGEST: Final = 16
"""Words of a run at most; a longer one is looked at in parts."""


def _patterns(capital: str, letter: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """A run of capitalised words with what joins them, and one of its words."""
    ends = r"(?<=\bSt|\bMt|\bFt|\bDr|\bMr|\bMs|\bJr|\bSr)\.|(?<=\bMrs|\bMed|\bCtr)\.|(?<=\bProf|\bHosp)\."
    word = rf"{capital}(?<!\w.)(?:{letter}+|['\u2019-](?={letter}))*(?:(?<=\b[A-Z])\.(?:-?[A-Z]\.)*|{ends})?"
    run = re.compile(rf"{word}(?:[ \t]+(?:{_PARTICLE}[ \t]+){{0,3}}{word}){{0,{LONGEST - 1}}}")
    return run, re.compile(rf"{word}|[a-z&]+")


_ANY = _patterns(r"[^\W\d_a-zà-öø-ÿ]", r"[^\W\d_]")
_ASCII = _patterns("[A-Z]", "[A-Za-z]")

TITLES: Final = entries("titles")
CARE: Final = entries("care")
CARE_HEADS: Final = entries("care-heads")
BODIES: Final = entries("bodies")
GROUND: Final = entries("ground")
_FIRM: Final = entries("firm-ground")
_SURE_BEFORE = re.compile(
    r"(?i:(?<![a-z])(?:named|called|names?(?:\s+(?:is|was)|\s*:|)|surname|i'm|mother|father|mom|dad|son"
    r"|daughter|wife|husband|brother|sister"
    r"|kid|driver|surgeon|attending:?|pcp:?|provider:?|physician:?|referring:?|nurse:?|therapist:?|spoke with"
    r"|records of|summary for|claim for|report for"
    r"|results for|chart of|chart for|brought|attn\.?:?|dear|regards,?|sincerely,?|member:?|partner's name"
    r"|mr\.?|mrs\.?|ms\.?|dr\.?|prof\.?)\s+[\"'(]?)$"
)
_TITLE_AFTER = re.compile(r",?\s+(?:M\.?D|D\.?O|R\.?N|N\.?P|PA-C|Ph\.?D|DDS|DMD|LPN|CRNA|Esq|Jr|Sr)\b")
_FIRST_AFTER = re.compile(r",\s+([^\W\d_]+)(?:\s+[A-Z]\.)?(?!\w)")
_PLACE_BEFORE = re.compile(
    r"(?i:(?<![a-z])(?:at|in|from|near|to|of|visited|visiting|via|around|outside|our|the)\s+(?:(?:the|our"
    r"|downtown|central|northern|southern"
    r"|eastern|western|nearby)\s+){0,2})$"
)
_CARE_BEFORE = re.compile(
    r"(?i:(?<![a-z])(?:seen|treated|admitted|admission|operated|presented|presenting|visited|checked|checked[-"
    r" ]in|evaluated|diagnosed|referred|consult(?:ed|ation)?"
    r"|hospitali[sz]ed|observed|attended|followed|monitored|managed|discharged|transferred|surgery|appointment"
    r"|appt|visit|care|documented|examined"
    r"|underwent|assessed|reviewed|recorded|currently|clinic|patient|last\s+seen|f/u|dx'?d|tx'?d|ref'?d"
    r"|evaluation|screened|noted|handled|processed|lives?|living|moved|residing"
    r"|resident|office|enrolled|received|started|performed|done|case|records?)\b(?:[^.;!?\n]|(?<=\b[A-Z])\."
    r"|(?<=\b[DM]r|\bMs)\.){0,30}?\b(?:at|to|in|from|by|with|@)\s+(?:the\s+|our\s+)?)$"
)


_JOINING: Final = frozenset({"of", "in", "the", "and", "&"})


_CARE_ENDS: Final = tuple(
    f" {word} " for word in ("at", "to", "in", "from", "by", "with", "@", "the", "our", "At", "To", "In", "From")
)


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


def _word(match: re.Match[str], offset: int) -> Word:
    text = match[0]
    key = text.lower()
    if key[-1] == "." or key.endswith("'s"):
        key = key.removesuffix("'s").rstrip(".")
    return Word(text, offset + match.start(), offset + match.end(), key, text.islower())


class NameListDetector:
    """Names of people, places and bodies: capitalised words, by lists and by the words around them."""

    name = "lists"

    def detect(self, text: str, /) -> Iterator[Span]:
        """The spans of a text; in one that is all in one case, unknown words are not taken for names."""
        even = text.islower() or text.isupper()
        cased = text.title() if even else text
        if len(cased) != len(text):
            return
        plain = never_names()
        run, single = _ASCII if cased.isascii() else _ANY
        for match in run.finditer(cased):
            if plain.issuperset(match[0].lower().split()):
                continue
            for span in self._run(cased, match, single):
                if not even or span.rule not in ("unlisted", "care-words", "ground"):
                    yield span

    def _run(self, text: str, match: re.Match[str], single: re.Pattern[str]) -> Iterator[Span]:
        """The spans of one run of capitalised words; a place goes on with the words of its kind and its state."""
        words = [_word(one, match.start()) for one in single.finditer(match[0])]
        before = text[max(0, match.start() - 60) : match.start()]
        for label, score, rule, start, end in judged(words, before, text):
            if label == "PERSON" and (first := _FIRST_AFTER.match(text, end)) and _given(first[1]):
                end = first.end()
            if label == "LOCATION" and (more := _PLACE_AFTER.match(text, end)):
                end = more.end()
            yield Span(start, end, label, score, self.name, rule)


@cache
def never_names() -> frozenset[str]:
    """The everyday words that alone are never a name, in no surroundings."""
    names = (entries("given-names") - _LEADING) | (entries("surnames") - _LEADING)
    return (entries("words") | _KNOWN | _LEADING) - names - places() - place_starts() - TITLES - CARE_HEADS - GROUND


_PLACE_AFTER = re.compile(
    r"(?:['\u2019]s)?(?:\s+(?i:(?:(?:medical|health|nursing|care|walk-in|urgent|family|dental"
    r"|community)\s+)?(?:clinic|hospital|office|center|centre|branch|area"
    r"|campus|department|facility|practice|ward|er|cntr|ctr|home))(?!\w))?(?:,\s(?:A[LKZR]|C[AOT]|D[CE]|FL|GA"
    r"|HI|I[DLNA]|K[SY]|LA|M[EDAINSOT]|N[EVHJMYCD]"
    r"|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[TA]|W[AVIY])(?!\w)(?:\s\d{5}(?:-\d{4})?(?!\w))?)?"
)

Judgement = tuple[str, float, str, int, int]


def judged(words: list[Word], before: str, text: str) -> Iterator[Judgement]:
    """What is said of a run of words."""
    if words and words[0].small:
        words = words[next((at for at, word in enumerate(words) if not word.small), len(words)) :]
    keys = [word.key for word in words]
    if not keys:
        return
    title = -1 if TITLES.isdisjoint(keys) else next(at for at, key in enumerate(keys) if key in TITLES)
    if -1 < title < len(words) - 1 and CARE_HEADS.isdisjoint(keys):
        yield from _person(words[title:], text, 0.95, "title")
        yield from judged(words[:title], before, text)
        return
    if len(keys) > 1 and not CARE_HEADS.isdisjoint(keys):
        head = _named(words)
        if head:
            yield "LOCATION", 0.8, "facility", head[0].start, head[-1].end
            return
    if len(keys) > 1 and not GROUND.isdisjoint(keys) and (ground := _ground(words, keys)) > 1:
        yield "LOCATION", 0.7, "ground", words[0].start, words[ground - 1].end
        yield from judged(words[ground:], "", text)
        return
    if (
        before.endswith(_CARE_ENDS)
        and _CARE_BEFORE.search(before)
        and not set(keys) <= lowered("eponyms")
        and (care := _cared(words, before, text))
    ):
        rule = "region" if _spoken(care) in regions() else "care-words"
        yield "LOCATION", 0.65, rule, care[0].start, care[-1].end
        yield from judged(words[words.index(care[-1]) + 1 :], "", text)
        return
    yield from _listed(words, keys, before, text)


def _ground(words: list[Word], keys: list[str]) -> int:
    """How many words, from the first, are a name and the word for a kind of place: ``Ford County``; 0: none."""
    for at, key in enumerate(keys[:5]):
        if words[at].text in _JOINING and words[at].text != "of":
            return 0
        if at and key in GROUND and not words[at].small and keys[0] not in _LEADING:
            following = keys[at + 1] if at + 1 < len(keys) else ""
            return (
                at + 1 if following not in BODIES | CARE and (key in _FIRM or not all(map(_common, keys[:at]))) else 0
            )
    return 0


def _cared(words: list[Word], before: str, text: str) -> list[Word]:
    """The words after ``seen at`` that can be the name of a place; none after ``by`` or ``with``, where names are."""
    if re.search(r"(?i:\b(?:by|with)\s+)$", before):
        return []
    stop = next((at for at, word in enumerate(words) if word.key in TITLES or word.text == "and"), len(words))
    taken = words[:stop]
    while taken and taken[-1].small:
        taken = taken[:-1]
    return taken if taken and not all(_common(word.key) for word in taken) else []


def _named(words: list[Word]) -> list[Word]:
    """A facility's words, from the first that is its name to the last that says what it is; empty: it has no name."""
    last = max(at for at, word in enumerate(words) if word.key in CARE_HEADS)
    start = 0
    while start < last and (words[start].key in _LEADING or words[start].small):
        start += 1
    return words[start : last + 1] if start < last else []


_LEADING = entries("leading")


def _common(key: str) -> bool:
    """Whether a word is an everyday one, or made of such: ``we'll``, ``well-known``."""
    if key in entries("words") or key in _KNOWN:
        return True
    return ("'" in key or "-" in key) and all(_common(part) or len(part) < 3 for part in re.split("['-]", key))


_KNOWN: Final = entries("calendar-and-web")


def _listed(words: list[Word], keys: list[str], before: str, text: str) -> Iterator[Judgement]:
    given, surnames = entries("given-names"), entries("surnames")
    at = 0
    while at < len(words):
        word, key = words[at], keys[at]
        place = _place(words, keys, at)
        after = _after(words, at)
        following = words[after] if after < len(words) else None
        everyday = _common(key)
        if place and not (key in given and following and _surname(following)):
            stop = at + place
            if not everyday or place > 1 or _PLACE_BEFORE.search(text[max(0, word.start - 24) : word.start]):
                rule = "region" if _spoken(words[at:stop]) in regions() else "place"
                yield "LOCATION", 0.7, rule, word.start, words[stop - 1].end
            at = stop
        elif (
            key in given
            and not word.small
            and key not in _LEADING
            and following
            and (_initial(following) or _surname(following))
        ):
            yield "PERSON", 0.6 if everyday else 0.85, "given-and-surname", word.start, _tail(words, after).end
            at = words.index(_tail(words, after)) + 1
        elif key in given and not everyday and key not in lowered("eponyms") and not _shouted(word, words):
            yield "PERSON", 0.55, "given-name", word.start, word.end
            at += 1
        elif key in surnames and _TITLE_AFTER.match(text, word.end):
            yield "PERSON", 0.8, "name-words", word.start, word.end
            at += 1
        elif key in surnames and _sure(text, word.start):
            yield "PERSON", 0.7, "name-words", word.start, word.end
            at += 1
        elif key in surnames and _unlisted(word, key, everyday, words) and key not in lowered("eponyms"):
            yield "PERSON", 0.45, "surname", word.start, word.end
            at += 1
        elif _unlisted(word, key, everyday, words):
            yield "PERSON", 0.35, "unlisted", word.start, word.end
            at += 1
        else:
            at += 1


def _unlisted(word: Word, key: str, everyday: bool, words: list[Word]) -> bool:
    known = everyday or key in lowered("demonyms") or len(key) < 2 or word.small
    return not known and not _shouted(word, words)


def _after(words: list[Word], at: int) -> int:
    """Where the next word is that does not merely join names."""
    after = at + 1
    while after + 1 < len(words) and words[after].small and words[after].text not in _JOINING:
        after += 1
    return after


def _sure(text: str, at: int) -> bool:
    """Whether the words before a place say that a name is there."""
    before = text[max(0, at - 24) : at]
    last = before.split()[-1:]
    return bool(last) and last[0].strip(".,:;\"'()").lower() in _SURE_ENDS and _SURE_BEFORE.search(before) is not None


_SURE_ENDS: Final = entries("before-names")


def _tail(words: list[Word], at: int) -> Word:
    """The last word of a name whose second word is given by its place."""
    while at + 1 < len(words) and (_initial(words[at]) or words[at].small) and words[at + 1].text not in _JOINING:
        at += 1
    return words[at]


def _given(word: str) -> bool:
    return word[0].isupper() and word.lower() in entries("given-names") and not _common(word.lower())


def _shouted(word: Word, words: list[Word]) -> bool:
    """Whether a word is an abbreviation rather than a name: a few capitals among words that have others."""
    return (
        word.text.isupper()
        and len(word.text) < 5
        and not any(one.text.isupper() and len(one.text) > 4 for one in words)
    )


def _initial(word: Word) -> bool:
    return re.fullmatch(r"(?:[A-Z]\.?){1,2}", word.text) is not None


def _follows(word: Word) -> bool:
    """Whether a word can follow a given name in somebody's name."""
    return _initial(word) or _surname(word)


def _surname(word: Word) -> bool:
    return (
        word.text[:1].isupper()
        and (word.key in entries("surnames") or not _common(word.key))
        and word.key not in CARE | GROUND | BODIES
    )


def _spoken(words: list[Word]) -> str:
    """The words as lists have places."""
    return " ".join(one.text.lower().removesuffix("'s") for one in words)


def _place(words: list[Word], keys: list[str], at: int) -> int:
    """How many words from ``at`` on are a place; 0: none."""
    if words[at].small:
        return 0
    if keys[at] in place_starts() and at + 1 < len(words):
        for size in (4, 3, 2):
            if at + size <= len(words) and _spoken(words[at : at + size]) in places():
                return size
    return int(keys[at] in places())


def _person(words: list[Word], text: str, score: float, rule: str) -> Iterator[Judgement]:
    """A title and the name after it."""
    stop = 1
    while stop < min(len(words), 7) and words[stop].text not in _JOINING and not _ends_name(words[stop]):
        stop += 1
    while stop > 1 and words[stop - 1].small:
        stop -= 1
    if stop > 1:
        yield "PERSON", score, rule, words[0].start, words[stop - 1].end
    yield from judged(words[stop:], "", text)


def _ends_name(word: Word) -> bool:
    return not _initial(word) and word.key in CARE | BODIES | _LEADING
