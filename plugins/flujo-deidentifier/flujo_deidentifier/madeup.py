"""Made up: the surrogates of a session, drawn so that none is anything else in the conversation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from threading import RLock
from typing import Final

from flujo_deidentifier.plainview import PlainView
from flujo_deidentifier.profile import Action
from flujo_deidentifier.replacement import replacement
from flujo_deidentifier.restore import Surrogates
from flujo_deidentifier.span import Span
from flujo_deidentifier.token import kind_of
from flujo_deidentifier.vault import Scope, Vault

_MADE: Final = "made"
_SEEN: Final = "seen"
_TRIES: Final = 8
_SHORTEST: Final = 4
"""The fewest letters and digits of a surrogate: a shorter one, as an age, would be met where it stands for nothing."""


class MadeUp:
    """Makes the surrogates of sessions, and knows which there are.

    Args:
        vault: Where they are kept.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._lock = RLock()

    def __repr__(self) -> str:
        return f"<MadeUp in {self._vault!r}>"

    def of(self, scope: Scope) -> dict[str, str]:
        """The surrogates of a session, and what they stand for."""
        return dict(json.loads(one) for one in self._vault.of_kind(scope, _MADE))

    def surrogates(self, scope: Scope) -> Surrogates:
        """The surrogates of a session, as they are found in texts."""
        return Surrogates(self.of(scope))

    def has_given(self, text: str, scope: Scope) -> bool:
        """Whether a text is one that was de-identified in this session: its surrogates are such."""
        return self._vault.has(scope, _SEEN, text)

    def note_given(self, text: str, scope: Scope) -> None:
        """Remembers a text that was de-identified: no later surrogate is anything that stands in it."""
        self._vault.note(scope, _SEEN, [text])

    def replace(self, span: Span, text: str, action: Action, scope: Scope) -> str | None:
        """The surrogate of a span, the same in the whole session; None where there is none that can be told apart.

        Args:
            span: The span; its indexes are into ``text``.
            text: The text.
            action: What the profile does with it.
            scope: Whose it is.
        """
        value, key = text[span.start : span.end], self._vault.key(f"surrogates/{scope.tenant}/{scope.session}")
        with self._lock:
            known = self.of(scope)
            for made, stands_for in known.items():
                if stands_for == value:
                    return self._kept(made, value, scope)
            words = None
            for attempt in range(_TRIES):
                made_now = replacement(span, text, action, key, scope.subject, attempt=attempt)
                if made_now is None or sum(map(str.isalnum, made_now)) < _SHORTEST:
                    return None
                words = self._words(text, scope, known) if words is None else words
                if self._is_free(made_now, span.label, words, scope, known):
                    return self._kept(made_now, value, scope)
        return None

    def _kept(self, made: str, value: str, scope: Scope) -> str:
        self._vault.note(scope, _MADE, [json.dumps([made, value])])
        return made

    def _words(self, text: str, scope: Scope, known: Mapping[str, str]) -> str:
        """All that the session has said in clear, and the text."""
        surrogates = Surrogates(known)
        said = [text.casefold(), *(one.casefold() for one in known.values())]
        for given in self._vault.of_kind(scope, _SEEN):
            at = 0
            for one in surrogates.find(PlainView(given)):
                said.append(given[at : one.start].casefold())
                at = one.end
            said.append(given[at:].casefold())
        return "\n".join(said)

    def _is_free(self, made: str, label: str, words: str, scope: Scope, known: Mapping[str, str]) -> bool:
        plain = PlainView(made).text
        return (
            made.casefold() not in words
            and plain not in {PlainView(one).text for one in known}
            and not self._vault.has(scope, kind_of(label), made)
        )
