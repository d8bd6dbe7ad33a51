"""Stream: restores a text that comes in pieces, cut anywhere."""

from __future__ import annotations

import re
from typing import Final

from flujo_deidentifier.restore import Form, Recall, known_tokens, restored
from flujo_deidentifier.token import LONGEST

_OPENER: Final = re.compile(r"[\[\\&%]")
_RUN: Final = re.compile(r"\S*\Z")


class TokenStream:
    """Restores one text, or one part of a reply, piece by piece.

    What all pieces give together is what the whole text would have given. It holds back what may be the beginning of
    a token, and never more than the longest token.

    Args:
        recall: Gives the values.
        form: What the text is; the arguments of a tool come as JSON.
    """

    def __init__(self, recall: Recall, form: Form = "text") -> None:
        self._recall = recall
        self._form: Form = form
        self._before = ""
        self._held = ""

    def feed(self, piece: str) -> str:
        """What can be let go with this piece; it may be nothing."""
        self._held += piece
        return self._let_go(self._cut())

    def flush(self) -> str:
        """What was held back; called when the last piece has come."""
        return self._let_go(len(self._held))

    def _cut(self) -> int:
        """Where in what is held a token may begin that has not come to its end."""
        text, least = self._held, max(0, len(self._held) - LONGEST)
        known = known_tokens(self._before + text, self._recall)
        offset, closed = len(self._before), least
        for token, _ in known:
            end = token.end - offset
            if end < len(text):  # what comes after it has been seen
                closed = max(closed, end)
        run = _RUN.search(text, closed)
        cut = len(text) if run is None else run.start()
        if (opener := _OPENER.search(text, closed)) is not None:
            cut = min(cut, opener.start())
        spanning = (token.start - offset for token, _ in known if token.start - offset < cut < token.end - offset)
        return max(0, min(cut, *spanning, cut))

    def _let_go(self, cut: int) -> str:
        if cut == 0:
            return ""
        ready, self._held = self._held[:cut], self._held[cut:]
        whole = restored(self._before + ready, self._recall, self._form)
        gone, self._before = whole[len(self._before) :], ready[-1:]
        return gone
