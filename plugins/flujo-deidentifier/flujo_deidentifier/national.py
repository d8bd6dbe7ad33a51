"""The detector ``stdnum``: national numbers of people, by the checks of python-stdnum. Needs the extra ``stdnum``.

Our own checks (``checksum.py``) have the common ones without it. The library is LGPL, and used as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

from flujo_deidentifier.errors import DetectorMissing
from flujo_deidentifier.span import Span

INSTALL: Final = "pip install 'flujo-deidentifier[stdnum]'"

FIRM: Final = (
    "it.codicefiscale", "mx.curp", "fr.nir", "es.dni", "es.nie", "fi.hetu", "cn.ric", "in_.pan", "ch.ssn", "ie.pps",
    "si.emso", "ro.cnp", "za.idnr",
)  # fmt: skip
"""Numbers whose form and checks are so strict that hardly another number passes them."""

LOOSE: Final = (
    "gb.nhs", "nl.bsn", "be.nn", "pl.pesel", "de.idnr", "se.personnummer", "no.fodselsnummer", "dk.cpr", "cz.rc",
    "bg.egn", "lt.asmens", "ee.ik", "gr.amka", "tr.tckimlik", "il.idnr", "at.vnr", "hr.oib", "br.cpf", "ca.sin",
    "au.tfn", "in_.aadhaar", "kr.rrn", "my.nric", "us.itin", "imei", "th.pin", "cl.rut", "pt.cc",
)  # fmt: skip
"""Numbers that one in ten others passes for: they count behind a word that says what they are."""

_CANDIDATE = re.compile(r"(?<![\w.-])[A-Za-z0-9](?:[ ./-]?[A-Za-z0-9]){6,21}(?![\w-])")
_GROUPS = re.compile(r"[ ./-]")
_LEAST_DIGITS: Final = 5
_SAID = re.compile(
    r"(?i:(?<![a-z])(?:nhs|bsn|pesel|sin|tfn|aadhaar|cpf|personnummer|cpr|egn|amka|imei|itin|oib|nric|rrn|steuer-?id"
    r"|(?:national|tax|personal|insurance|identity|identification|health|medicare|citizen|social)\b[^\n.;]{0,24}"
    r"(?:number|no\.?|nr\.?|id|code)|id(?:entity)?\s+(?:number|no\.?)|ssn|id)"
    r"(?:\s+(?:is|was|number|no\.?|nr\.?))*[\s:#=.\"'(]{0,4})$"
)


class _Kind(NamedTuple):
    """A kind of number: the rule that is told, the library's module, and whether hardly another number passes it."""

    rule: str
    check: Any
    is_firm: bool


class NationalNumberDetector:
    """National numbers of people in some forty countries.

    Raises:
        DetectorMissing: python-stdnum is not installed.
    """

    name = "stdnum"

    def __init__(self) -> None:
        if find_spec("stdnum") is None:
            raise DetectorMissing(f"detector 'stdnum' needs the package 'python-stdnum'; run \"{INSTALL}\"")

    def detect(self, text: str, /) -> Iterator[Span]:
        """The numbers of a text that pass a check; of those that others pass for, only where words say so."""
        for match in _CANDIDATE.finditer(text):
            for start, end in _parts(match):
                found = self._known(text[start:end], bool(_SAID.search(text[max(0, start - 48) : start])))
                if found is not None:
                    score = 0.9 if found.is_firm else 0.8
                    yield Span(start, end, "ID", score, self.name, found.rule)
                    break

    def _known(self, number: str, is_said: bool) -> _Kind | None:
        for kind in self._kinds:
            if (kind.is_firm or is_said) and kind.check.is_valid(number):
                return kind
        return None

    @cached_property
    def _kinds(self) -> tuple[_Kind, ...]:
        return tuple(
            _Kind(name.replace("_", ""), import_module(f"stdnum.{name}"), name in FIRM) for name in (*FIRM, *LOOSE)
        )


def _parts(match: re.Match[str]) -> Iterator[tuple[int, int]]:
    """Where a number may stand in a run of letters and digits: all of it, and without words at its ends."""
    start, end = match.span()
    pieces = [(start + piece.start(), start + piece.end()) for piece in re.finditer(r"[^ ]+", match[0])]
    spans = [(start, end), *((first[0], last[1]) for first in pieces for last in pieces if first <= last)]
    for begin, stop in dict.fromkeys(spans):
        plain, gaps = _GROUPS.subn("", match.string[begin:stop])
        if len(plain) > max(_LEAST_DIGITS + 1, 2 * gaps) and sum(one.isdigit() for one in plain) >= _LEAST_DIGITS:
            yield begin, stop
