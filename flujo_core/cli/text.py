"""How values are written for people: times, amounts, costs; durations are in ``model/duration.py``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flujo_core.model.agent import Usage

MARKS = {
    "completed": "✓", "skipped": "↷", "failed": "✗", "refused": "✗", "cancelled": "■", "stopped": "■", "running": "…",
    "paused": "‖",
}  # fmt: skip
"""The mark of each status."""

STYLES = {
    "completed": "green", "skipped": "cyan", "failed": "red", "refused": "red", "cancelled": "yellow",
    "stopped": "yellow", "running": "blue", "paused": "magenta",
}  # fmt: skip
"""The colour of each status."""


def moment(at: float) -> str:
    """A time, to the second, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def iso(at: float | None) -> str | None:
    """A time for programs: ISO 8601, to the millisecond, in UTC."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def tokens(usage: Usage | None) -> str:
    """What an agent read and wrote: ``412 → 96 tokens``."""
    return f"{usage.input_tokens} → {usage.output_tokens} tokens" if usage and usage.requests else ""


def usage_facts(usage: Usage) -> dict[str, Any]:
    """A usage as a JSON object; its cost as text, which loses no digit."""
    return usage._asdict() | {"cost_usd": None if usage.cost_usd is None else str(usage.cost_usd)}


def cost(usage: Usage | None) -> str:
    """What an agent cost, in US dollars; of a model without a known price, that."""
    if usage is None or not usage.requests:
        return ""
    return "no known price" if usage.cost_usd is None else f"${usage.cost_usd:.4f}"
