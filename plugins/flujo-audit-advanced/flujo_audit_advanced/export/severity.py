"""Severity: how bad it is what a record tells of, in the numbers of syslog (RFC 5424, table 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def severity(fields: Mapping[str, Any]) -> int:
    """2 (critical): records were lost; 3 (error): a run failed or was refused; 4 (warning): a part; 6: others."""
    kind = str(fields["kind"])
    if kind in ("audit.gap", "log.records_lost", "log.recovered"):
        return 2
    if kind == "run.ended" and fields.get("status") in ("failed", "refused"):
        return 3
    return 4 if kind.endswith((".failed", ".refused", ".lapsed")) else 6
