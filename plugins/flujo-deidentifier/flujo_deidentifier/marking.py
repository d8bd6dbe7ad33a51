"""Marking: texts with what identifies taken out for good, as the command line gives them; there is no way back."""

from __future__ import annotations

from collections.abc import Mapping
from secrets import token_bytes

from flujo_deidentifier.errors import DeidentificationError
from flujo_deidentifier.finder import Finder
from flujo_deidentifier.replacement import replacement


class Marker:
    """Puts ``[PERSON-1]`` and the like in the places of values: equal values get equal marks, while it lives.

    What the profile gives surrogates, moves or generalises is treated so; the key for that is made up unless given.

    Args:
        finder: What finds the values; its profile says what is done with each.
        key: The key of surrogates and of the days by which dates move.
        subject: Whom the texts are about.
    """

    def __init__(self, finder: Finder, *, key: bytes | None = None, subject: str = "") -> None:
        self._finder = finder
        self._key = token_bytes(32) if key is None else key
        self._subject = subject
        self._numbers: dict[tuple[str, str], int] = {}
        self._counts: dict[str, int] = {}
        self.weak = 0
        """How many texts were in a language in which the detectors are weak."""

    def marked(self, text: str) -> str:
        """The text with marks.

        Raises: as ``Finder.find``, and ``ValueBlocked`` where the profile blocks what is in it.
        """
        found = self._finder.find(text)
        self.weak += found.weak
        parts: list[str] = []
        done = 0
        for span in found:
            action = self._finder.profile.action(span.label)
            new = replacement(span, text, action, self._key, self._subject)
            value = text[span.start : span.end]
            parts += (text[done : span.start], self._mark(span.label, value) if new is None else new)
            done = span.end
        return "".join([*parts, text[done:]])

    def marked_within(self, value: object, field: str | None = None) -> object:
        """A JSON value with marks in its texts, keys left as they are.

        Args:
            value: The value.
            field: The member of an object whose text is marked; None: all texts are, at any depth.

        Raises:
            DeidentificationError: A field was named that the value does not have as a text.
        """
        if field is not None:
            if not isinstance(value, Mapping) or not isinstance(value.get(field), str):
                raise DeidentificationError(
                    f"a line has no text '{field}'; name another field, or none to mark all texts"
                )
            return {**value, field: self.marked(value[field])}
        if isinstance(value, str):
            return self.marked(value)
        if isinstance(value, Mapping):
            return {key: self.marked_within(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self.marked_within(one) for one in value]
        return value

    def _mark(self, label: str, value: str) -> str:
        key = label, " ".join(value.split()).casefold()
        if key not in self._numbers:
            self._counts[label] = self._numbers[key] = self._counts.get(label, 0) + 1
        return f"[{label}-{self._numbers[key]}]"
