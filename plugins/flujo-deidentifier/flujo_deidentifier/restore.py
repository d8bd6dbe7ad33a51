"""Restore: puts values in the places of their tokens and surrogates."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from flujo_deidentifier.placeholder import Kept, ids_in, placeholders_in
from flujo_deidentifier.plainview import LONGEST_ESCAPE, PlainView
from flujo_deidentifier.token import Token, tokens_in

Recall: TypeAlias = Callable[[Collection[str]], Mapping[str, Kept]]
"""Gives what there is of those tokens that stand for something, by id."""

Form: TypeAlias = Literal["text", "json"]
"""What the text is: ``json``: values are escaped, as they stand within quotes."""

_NEVER: Final = r"(?!)"
_IN_WORD: Final = re.compile(r"\w")


class Found(NamedTuple):
    """A piece of a text that stands for something.

    Attributes:
        start: Where it begins.
        end: Where it ends, exclusive.
        value: What it stands for.
    """

    start: int
    end: int
    value: str

    def __repr__(self) -> str:
        return f"<Found from {self.start} to {self.end}>"


def known_tokens(text: str, recall: Recall, *, exact: bool = False) -> list[tuple[Token, str]]:
    """The tokens of a text that stand for something, and for what; without those that are forged or of others.

    Args:
        text: The text.
        recall: Gives the values.
        exact: Whether only what is written as we write it counts.
    """
    if exact:
        written = list(tokens_in(text))
        kept = recall({one.id for one in written}) if written else {}
        return [(one, kept[one.id].value) for one in written if one.id in kept and kept[one.id].kind == one.kind]
    view = PlainView(text)
    if not (asked := ids_in(view)) or not (kept := recall(asked)):
        return []
    return [(one, kept[one.id].value) for one in placeholders_in(view, kept)]


class Surrogates:
    """The surrogates of a session, as they are found in a text.

    Args:
        made: What each stands for.
        within: Whether one is found inside of a word too.

    Attributes:
        longest: The most characters that one has as it is written in a text, and one more, which shows that it is over.
    """

    def __init__(self, made: Mapping[str, str], *, within: bool = False) -> None:
        self._values = {PlainView(one).text: value for one, value in made.items()}
        self._words = sorted(self._values)
        longest_first = sorted(self._words, key=len, reverse=True)
        before, after = ("", "") if within else (r"(?<!\w)", r"(?!\w)")
        self._pattern = re.compile("|".join(f"{before}{re.escape(one)}{after}" for one in longest_first) or _NEVER)
        self.longest = LONGEST_ESCAPE + 2 * max(map(len, made)) if made else 0

    def find(self, view: PlainView, taken: Sequence[tuple[int, int]] = ()) -> Iterator[Found]:
        """Those in a text, beside what is taken, from left to right, the longest first."""
        at, size = 0, len(view.original)
        for start, end in (*taken, (size, size)):
            stop = view.at(start)
            while (match := self._pattern.search(view.text, at)) is not None and match.start() < stop:
                at = match.start() + 1
                first, last = view.start(match.start()), view.start(match.end())
                if match.end() <= stop and last - first < self.longest:
                    at = match.end()
                    yield Found(first, last, self._values[match[0]])
            at = view.at(end)

    def begun(self, view: PlainView, start: int) -> int:
        """Where one may begin that has not come to its end; the end of the text where none does."""
        text = view.text
        for at in range(view.at(max(start, len(view.original) - self.longest)), len(text)):
            if (at == 0 or _IN_WORD.match(text[at - 1]) is None) and self._begins(text[at:]):
                return view.start(at)
        return len(view.original)

    def _begins(self, tail: str) -> bool:
        nearest = bisect_left(self._words, tail)
        return nearest < len(self._words) and self._words[nearest].startswith(tail)


def found_in(text: str, recall: Recall, surrogates: Surrogates | None = None, *, exact: bool = False) -> list[Found]:
    """All of a text that stands for something, from left to right.

    Args:
        text: The text.
        recall: Gives the values of tokens.
        surrogates: The session's; None: there are none.
        exact: Whether only tokens count that are written as we write them.
    """
    tokens = [Found(one.start, one.end, value) for one, value in known_tokens(text, recall, exact=exact)]
    if surrogates is None or not surrogates.longest:
        return tokens
    return sorted([*tokens, *surrogates.find(PlainView(text), [(one.start, one.end) for one in tokens])])


def restored(
    text: str, recall: Recall, form: Form = "text", surrogates: Surrogates | None = None, *, exact: bool = False
) -> str:
    """A text with the values in the places of what stands for them, in one pass: what is in a value stays as it is.

    Args:
        text: The text.
        recall: Gives the values of tokens.
        form: What the text is.
        surrogates: The session's; None: there are none.
        exact: Whether only tokens count that are written as we write them.
    """
    return filled(text, found_in(text, recall, surrogates, exact=exact), form)


def filled(text: str, found: Sequence[Found], form: Form = "text") -> str:
    """A text with values in their places."""
    parts, at = [], 0
    for one in found:
        parts += [text[at : one.start], json.dumps(one.value)[1:-1] if form == "json" else one.value]
        at = one.end
    return "".join((*parts, text[at:]))
