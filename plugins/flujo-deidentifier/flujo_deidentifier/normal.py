"""Normal: a text as detectors see it, without what hides values, and the way back to the indexes of the text given."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from typing import Final

SAME_LENGTH: Final = {
    **dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"), "-"),
    **dict.fromkeys(map(ord, "\u2018\u2019\u201a\u201b\u2032\u02bc\uff07"), "'"),
    **dict.fromkeys(map(ord, "\u201c\u201d\u201e\u201f\u2033\uff02\u00ab\u00bb"), '"'),
    **dict.fromkeys(
        map(ord, "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"),
        " ",
    ),
    **dict.fromkeys(map(ord, "\u2028\u2029\x0b\x0c\x85"), "\n"),
    **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F) if code not in (0xFF02, 0xFF07, 0xFF0D)},
}
"""What takes another character's place without moving the rest: dashes, quotes, spaces, full-width forms."""

# Letters of other scripts that look like Latin ones; they count only inside a word that has Latin letters, too.
_LOOKALIKES: Final = dict(
    zip(
        map(ord, "АВЕЅІЈКМНОРСТХУаеѕіјорсухԁһԛԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧοα"),  # noqa: RUF001
        "ABESIJKMHOPCTXYaesijopcyxdhqwABEZHIKMNOPTYXoa",
        strict=True,
    )
)
_HIDDEN = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
)
_MARKED = re.compile(r"[^\W\d_][\u0300-\u036f]+")
_MIXED = re.compile(r"[\u0370-\u052f](?:(?<=[A-Za-z].)|(?=[A-Za-z]))")
_WORD = re.compile(r"\w+")
_UNEVEN = re.compile("[" + "".join(map(re.escape, map(chr, SAME_LENGTH))) + "]")
# What the slow way looks at: hidden characters, a hyphen at the end of a line, combining marks, digits of other
# scripts, and the ranges in which compatibility forms lie.
_ODD = re.compile(
    rf"[{_HIDDEN}]+|(?<=\w-)\r?\n[ \t]*(?=\w)|[^\W\d_][\u0300-\u036f]+|[^\x00-\x7f\W]"
    rf"|[\u2000-\u2bff\ufb00-\ufb4f\uff00-\uffef]"
    r"|[\U0001d400-\U0001d7ff]"
)
_ODD_HERE = re.compile(
    rf"[{_HIDDEN}\u0300-\u036f\u0660-\u0669\u06f0-\u06f9\u0966-\u096f\u09e6-\u09ef\u2070-\u209f\u2100-\u218f\u2460-\u24ff"
    r"\u3200-\u33ff\ufb00-\ufb4f\ufdfa-\ufdfb\U0001d400-\U0001d7ff\u00aa\u00b2\u00b3\u00b9\u00ba]|-\r?\n"
)


class Normal:
    """A normalised text, and where its characters were.

    Attributes:
        text: The normalised text.
    """

    __slots__ = ("_moved", "_shift", "text")

    def __init__(self, text: str, moved: list[int], shift: list[int]) -> None:
        self.text = text
        self._moved = moved
        self._shift = shift

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The indexes, in the text given, of a span of the normalised one."""
        if not self._moved:
            return start, end
        return self._place(start), self._place(end - 1) + 1

    def _place(self, index: int) -> int:
        return index + self._shift[bisect_right(self._moved, index) - 1]


def normalised(text: str) -> Normal:
    """What detectors look at instead of a text.

    Compatibility forms, digits of other scripts, unusual dashes, quotes and spaces become the usual ones;
    characters that show nothing are gone; look-alike letters in a Latin word become Latin; a word that was broken
    at a hyphen is whole.
    """
    if text.isascii():
        return _rewritten(text) if "-\n" in text or "-\r" in text else Normal(text, [], [])
    even = _UNEVEN.sub(_even, text)
    if _MIXED.search(even):
        even = _WORD.sub(_latin, even)
    return _rewritten(even) if _ODD_HERE.search(even) else Normal(even, [], [])


def _even(match: re.Match[str]) -> str:
    return SAME_LENGTH[ord(match[0])]


def _latin(match: re.Match[str]) -> str:
    word = match[0]
    return word.translate(_LOOKALIKES) if not word.isascii() and _MIXED.search(word) else word


def _rewritten(text: str) -> Normal:
    """The slow way: with a list of the places from which on indexes are moved, and by how much."""
    parts: list[str] = []
    moved, shift = [0], [0]
    done = length = 0
    for match in _ODD.finditer(text):
        new = _plain(match[0])
        if new == match[0]:
            continue
        parts += (text[done : match.start()], new)
        length += match.start() - done
        # Each character of a longer form points to the one that it was made of.
        for step in range(len(new)):
            moved.append(length + step)
            shift.append(match.start() - length - step)
        length += len(new)
        done = match.end()
        moved.append(length)
        shift.append(done - length)
    parts.append(text[done:])
    return Normal("".join(parts), moved, shift)


def _plain(found: str) -> str:
    if found[0] in "\r\n":
        return ""
    if _MARKED.fullmatch(found):
        return unicodedata.normalize("NFKC", found)
    if len(found) == 1 and found.isalnum():
        digit = unicodedata.decimal(found, None)
        return str(digit) if digit is not None else unicodedata.normalize("NFKC", found)
    return "".join(_kept(one) for one in found)


def _kept(one: str) -> str:
    return "" if re.match(rf"[{_HIDDEN}]", one) else unicodedata.normalize("NFKC", one)
