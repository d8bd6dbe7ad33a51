"""Identifiers: record, account, licence and device numbers, by the words before them, or by their form alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from flujo_deidentifier.checksum import is_vin
from flujo_deidentifier.lexicon import entries
from flujo_deidentifier.span import Span

_KIND_WORDS: Final = sorted(entries("numbered"))
_LINKS: Final = (
    "number",
    "numbers",
    "nr",
    "no",
    "nos",
    "num",
    "id",
    "ids",
    "code",
    "plan",
    "policy",
    "record",
    "card",
    "is",
    "was",
    "on",
    "file",
    "shows",
    "show",
)
_KINDS: Final = "|".join(sorted(_KIND_WORDS, key=len, reverse=True))
_WORDS_BEFORE = re.compile(
    rf"(?<![A-Za-z])(?i:(?:{_KINDS})(?:'?s)?)(?:[\s_-]*(?i:number|numbers|nr|no|nos|num|id|ids|code|plan|policy"
    rf"|record|card|is|was|on\s+file"
    r"|shows?))*[\s.:#=|\"'(\[*_-]*$"
)
_LETTERS = re.compile("[A-Za-z]+")
_ENDINGS: Final = frozenset((*_KIND_WORDS, *(f"{word}s" for word in _KIND_WORDS), *_LINKS, "s"))
# Forms that say by themselves what they are: letters and many digits, or digits in unusual groups.
_FORM = re.compile(
    r"#?[A-Z]{1,5}[- ]?\d{4,}[A-Z]?|#?[A-Z]{2,5}-\d{2,}(?:-[A-Z0-9]+)*|\d{3,}[A-Z]{1,3}\d*|#\d{4,}"
    r"|[A-Z]{1,4}\d{5,}[A-Z]{0,2}"
    r"|\d[A-Z][A-Z0-9]\d-?[A-Z][A-Z0-9]\d-?[A-Z]{2}\d\d|[A-Z]{1,3}\d{3,}-\d{3,}(?:-\d+)*"
    r"|\d{2,4}-[A-Z]{2}-\d{3,}|\d{5,}-[A-Z]{1,4}"
    r"|\(\d\d\)\d{5,}\(\d\d\)\w{4,}|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|\d\d-\d\d-\d\d|\d{1,4}-\d{4,8}"
    r"|\d{4,8}-\d{3,8}(?:-\d+)*|\d{1,4}-\d{2,6}/\d{2,4}|[A-CEGHJ-NPR-TVXY]\d[A-Z]\d[A-Z]\d"
)
_PLATE = re.compile(
    r"(?i:(?<![a-z])(?:plates?|tags?|registration|vehicle|car|truck|van|ambulance|motorcycle)(?:\s+(?:number"
    r"|no\.?|is))?[\s:#]*)"
    r"([A-Z0-9]{1,4}[ -][A-Z0-9]{2,4})(?!\w)"
)
_HARMLESS = re.compile(
    r"(?i:covid-?\d+|icd-?(?:9|10|11)(?:-(?:cm|pcs))?|sars-cov-\d|h\d+n\d+|cha2?ds2?\S*|hba1c|spo2|t\dn\d\S*|\d+(?:st|nd|rd|th)"
    r"|[a-z]{1,4}\d{1,2}|\d+(?:\.\d+)?"
    r"(?:mg|mcg|g|kg|ml|dl|l|mm|cm|m|km|mmhg|bpm|hz|iu|u|kb|mb|gb|k|x|pm|am|h|hr|hrs|min|s|d|w|y|yo|yr|yrs)(?:/\S*)?)"
)
_LONG: Final = 7
_NO_DIGITS: Final = str.maketrans("", "", "0123456789")


def with_vehicle(lower: str) -> bool:
    """Whether a text, in lower case, may speak of a vehicle; to look for words is cheaper than to look for plates."""
    return (
        "plate" in lower or "vehicle" in lower or "registration" in lower or "car " in lower or "truck" in lower
        or "van " in lower or "ambulance" in lower or "motorcycle" in lower or "tag " in lower
    )  # fmt: skip


def plates(text: str) -> Iterator[Span]:
    """The plates of vehicles, after the word for one."""
    for plate in _PLATE.finditer(text):
        yield Span(plate.start(1), plate.end(1), "ID", 0.85, "patterns", "plate")


def identifier(text: str, at: int, stop: int, last: str) -> Span | None:
    """Somebody's number, if the token around a digit is one.

    Args:
        text: The text.
        at: Where its first digit is.
        stop: Where the token ends.
        last: The last word before the digit, in lower case.
    """
    start = at
    while start and (text[start - 1].isalnum() or text[start - 1] in "-_"):
        start -= 1
    if start and text[start - 1] in "#(" and (text[start - 1] == "#" or text.startswith("01)", start)):
        start -= 1
    while start < at and text[start] in "-_":
        start += 1
    token = text[start:stop].rstrip("-/(#")
    if token.count("(") < token.count(")"):
        token = token.rstrip(")")
    found = _judged(text, start, token, last if start + 1 >= at else "")
    return Span(start, start + len(token), "ID", found[0], "patterns", found[1]) if found else None


def _judged(text: str, at: int, token: str, last: str) -> tuple[float, str] | None:
    digits = len(token) - len(token.translate(_NO_DIGITS))
    if digits < 2 or _HARMLESS.fullmatch(token):
        return None
    before = text[max(0, at - 40) : at]
    if not last:
        words = _LETTERS.findall(before, max(0, len(before) - 20))
        last = words[-1].lower() if words else ""
    if last in _ENDINGS and _WORDS_BEFORE.search(before):
        return (0.85 if digits > 2 else 0.5), "id-words"
    if token.isdigit():
        return (0.6, "long-number") if digits >= _LONG else None
    if len(token) == 17 and is_vin(token):
        return 0.95, "vin"
    return (0.65, "id-form") if _FORM.fullmatch(token) else None
