"""Losses: records that could not be written, counted until the log takes one that says so."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from logging import getLogger
from threading import Lock
from typing import Final

from flujo_audit_advanced.errors import AuditError
from flujo_audit_advanced.log import AuditLog
from flujo_audit_advanced.record import encode_record, fresh_head

logger: Final = getLogger("flujo.audit")

GAP: Final = "audit.gap"
"""The kind of the record that says how many were lost."""


class Losses:
    """What a log did not take, and does not say yet. May be used from any thread."""

    def __init__(self) -> None:
        self._lost: Counter[str] = Counter()
        self._since = 0
        self._lock = Lock()

    def __bool__(self) -> bool:
        return bool(self._lost)

    def add(self, lost: Mapping[str, int], why: str) -> None:
        """Counts records by their kinds; the first since the log was well is told in the process's own log."""
        if not lost:
            return
        with self._lock:
            if not self._lost:
                self._since = time.time_ns() // 1000
                logger.error("records of the audit are being lost: %s", why)
            self._lost.update(lost)

    def tell(self, log: AuditLog) -> None:
        """Puts on record what was lost, if the log takes it."""
        if not self._lost:
            return
        with self._lock:
            lost, since = self._lost, self._since
            self._lost = Counter()
        if not lost:
            return
        gap = fresh_head(GAP) | {"since": since, "count": lost.total(), "kinds": dict(lost)}
        try:
            log.post(encode_record(gap))
        except AuditError:
            with self._lock:
                self._lost, self._since = self._lost + lost, since
            return
        logger.error("%d records of the audit were lost; a record says so", lost.total())

    def give_up(self) -> None:
        """Says that no record will tell of them: nobody writes the log any more."""
        with self._lock:
            lost, self._lost = self._lost, Counter()
        if lost:
            logger.critical("%d records of the audit were lost, and no record says so: %s", lost.total(), dict(lost))
