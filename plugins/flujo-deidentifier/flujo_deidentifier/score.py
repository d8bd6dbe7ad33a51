"""Score: found spans against those that people marked, counted in letters and digits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import Final, NamedTuple

SOFT: Final = frozenset({"ORGANIZATION", "NRP", "AGE", "SEX", "QUANTITY", "MISC", "PROFESSION", "FAMILY"})
"""Labels of marked spans that count neither way: to find them is no error, and to leave them is none."""


class Marked(NamedTuple):
    """A span that a person has marked."""

    start: int
    end: int
    label: str


@dataclass(slots=True)
class Score:
    """How much was found; figures are shares from 0 to 1.

    Attributes:
        documents: How many texts were scored.
        spans: How many spans were marked in them.
        hit: Sensitive letters and digits that were found.
        left: Those that were not.
        wrong: Harmless ones that were found all the same.
        harmless: Harmless ones.
        clean: Marked spans of which nothing was left.
        empty: Texts without a marked span.
        touched: Those of them in which something was found.
    """

    documents: int = 0
    spans: int = 0
    hit: int = 0
    left: int = 0
    wrong: int = 0
    harmless: int = 0
    clean: int = 0
    empty: int = 0
    touched: int = 0

    @property
    def leak(self) -> float:
        """The share of sensitive characters that was left."""
        return self.left / (self.hit + self.left) if self.hit + self.left else 0.0

    @property
    def precision(self) -> float:
        """The share of what was found that is sensitive."""
        return self.hit / (self.hit + self.wrong) if self.hit + self.wrong else 1.0

    @property
    def over(self) -> float:
        """The share of harmless characters that was found."""
        return self.wrong / self.harmless if self.harmless else 0.0

    @property
    def clean_spans(self) -> float:
        """The share of marked spans of which nothing was left."""
        return self.clean / self.spans if self.spans else 1.0

    @property
    def touched_share(self) -> float:
        """The share of the texts without marked spans in which something was found."""
        return self.touched / self.empty if self.empty else 0.0

    def add(self, text: str, marked: Sequence[Marked], found: Iterable[tuple[int, int]]) -> None:
        """Counts one text.

        Args:
            text: The text.
            marked: What people marked in it, of all labels.
            found: Where something was found.
        """
        taken = _cover(len(text), found)
        sensitive = [span for span in marked if span.label not in SOFT]
        gold = _cover(len(text), ((span.start, span.end) for span in sensitive))
        soft = _cover(len(text), ((span.start, span.end) for span in marked if span.label in SOFT))
        counted = [at for at, one in enumerate(text) if one.isalnum()]
        self.documents += 1
        self.empty += not marked
        self.touched += not marked and any(taken)
        for at in counted:
            if gold[at]:
                self.hit += taken[at]
                self.left += not taken[at]
            elif not soft[at]:
                self.harmless += 1
                self.wrong += taken[at]
        for span in sensitive:
            places = [at for at in range(span.start, span.end) if text[at].isalnum()]
            self.spans += bool(places)
            self.clean += bool(places) and all(taken[at] for at in places)

    def joined(self, other: Score) -> Score:
        """The score of the texts of both."""
        mine, its = astuple(self), astuple(other)
        return Score(*(one + two for one, two in zip(mine, its, strict=True)))


def _cover(length: int, spans: Iterable[tuple[int, int]]) -> bytearray:
    cover = bytearray(length)
    for start, end in spans:
        cover[start:end] = b"\1" * (end - start)
    return cover
