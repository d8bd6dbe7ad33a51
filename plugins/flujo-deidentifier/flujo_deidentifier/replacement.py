"""Replacement: what takes the place of a span, but for tokens, which need a vault."""

from __future__ import annotations

from flujo_deidentifier.dates import days_of, shifted
from flujo_deidentifier.errors import ValueBlocked
from flujo_deidentifier.generalise import generalised
from flujo_deidentifier.profile import Action
from flujo_deidentifier.span import Span
from flujo_deidentifier.surrogate import surrogate


def replacement(
    span: Span, text: str, action: Action, key: bytes, subject: str = "", *, attempt: int = 0
) -> str | None:
    """What takes the place of a span; None where it must be a token: a pure function of what is given.

    Args:
        span: The span; its indexes are into ``text``.
        text: The text.
        action: What the profile does with spans of its label.
        key: The key of surrogates and of the days by which dates move.
        subject: Whom the data is about; all dates of a subject move by the same days.
        attempt: Which of the possible surrogates, where the first is taken by another value.

    Raises:
        ValueBlocked: The profile lets spans of this label nowhere.
    """
    value = text[span.start : span.end]
    if action is Action.BLOCK:
        raise ValueBlocked(
            f"the text has a {span.label} from {span.start} to {span.end}, and the profile lets none through; remove it"
        )
    if action is Action.KEEP:
        return value
    if action is Action.SHIFT or (action is Action.SURROGATE and span.label == "DATE"):
        return shifted(value, days_of(key, subject)) if span.label == "DATE" else None
    if action is Action.SURROGATE:
        return surrogate(span.label, value, key, subject=subject, attempt=attempt)
    return generalised(span.label, value) if action is Action.GENERALISE else None
