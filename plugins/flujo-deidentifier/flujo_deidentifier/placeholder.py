"""Placeholders as models change them: found by their keyed part, which is all that must have stayed.

The keyed part cannot be guessed, so what says it means the value, whatever is around it: another kind or none, another
case, brackets of another sort or none, Markdown, escapes, blanks and line breaks. What is taken away around it is no
more than belongs to the placeholder: brackets only in pairs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from flujo_deidentifier.plainview import LONGEST_ESCAPE, PlainView
from flujo_deidentifier.token import ID_LENGTH, KIND_LENGTH, Token

LONGEST: Final = 168
"""The most characters that a placeholder has in any of the forms in which it is known again, and one after it."""

_BEFORE: Final = 64
_WITHIN: Final = 64
_AFTER: Final = LONGEST - _BEFORE - _WITHIN - LONGEST_ESCAPE

_PAIRS: Final = {"[": "]", "{": "}", "<": ">", "\u3010": "\u3011", "\u3014": "\u3015", "\u27e6": "\u27e7"}
_OPEN: Final = f"[{re.escape(''.join(_PAIRS))}]"
_DASH: Final = "\\-_\u2010-\u2015\u2212\ufe58\ufe63"
_MARKS: Final = "*`~"
_WORD: Final = rf"[^\W\d_]{{2,{KIND_LENGTH}}}"
_BREAK: Final = r"(?:[-\u2010]?[ \t]{0,2}\r?\n[ \t>#/*|]{0,6}|[ \t]{1,2})?"
_ID: Final = rf"[A-Za-z2-7]{{{ID_LENGTH}}}"
_BROKEN_ID: Final = rf"(?:[A-Za-z2-7]{_BREAK}){{{ID_LENGTH - 1}}}[A-Za-z2-7]"
_OVER: Final = r"(?=[sS]?(?![A-Za-z0-9]))"

_WHOLE: Final = re.compile(rf"(?<![A-Za-z0-9])({_ID}){_OVER}", re.ASCII)
_NAMED: Final = (
    rf"(?:(?<![^\W_])[A-Z]{{2,{KIND_LENGTH}}}|{_OPEN}[\s_{_MARKS}]{{0,4}}{_WORD}(?:[/{_DASH}]{_WORD}){{0,2}})\s{{1,4}}"
)
_BROKEN: Final = re.compile(
    rf"(?:(?:[{_DASH}{_MARKS}#:]|{_OPEN})[\s{_MARKS}]{{0,3}}|{_NAMED})(?=({_BROKEN_ID}){_OVER})"
)

_EXACT_LEFT: Final = re.compile(rf"\[[A-Z]{{2,{KIND_LENGTH}}}-\Z", re.ASCII | re.IGNORECASE)
_JOINT: Final = rf"[\s_{_MARKS}]{{0,3}}[{_DASH}:#/.=|][\s_{_MARKS}]{{0,3}}"
_PAIRED_LEFT: Final = re.compile(
    rf"({_OPEN})[\s_{_MARKS}#]{{0,4}}"
    rf"(?:{_WORD}(?:[/{_DASH}]{_WORD}){{0,2}}(?:{_JOINT}|[\s_{_MARKS}]{{1,4}})|((?:[^\W\d_]+\s+)+[^\W\d_]+){_JOINT})?\Z"
)
_PAIRED_RIGHT: Final = re.compile(rf"[\s_{_MARKS}]{{0,4}}(\S)")
_BARE_LEFT: Final = re.compile(
    rf"(?:([{_MARKS}]{{1,3}})(?<![^\W_]){_WORD}\1|(?<![^\W_]){_WORD})[{_DASH}]([{_MARKS}]{{0,3}})\Z"
    rf"|(?<![^\W_])[A-Z]{{2,{KIND_LENGTH}}}\s{{0,2}}(?:[{_DASH}]\s{{0,2}}|\s)\Z"
)

_BEGUN: Final = re.compile(
    rf"{_OPEN}[\w\s{_MARKS}{_DASH}:#/.=|>\\&%;]*\Z|\S+\Z"
    rf"|(?<![^\W_])[A-Z]{{2,{KIND_LENGTH}}}\s{{0,2}}(?:[{_DASH}]\s{{0,2}}|\s)?\S*\Z"
    rf"|(?:(?<![^\W_])[A-Z]{{2,{KIND_LENGTH}}}\s{{0,2}})?\S*(?:[{_DASH}{_MARKS}#:]|{_OPEN}|(?<=[A-Z])\s)[\s{_MARKS}]{{0,4}}"
    rf"(?:[A-Za-z2-7][-\u2010\s>#/*|]{{0,12}}){{1,{ID_LENGTH}}}s?\S*\Z"
)
"""More than the beginnings of all placeholders, at the end of a text."""


class Kept(NamedTuple):
    """What a vault has of a placeholder.

    Attributes:
        kind: The kind of the value, in upper case.
        value: The value.
    """

    kind: str
    value: str

    def __repr__(self) -> str:
        return f"<Kept {self.kind}>"


def ids_in(view: PlainView) -> set[str]:
    """All that may be the keyed part of a placeholder, in lower case."""
    return {made for _, _, made in _spots(view)}


def placeholders_in(view: PlainView, kept: Mapping[str, Kept]) -> list[Token]:
    """The placeholders of a text, from left to right.

    Args:
        view: The text.
        kept: What there is, by keyed part.
    """
    found: list[Token] = []
    floor = 0
    for start, end, made in sorted(_spots(view)):
        if made in kept and view.start(start) >= floor:
            first, floor = _around(view, floor, start, end, kept[made].kind)
            found.append(Token(first, floor, kept[made].kind, made))
    return found


def begun(view: PlainView, start: int) -> int:
    """Where in a text a placeholder may begin whose end has not come; the end of the text where none does.

    Args:
        view: The text, as far as it has come.
        start: Where in the text to begin to look.
    """
    least = view.at(max(start, len(view.original) - LONGEST))
    match = _BEGUN.search(view.text, least)
    return len(view.original) if match is None else view.start(match.start())


def _spots(view: PlainView) -> Iterator[tuple[int, int, str]]:
    """Where the keyed part of a placeholder may be, in the view."""
    for pattern, least in ((_WHOLE, 0), (_BROKEN, ID_LENGTH + 1)):
        for match in pattern.finditer(view.text):
            start, end = match.span(1)
            if end - start >= least and view.start(end) - view.start(start) <= _WITHIN:
                yield start, end, re.sub(r"[^A-Za-z2-7]", "", match[1]).lower()


def _around(view: PlainView, floor: int, start: int, end: int, kind: str) -> tuple[int, int]:
    """Where in the original a placeholder begins and ends whose keyed part is known."""
    first, last = view.start(start), view.start(end)
    low = max(floor, first - _BEFORE)
    exact = _EXACT_LEFT.search(view.original, low, first)
    if exact is not None and view.original.startswith("]", last):
        return exact.start(), last + 1
    text, least, most = view.text, view.at(low), view.at(min(last + _AFTER, len(view.original)))
    if (paired := _PAIRED_LEFT.search(text, least, start)) is not None and _is_kind(paired[2], kind):
        right = _PAIRED_RIGHT.match(text, end, most)
        if right is not None and right[1] == _PAIRS[paired[1]]:
            return view.start(paired.start()), view.start(right.end())
    if (bare := _BARE_LEFT.search(text, least, start)) is None:
        return first, last
    marks = bare[2] or ""
    closed = text.startswith(marks, end) and end + len(marks) <= most
    return view.start(bare.start()), view.start(end + len(marks)) if closed else last


def _is_kind(words: str | None, kind: str) -> bool:
    """Whether several words are the kind: other words in brackets are the text's own."""
    return words is None or re.sub(r"\s", "", words).upper() == kind
