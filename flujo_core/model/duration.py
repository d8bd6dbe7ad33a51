"""How durations are written for people."""

from __future__ import annotations


def span(seconds: float | None) -> str:
    """A duration: ``12 ms``, ``3.4 s``, ``2 min 05 s``, ``3 h 00 min``, ``2 d 06 h``; nothing for None."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:02.0f} s"
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    return f"{hours:.0f} h {minutes:02.0f} min" if hours < 24 else f"{hours // 24:.0f} d {hours % 24:02.0f} h"
