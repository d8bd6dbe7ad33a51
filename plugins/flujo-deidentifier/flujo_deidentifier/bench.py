"""Bench: how much a finder finds in marked texts, and how fast it is.

The files have a JSON object a line: ``{"id", "text", "spans": [{"start", "end", "label"}]}``, with indexes into the
text as Python counts them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from time import process_time
from typing import Final, NamedTuple

from flujo_core import ConfigurationError
from flujo_deidentifier.finder import Finder
from flujo_deidentifier.language import language
from flujo_deidentifier.score import Marked, Score

PLAIN: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}",
        r"https?://\S+",
        r"\b(?:\d{1,3}\.){3}\d{1,3}\b",
        r"\b(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}\b",
        r"\b\d{3}-\d{2}-\d{4}\b",
        r"\b(?:\+?1[-. ]?)?\(?\d{3}\)?[-. ]?\d{3}[-. ]?\d{4}\b",
        r"\b\d{4}-\d{2}-\d{2}\b",
        r"\b\d{1,2}/\d{1,2}/\d{2,4}\b",
        r"\b(?:\d[ -]?){13,16}\b",
        r"\b[A-Z]{2}\d{2}[A-Z0-9]{11,30}\b",
    )
)
"""Ten patterns as anybody would write them, against whose time ours is measured."""


class Text(NamedTuple):
    """A marked text."""

    text: str
    marked: tuple[Marked, ...]


class Line(NamedTuple):
    """What was measured of one file, or of all.

    Attributes:
        name: The file's name without its ending.
        score: What was found.
        characters: How long its texts are together.
        seconds: Seconds of the processor that they took.
        languages: The languages that its texts seem to be in, most frequent first.
    """

    name: str
    score: Score
    characters: int
    seconds: float
    languages: tuple[str, ...]


def texts_of(path: Path) -> list[Text]:
    """The marked texts of a file.

    Raises:
        ConfigurationError: There is no such file, or one of its lines is no marked text; the line's number is told.
    """
    try:
        lines = path.read_text(encoding="utf8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"file '{path}' cannot be read ({type(error).__name__}); name one of marked texts"
        ) from None
    return [_text(line, path, number) for number, line in enumerate(lines, start=1) if line.strip()]


def _text(line: str, path: Path, number: int) -> Text:
    try:
        row = json.loads(line)
        marked = tuple(Marked(int(one["start"]), int(one["end"]), str(one["label"])) for one in row["spans"])
        return Text(str(row["text"]), marked)
    except (ValueError, KeyError, TypeError):
        pass
    raise ConfigurationError(
        f"line {number} of file '{path}' is no marked text; it needs 'text', and 'spans' with 'start', 'end'"
        f" and 'label'"
    )


def measured(finder: Finder, name: str, texts: Iterable[Text]) -> Line:
    """What the finder finds in the texts of one file."""
    score, characters, seconds = Score(), 0, 0.0
    counts: dict[str, int] = {}
    for text, marked in texts:
        start = process_time()
        found = finder.find(text)
        seconds += process_time() - start
        score.add(text, marked, ((span.start, span.end) for span in found))
        characters += len(text)
        code = language(text)
        counts[code] = counts.get(code, 0) + 1
    return Line(name, score, characters, seconds, tuple(sorted(filter(None, counts), key=lambda code: -counts[code])))


def joined(lines: Sequence[Line]) -> Line:
    """All files as one."""
    score = Score()
    for line in lines:
        score = score.joined(line.score)
    return Line("all", score, sum(line.characters for line in lines), sum(line.seconds for line in lines), ())


def plain_seconds(texts: Iterable[str]) -> float:
    """Seconds of the processor that ``PLAIN`` takes for texts."""
    start = process_time()
    for text in texts:
        for pattern in PLAIN:
            for _ in pattern.finditer(text):
                pass
    return process_time() - start


def rows(lines: Iterable[Line]) -> Iterator[dict[str, str | float]]:
    """The figures of each line, rounded, by their names."""
    for line in lines:
        score = line.score
        yield {
            "file": line.name,
            "texts": score.documents,
            "leak": round(score.leak, 4),
            "precision": round(score.precision, 4),
            "over": round(score.over, 4),
            "clean spans": round(score.clean_spans, 4),
            "touched": round(score.touched_share, 4),
            "characters/s": round(line.characters / line.seconds) if line.seconds else 0,
            "languages": " ".join(line.languages[:3]),
        }
