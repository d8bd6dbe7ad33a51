"""Resolution: of spans that overlap, what stays."""

from __future__ import annotations

from collections.abc import Iterable

from flujo_deidentifier.span import Span


def resolved(spans: Iterable[Span]) -> list[Span]:
    """Spans in order and without overlaps, that together cover every character that any of them does.

    Where two overlap, the one with the higher score gives the label of both; of equal ones, the longer.
    """
    kept: list[Span] = []
    for span in sorted(spans, key=lambda one: (one.start, -one.end)):
        if kept and span.start < kept[-1].end:
            kept[-1] = _joined(kept[-1], span)
        else:
            kept.append(span)
    return kept


def _joined(one: Span, other: Span) -> Span:
    best = max(one, other, key=lambda span: (span.score, span.end - span.start))
    return best._replace(start=min(one.start, other.start), end=max(one.end, other.end))
