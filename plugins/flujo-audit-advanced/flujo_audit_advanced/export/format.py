"""Format: what is made of a record for sinks that take any JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal, TypeAlias

from flujo_audit_advanced.export.ocsf import ocsf_event
from flujo_audit_advanced.export.sink import Exported

Format: TypeAlias = Literal["record", "ocsf"]
"""``record``: as it is in the log, with the log's name and the number; ``ocsf``: an event of OCSF."""


def line_of(one: Exported, form: Format) -> bytes:
    """A record as a line of JSON."""
    return one.line if form == "record" else json.dumps(ocsf_event(one)).encode() + b"\n"


def lines_of(records: Sequence[Exported], form: Format) -> bytes:
    """Records as lines of JSON."""
    return b"".join(line_of(one, form) for one in records)
