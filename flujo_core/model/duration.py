"""How durations are written for people."""

from __future__ import annotations


def span(seconds: float | None) -> str:
    """A duration: ``12 ms``, ``3.4 s``, ``2 min 05 s``; nothing for None."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:02.0f} s"
