"""Stream: restores a text that comes in pieces, cut anywhere."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from flujo_deidentifier.placeholder import LONGEST, Kept, begun
from flujo_deidentifier.plainview import PlainView
from flujo_deidentifier.restore import Form, Found, Recall, Surrogates, filled, found_in
from flujo_deidentifier.token import EXACT


class TokenStream:
    """Restores one text, or one part of a reply, piece by piece.

    What all pieces give together is what the whole text would have given. It holds back what may be the beginning of
    a token or a surrogate, and never more than the longest one.

    Args:
        recall: Gives the values of tokens.
        form: What the text is; the arguments of a tool come as JSON.
        surrogates: Gives the session's surrogates, on the first piece.
    """

    def __init__(
        self, recall: Recall, form: Form = "text", surrogates: Callable[[], Surrogates | None] = lambda: None
    ) -> None:
        self._ask = recall
        self._form: Form = form
        self._ask_surrogates = surrogates
        self._surrogates: Surrogates | None = None
        self._asked: dict[str, Kept | None] = {}
        self._begun = False
        self._before = ""
        self._held = ""

    def __repr__(self) -> str:
        return f"<TokenStream that holds back {len(self._held)} characters>"

    @property
    def longest(self) -> int:
        """The most characters that it holds back."""
        return max(LONGEST, 0 if self._surrogates is None else self._surrogates.longest)

    def feed(self, piece: str) -> str:
        """What can be let go with this piece; it may be nothing."""
        if not self._begun:
            self._surrogates, self._begun = self._ask_surrogates(), True
        self._held += piece
        return self._let_go(is_last=False)

    def flush(self) -> str:
        """What was held back; called when the last piece has come."""
        return self._let_go(is_last=True)

    def _let_go(self, *, is_last: bool) -> str:
        """What is sure: which comes before all that may go on, and what cannot become anything else."""
        if not self._held:
            return ""
        text = self._before + self._held
        view = PlainView(text)
        found = found_in(text, self._recall, self._surrogates)
        sure, cut = (found, len(text)) if is_last else self._sure(view, found)
        gone = filled(text[:cut], sure, self._form)[len(self._before) :]
        if cut > len(self._before):
            last = view.text[view.at(cut) - 1 : view.at(cut)]
            self._before, self._held = last if last.isalnum() or last == "_" else " ", text[cut:]
        return gone

    def _sure(self, view: PlainView, found: Sequence[Found]) -> tuple[list[Found], int]:
        """What is found and stays so, and where what may become something begins."""
        sure: list[Found] = []
        floor = len(self._before)
        cut = self._open(view, floor)
        for one in found:
            is_whole = EXACT.fullmatch(view.original, one.start, one.end) is not None
            if not is_whole and (one.start >= cut or one.end == len(view.original)):
                return sure, min(cut, one.start)
            sure.append(one)
            floor = one.end
            cut = self._open(view, floor)
        return sure, cut

    def _open(self, view: PlainView, floor: int) -> int:
        """Where something may begin that has not come to its end."""
        begins = begun(view, floor)
        return begins if self._surrogates is None else min(begins, self._surrogates.begun(view, floor))

    def _recall(self, ids: Collection[str]) -> Mapping[str, Kept]:
        """What there is of these; each is asked for once."""
        if new := [one for one in ids if one not in self._asked]:
            kept = self._ask(new)
            self._asked.update({one: kept.get(one) for one in new})
        return {one: found for one in ids if (found := self._asked[one]) is not None}
