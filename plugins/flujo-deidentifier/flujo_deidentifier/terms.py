"""The detector of terms: words that a deployment knows to be identifying, whatever they look like."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from flujo_deidentifier.normal import normalised
from flujo_deidentifier.span import Span


class TermsDetector:
    """Finds given terms as whole words, without regard to case.

    Args:
        terms: Each term, and its label.
    """

    name = "terms"

    def __init__(self, terms: Mapping[str, str]) -> None:
        self._labels = {normalised(term).text.casefold(): label for term, label in terms.items()}
        longest = sorted(self._labels, key=len, reverse=True)
        self._any = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest))})(?!\w)", re.IGNORECASE)

    def detect(self, text: str, /) -> Iterator[Span]:
        """The places of the terms."""
        for match in self._any.finditer(text):
            label = self._labels.get(match[0].casefold())
            if label is not None:
                yield Span(match.start(), match.end(), label, 1.0, self.name, "deny-list")
