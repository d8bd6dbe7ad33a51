"""The detector ``patterns``: what has a form of its own, such as e-mail addresses, card numbers and dates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from flujo_deidentifier.checksum import is_address, is_iban
from flujo_deidentifier.identifier import plates, with_vehicle
from flujo_deidentifier.numbers import NAME, numbers
from flujo_deidentifier.secret import secrets
from flujo_deidentifier.span import Span

_EMAIL = re.compile(r"[\w.+%'-]{1,64}@[^\W_][\w-]*(?:\.[\w-]+)*\.[^\W\d_]{2,}")
_SPELLED = re.compile(
    r"[\w.+-]{1,64}(?:\s(?i:dot)\s[\w+-]{1,64}){0,4}\s*(?:[\[({]\s*(?i:at)\s*[\])}]|\s(?i:at)\s)\s*[\w-]+"
    r"(?:\s*(?:[\[({]\s*(?i:dot)\s*[\])}]|\s(?i:dot)\s)\s*[\w-]{1,64}){1,4}"
)
_URL = re.compile(r"(?:[hH][tT]{2}[pP][sS]?|[fF][tT][pP])://[^\s<>\"'`]+|[wW]{3}\.[^\s<>\"'`]+")
_TOPS: Final = (
    "com|org|net|io|info|biz|edu|gov|co|me|us|uk|de|fr|es|it|nl|ch|eu|app|dev|au|br|ca|cz|dk|fi|gr|hu|jp|kr|mx|nz|pl|pt"
    "|ro|ru|se|tr|za|ai|tv|xyz|online|shop|site|tech|cloud|blog|kiwi|health|hospital|clinic"
)
_HOST = re.compile(rf"[A-Za-z0-9](?<![\w@./-].)(?:[\w-]*\.)+(?:{_TOPS})(?![\w.-]*@)(?:/[^\s<>\"'`]*|(?!\w|[.-]\w))")
_IPV6 = re.compile(r"[0-9A-Fa-f:](?<![\w:].)[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,8}(?![\w:])")
_MAC = re.compile(r"[0-9A-Fa-f](?<![\w:.-].)[0-9A-Fa-f](?:[:-][0-9A-Fa-f]{2}){5}(?![\w:-])")
_IBAN = re.compile(r"[A-Z](?<!\w.)[A-Z]\d\d(?:[ -]?[A-Z0-9]{2,4}){3,8}(?!\w)")
_TOP = re.compile(rf"\.(?=[a-z])(?:{_TOPS})(?![\w-])")
_HOME = re.compile(
    r"(?i:\b(?:(?:home|mailing|billing|shipping|street|postal)\s+)?address\s*(?:is|:|=)|\b(?:lives?|living"
    r"|resid(?:es?|ing))\s+at)\s*"
    r"(?=[^\n.;]{0,30}\d)([^\n.;]{4,90})"
)
_LAST = re.compile(
    r"[lLnN](?<!\w.)(?i:ast|ext)\s+(?:(?i:mon|tues|wednes|thurs|fri|satur|sun)day|January|February|March|April"
    r"|May|June|July|August|September|October|November|December)(?!\w)"
)
_WEEKDAY = re.compile(r"[MTWFS](?<!\w.)(?:on|ues|ednes|hurs|ri|atur|un)day(?!\w)")
_LIVING = ("live at", "lives at", "living at", "reside at", "resides at", "residing at")
_TRAILING = ".,;:!?)]}'\""


class PatternDetector:
    """What has a form of its own; where a form has a checksum, it is checked."""

    name = NAME

    def detect(self, text: str, /) -> Iterator[Span]:
        """The spans of a text, of all forms."""
        lower = text.lower()
        if "@" in text:
            yield from _all(_EMAIL, text, "EMAIL", 0.98, "email")
        if " dot " in lower or "dot]" in lower or "dot)" in lower or "dot}" in lower:
            yield from _all(_SPELLED, text, "EMAIL", 0.85, "email-spelled")
        if "://" in text or "www." in lower:
            yield from _links(_URL, text)
        if _TOP.search(lower):
            yield from _links(_HOST, text)
        yield from _hexadecimal(text)
        if _DIGIT.search(text):
            yield from numbers(text)
            yield from _with_digits(text, lower)
        if "last " in lower or "next " in lower:
            yield from _all(_LAST, text, "DATE", 0.6, "last-day")
        if "day" in text:
            yield from _all(_WEEKDAY, text, "DATE", 0.4, "weekday")
        yield from secrets(text, lower)


_DIGIT = re.compile("[0-9]")


def _all(pattern: re.Pattern[str], text: str, label: str, score: float, rule: str) -> Iterator[Span]:
    for match in pattern.finditer(text):
        yield Span(match.start(), match.end(), label, score, NAME, rule)


def _links(pattern: re.Pattern[str], text: str) -> Iterator[Span]:
    for match in pattern.finditer(text):
        end = match.end() - len(match[0]) + len(match[0].rstrip(_TRAILING))
        yield Span(match.start(), end, "URL", 0.9, NAME, "url")


def _hexadecimal(text: str) -> Iterator[Span]:
    colons = text.count(":")
    if colons > 6 or "::" in text:
        for match in _IPV6.finditer(text):
            if len(match[0]) > 2 and is_address(match[0]):
                yield Span(match.start(), match.end(), "IP", 0.95, NAME, "ipv6")
    if colons > 4 or text.count("-") > 4:
        yield from _all(_MAC, text, "ID", 0.9, "mac")


def _with_digits(text: str, lower: str) -> Iterator[Span]:
    for match in _IBAN.finditer(text):
        if is_iban(re.sub(r"[ -]", "", match[0])):
            yield Span(match.start(), match.end(), "IBAN", 0.99, NAME, "mod-97")
    if "address" in lower or (" at " in lower and any(map(lower.__contains__, _LIVING))):
        for match in _HOME.finditer(text):
            yield Span(match.start(1), match.end(1), "ADDRESS", 0.7, NAME, "address-words")
    if with_vehicle(lower):
        yield from plates(text)
