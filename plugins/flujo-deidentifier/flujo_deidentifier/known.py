"""Known: values that somebody has labelled, which are masked wherever they stand in what a model is told."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from flujo_deidentifier.deidentifier import Deidentifier
from flujo_deidentifier.labelled import written
from flujo_deidentifier.plugin import CLEARED
from flujo_deidentifier.token import EXACT, kind_of
from flujo_deidentifier.vault import Scope


def remember(deidentifier: Deidentifier, scope: Scope, values: Iterable[tuple[Any, str]]) -> None:
    """Lets the vault know of labelled values, so that they are masked in whichever text of the session they stand.

    Args:
        deidentifier: Has the vault.
        scope: Whose values they are.
        values: The values, with their labels.
    """
    found = [(label, form) for one, label in values for form in written(one)]
    deidentifier.vault.remember(scope, [*dict.fromkeys(found)])


class Known:
    """The labelled values of a session, at one moment.

    Args:
        deidentifier: Has the vault.
        scope: Whose values.
    """

    def __init__(self, deidentifier: Deidentifier, scope: Scope) -> None:
        self._vault = deidentifier.vault
        self._scope = scope
        found = ((label, one) for label in CLEARED for one in self._vault.of_kind(scope, kind_of(label)))
        self._labels = {one.casefold(): label for label, one in found}
        words = "|".join(map(_as_word, sorted(self._labels, key=len, reverse=True)))
        self._words = re.compile(rf"(?i:{words})|{EXACT.pattern}") if words else None

    def hidden(self, value: Any) -> Any:
        """A value of JSON with tokens in the places of what is known: in texts and keys, and where it is a number."""
        if self._words is None:
            return value
        if isinstance(value, str):
            return self._words.sub(lambda match: self._token(match[0]), value)
        if isinstance(value, dict):
            return {self.hidden(key): self.hidden(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self.hidden(one) for one in value]
        is_known = value is not None and str(value).casefold() in self._labels
        return self._token(str(value)) if is_known else value

    def _token(self, text: str) -> str:
        """The token of a known text; what is no such text is a token already."""
        label = self._labels.get(text.casefold())
        return text if label is None else self._vault.remember(self._scope, [(label, text)])[0]


def _as_word(text: str) -> str:
    """The pattern of a text that is no part of a longer word."""
    before, after = (r"(?<!\w)" if text[0].isalnum() else ""), (r"(?!\w)" if text[-1].isalnum() else "")
    return before + re.escape(text) + after
