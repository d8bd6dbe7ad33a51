"""Again: names that were found once, wherever else the text has them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from flujo_deidentifier.span import Span

_WORD = re.compile(r"[^\W\d_](?:[^\W\d_]|['\u2019-](?=[^\W\d_]))+")
_SURE = frozenset({"given-and-surname", "title", "model", "name-words"})


def again(text: str, spans: Iterable[Span]) -> Iterator[Span]:
    """The words of found names at all their other places, such as a surname that later stands alone.

    Args:
        text: The text.
        spans: What was found in it.
    """
    taken: set[str] = set()
    for span in list(spans):
        if span.label != "PERSON" or span.rule not in _SURE or span.score < 0.6:
            continue
        words = _WORD.findall(text[span.start : span.end])
        for word in words[-1:] if len(words) > 1 else ():
            if word not in taken and len(word) > 2 and word[0].isupper():
                taken.add(word)
                yield from _places(text, word)


def _places(text: str, word: str) -> Iterator[Span]:
    at = text.find(word)
    while at >= 0:
        end = at + len(word)
        if not (text[at - 1 : at].isalnum() or text[end : end + 1].isalnum()):
            yield Span(at, end, "PERSON", 0.5, "finder", "again")
        at = text.find(word, end)
