"""Around: the initials, small words and nicknames beside a found name, which belong to it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from flujo_deidentifier.capitals import PARTICLES
from flujo_deidentifier.span import Span

_CAPITAL: Final = r"[^\W\d_a-z\u00df-\u00f6\u00f8-\u00ff]"
_SMALL: Final = f"(?:{'|'.join(PARTICLES)})"
_ENDS: Final = (".", ". ", *(f" {word} " for word in PARTICLES))
_BEFORE = re.compile(rf"(?<![\w.'-])(?:{_CAPITAL}\.(?:[ -]|(?={_CAPITAL}))?){{1,3}}(?:{_SMALL} ){{0,3}}$")
_AFTER = re.compile(rf"(?: {_CAPITAL}\.?){{1,2}}(?=\.?\s+[a-z(]|\.?[,;:)\n]|\.?$)")
_BETWEEN = re.compile(rf"\s(?:{_CAPITAL}\.?\s){{0,2}}(?:{_SMALL}\s){{0,3}}|\s[\"'(]{_CAPITAL}\w{{1,14}}[\"')]\s")
_LONGEST: Final = 22
_NONE: Final = Span(0, 0, "")


def whole(text: str, spans: Iterable[Span]) -> list[Span]:
    """The spans, with all that belongs to names: ``J. R.`` before one, ``B.`` after it, ``van`` or ``"Bo"`` within it.

    Args:
        text: The text.
        spans: What was found in it, in order and without overlaps.
    """
    kept: list[Span] = []
    for span in spans:
        last = kept[-1] if kept else _NONE
        start, end = max(span.start, last.end), span.end
        if span.label == "PERSON":
            end = _end(text, end)
            if last.label == "PERSON" and start - last.end < _LONGEST and _joins(text, last.end, start):
                kept[-1] = last._replace(end=end, score=max(last.score, span.score))
                continue
            if text.endswith(_ENDS, 0, start):
                start = max(last.end, _start(text, start))
        if start < end:
            kept.append(span if (start, end) == span[:2] else span._replace(start=start, end=end))
    return kept


def _start(text: str, start: int) -> int:
    initials = _BEFORE.search(text[max(0, start - _LONGEST) : start])
    return start - len(initials[0]) if initials is not None else start


def _end(text: str, end: int) -> int:
    initials = _AFTER.match(text, end) if text[end : end + 1] == " " else None
    return initials.end() if initials is not None else end


def _joins(text: str, start: int, end: int) -> bool:
    return _BETWEEN.fullmatch(text, start, end) is not None and not text[start:end].isspace()
