"""Restore: puts values in the places of their tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

from flujo_deidentifier.token import Token, tokens_in

Recall: TypeAlias = Callable[[Sequence[tuple[str, str]]], Mapping[tuple[str, str], str]]
"""Gives the values of those tokens, by kind and id, that stand for one."""

Form: TypeAlias = Literal["text", "json"]
"""What the text is: ``json``: values are escaped, as they stand within quotes."""


def known_tokens(text: str, recall: Recall, *, exact: bool = False) -> list[tuple[Token, str]]:
    """The tokens of a text that stand for something, and for what; without those that are forged or of others."""
    found = list(tokens_in(text, exact=exact))
    if not found:
        return []
    values = recall([(one.kind, one.id) for one in found])
    return [(one, values[one.kind, one.id]) for one in found if (one.kind, one.id) in values]


def restored(text: str, recall: Recall, form: Form = "text", *, exact: bool = False) -> str:
    """A text with the values in the places of their tokens, in one pass: what is in a value stays as it is.

    Args:
        text: The text.
        recall: Gives the values.
        form: What the text is.
        exact: Whether only tokens count that are written as we write them.
    """
    return _filled(text, known_tokens(text, recall, exact=exact), form)


def _filled(text: str, known: Sequence[tuple[Token, str]], form: Form) -> str:
    parts, at = [], 0
    for token, value in known:
        parts += [text[at : token.start], json.dumps(value)[1:-1] if form == "json" else value]
        at = token.end
    return "".join((*parts, text[at:]))
