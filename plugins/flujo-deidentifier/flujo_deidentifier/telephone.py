"""The detector ``phones``: telephone numbers of the world, by the library phonenumbers. Needs the extra ``phones``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from flujo_deidentifier.errors import DetectorMissing
from flujo_deidentifier.span import Span

INSTALL: Final = "pip install 'flujo-deidentifier[phones]'"

_CANDIDATE = re.compile(r"(?<![\w.-])[+(]?\d(?:[ \t./()-]{0,3}\d){6,17}(?:\s*(?:[xX]|[eE]xt\.?)\s*\d{1,6})?(?![\w-])")
_NO_PHONE = re.compile(r"\d{4}-\d\d-\d\d|\d{1,2}/\d{1,2}/\d{2,4}|(?:\d{1,3}\.){3}\d{1,3}|\d{3}-\d\d-\d{4}")


class TelephoneDetector:
    """Telephone numbers: what may be one by its form is asked of the library, all else is not.

    Args:
        region: The country whose numbers need no country code (ISO 3166-1).

    Raises:
        DetectorMissing: phonenumbers is not installed.
    """

    name = "phones"

    def __init__(self, region: str = "US") -> None:
        if find_spec("phonenumbers") is None:
            raise DetectorMissing(f"detector 'phones' needs the package 'phonenumbers'; run \"{INSTALL}\"")
        self._region = region

    def detect(self, text: str, /) -> Iterator[Span]:
        """The numbers of a text that are valid somewhere."""
        for match in _CANDIDATE.finditer(text):
            if _NO_PHONE.fullmatch(match[0]) is None:
                for found in self._library.PhoneNumberMatcher(match[0], self._region):
                    yield Span(match.start() + found.start, match.start() + found.end, "PHONE", 0.8, self.name, "valid")

    @cached_property
    def _library(self) -> Any:
        return import_module("phonenumbers")
