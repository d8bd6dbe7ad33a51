"""What the status of an HTTP response means for whoever may ask again."""

from __future__ import annotations

PASSING = frozenset({408, 409, 425, 429})
"""The statuses below 500 of which the same request may succeed later."""


def may_pass(status: int) -> bool:
    """Whether the same request may succeed later."""
    return status in PASSING or status >= 500
