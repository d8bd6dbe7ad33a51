"""The detector ``structure``: values by the names of their fields, in JSON, XML, tables, HL7 v2 and encoded texts."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as BinasciiError
from collections.abc import Iterator
from itertools import accumulate
from typing import Final
from urllib.parse import unquote

from flujo_deidentifier.field import fits, label_of
from flujo_deidentifier.patterns import PatternDetector
from flujo_deidentifier.proper import NameListDetector
from flujo_deidentifier.span import Span

NAME: Final = "structure"
# A member of a JSON object; the quotes of JSON within JSON are escaped, once for each level.
_MEMBER = re.compile(
    r"(\\*)\"(\w[\w .-]{0,40})\1\"\s*:\s*(?:\1\"((?:[^\"\\\n]|\\(?!\"))*?)\1\"|(-?\d[\d.]*)"
    r"|\[((?:\s*\1\"[^\"\\\n]*\1\"\s*,?)+)\])"
)
_ITEM = re.compile(r"\"([^\"\\\n]*)\\*\"")
_ELEMENT = re.compile(r"<(\w[\w:.-]{0,40})(?:\s[^<>]*)?>([^<>]{1,200})</\1>")
_ATTRIBUTE = re.compile(r"<(\w[\w:.-]{0,40})\s+value=\"([^\"<>]{1,200})\"")
_PAIR = re.compile(r"(?:(?<=[?&])|(?<![^\s;,\"'(]))([A-Za-z_][\w.-]{0,40})=([^&\s\"'<>;]+)")
_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_BASE64 = re.compile(r"(?<![\w+/=-])[A-Za-z0-9+/_-]{16,}={0,2}(?![\w+/=-])")
_SEGMENT = re.compile(r"^(MSH|PID|NK1|PV1|GT1|IN1|OBR|ORC|PD1)\|([^\r\n]*)", re.MULTILINE)
_DELIMITERS: Final = ",;\t|"
_SHORTEST: Final = 16
"""Characters of base64 that are looked into at least."""
_LONGEST_NAME: Final = 40
"""Characters that the name of a column has at most."""
_LONGEST_HEAD: Final = 600
"""Characters that the first line of a table has at most."""

# Fields of HL7 v2 segments that identify: the number of each, and its label.
_HL7: Final[dict[str, dict[int, str]]] = {
    "PID": {2: "ID", 3: "ID", 4: "ID", 5: "PERSON", 6: "PERSON", 7: "DATE", 9: "PERSON", 11: "ADDRESS", 13: "PHONE",
            14: "PHONE", 18: "ID", 19: "SSN", 20: "ID", 21: "ID", 23: "LOCATION", 29: "DATE"},
    "NK1": {2: "PERSON", 4: "ADDRESS", 5: "PHONE", 6: "PHONE", 16: "DATE", 30: "PERSON", 31: "PHONE", 33: "ID"},
    "PV1": {7: "PERSON", 8: "PERSON", 9: "PERSON", 17: "PERSON", 19: "ID", 44: "DATE", 45: "DATE",
            50: "ID", 52: "PERSON"},
    "GT1": {2: "ID", 3: "PERSON", 4: "PERSON", 5: "ADDRESS", 6: "PHONE", 7: "PHONE", 8: "DATE", 12: "SSN"},
    "IN1": {6: "PERSON", 16: "PERSON", 18: "DATE", 19: "ADDRESS", 36: "ID", 49: "ID"},
    "OBR": {7: "DATE", 10: "PERSON", 16: "PERSON", 17: "PHONE", 22: "DATE", 28: "PERSON"},
    "ORC": {9: "DATE", 10: "PERSON", 11: "PERSON", 12: "PERSON", 14: "PHONE"},
    "PD1": {4: "PERSON"},
}  # fmt: skip


class StructureDetector:
    """Values by the names of their fields, and what percent signs or base64 hide."""

    name = NAME

    def __init__(self) -> None:
        self._inside = (PatternDetector(), NameListDetector())

    def detect(self, text: str, /) -> Iterator[Span]:
        """The spans of a text, of all kinds of structure that it has."""
        if '":' in text or '" :' in text:
            yield from _json(text)
        if "</" in text or "value=" in text:
            yield from _markup(text)
        if "=" in text:
            yield from _pairs(text)
        if "PID|" in text or "MSH|" in text:
            yield from _hl7(text)
        if "\n" in text:
            yield from _table(text)
        if "%" in text and _PERCENT.search(text):
            yield from self._percent(text)
        if max(map(len, text.split()), default=0) >= _SHORTEST:
            yield from self._base64(text)

    def _percent(self, text: str) -> Iterator[Span]:
        """What is found in a text whose percent signs are decoded, at the places where it was before."""
        parts = re.split(r"((?:%[0-9A-Fa-f]{2})+|\+)", text)
        plain = [_decoded(part) for part in parts]
        if len("".join(plain)) > len(text):
            return
        places = _places(parts, plain)
        for detector in self._inside:
            for span in detector.detect("".join(plain)):
                yield span._replace(start=places[span.start], end=places[span.end], detector=NAME, rule="percent")

    def _base64(self, text: str) -> Iterator[Span]:
        for match in _BASE64.finditer(text):
            decoded = _text_of(match[0])
            found = [span for one in self._inside for span in one.detect(decoded)] if decoded else []
            sure = [span for span in found if span.score >= 0.5]
            if sure:
                best = max(sure, key=lambda span: span.score)
                yield Span(match.start(), match.end(), best.label, best.score, NAME, "base64")


def _decoded(part: str) -> str:
    if part == "+":
        return " "
    return unquote(part, errors="replace") if part.startswith("%") else part


def _places(parts: list[str], plain: list[str]) -> list[int]:
    """For each index of the decoded text, and its end, the index in the text given."""
    places: list[int] = []
    for start, part, decoded in zip(accumulate(map(len, parts), initial=0), parts, plain, strict=False):
        if part == decoded:
            places += range(start, start + len(part))
        else:
            step = len(part) / max(1, len(decoded))
            places += [start + round(step * at) for at in range(len(decoded))]
    return [*places, sum(map(len, parts))]


def _text_of(token: str) -> str | None:
    """The text that base64 stands for; None: it stands for none."""
    if token.isdigit() or (token.isalpha() and (token.islower() or token.isupper())):
        return None
    try:
        decoded = b64decode(token.replace("-", "+").replace("_", "/") + "=" * (-len(token) % 4), validate=True).decode(
            "utf8"
        )
    except (BinasciiError, ValueError):
        return None
    return decoded if decoded.isprintable() or decoded.replace("\n", "").replace("\t", "").isprintable() else None


def _value(field: str, value: str, start: int, rule: str) -> Iterator[Span]:
    label = label_of(field)
    bare = value.strip()
    if label is not None and fits(field, label, bare):
        at = start + value.index(bare)
        yield Span(at, at + len(bare), label, 0.85, NAME, rule)


def _json(text: str) -> Iterator[Span]:
    for member in _MEMBER.finditer(text):
        if member[5] is not None:
            for item in _ITEM.finditer(text, member.start(5), member.end(5)):
                yield from _value(member[2], item[1].rstrip("\\"), item.start(1), "json")
            continue
        group = 3 if member[3] is not None else 4
        yield from _value(member[2], member[group], member.start(group), "json")


def _markup(text: str) -> Iterator[Span]:
    for pattern in (_ELEMENT, _ATTRIBUTE):
        for match in pattern.finditer(text):
            yield from _value(match[1].rpartition(":")[2], match[2], match.start(2), "xml")


def _pairs(text: str) -> Iterator[Span]:
    for match in _PAIR.finditer(text):
        label = label_of(match[1])
        if label is not None and fits(match[1], label, unquote(match[2].replace("+", " "))):
            yield Span(match.start(2), match.end(2), label, 0.8, NAME, "key-value")


def _hl7(text: str) -> Iterator[Span]:
    for segment in _SEGMENT.finditer(text):
        labels = _HL7.get(segment[1], {})
        start = segment.start(2)
        for number, value in enumerate(segment[2].split("|"), start=1):
            if number in labels and value.strip():
                yield from _components(value, start, labels[number])
            start += len(value) + 1


def _components(value: str, start: int, label: str) -> Iterator[Span]:
    """The components of a field, without what separates them."""
    for part in re.finditer(r"[^^~&]+", value):
        if len(part[0].strip()) > 1:
            yield Span(start + part.start(), start + part.end(), label, 0.85, NAME, "hl7")


def _table(text: str) -> Iterator[Span]:
    """The columns of a table whose first line names them."""
    head, _, rest = text.partition("\n")
    if len(head) > _LONGEST_HEAD:
        return
    delimiter = max(_DELIMITERS, key=head.count)
    names = [name.strip(" \"'\r") for name in head.split(delimiter)]
    if len(names) < 2 or max(map(len, names)) > _LONGEST_NAME:
        return
    labels = [label_of(name) for name in names]
    if not any(labels):
        return
    start = len(head) + 1
    for line in rest.split("\n"):
        cells = list(_cells(line, delimiter))
        if len(cells) == len(names):
            for name, label, (at, cell) in zip(names, labels, cells, strict=True):
                if label is not None and fits(name, label, cell):
                    yield Span(start + at, start + at + len(cell), label, 0.8, NAME, "table")
        start += len(line) + 1


def _cells(line: str, delimiter: str) -> Iterator[tuple[int, str]]:
    """The cells of a line and where each begins, without quotes and blanks around them."""
    for match in re.finditer(rf"(\"(?:[^\"]|\"\")*\"|[^{re.escape(delimiter)}]*)(?:{re.escape(delimiter)}|$)", line):
        if match.start() == len(line) and match.start() and line[-1] != delimiter:
            return
        cell = match[1].strip("\r")
        bare = cell.strip(" \"'")
        yield match.start() + (cell.index(bare) if bare else 0), bare
