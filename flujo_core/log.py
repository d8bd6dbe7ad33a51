"""The kernel's log: structlog, imported with the first line. Values of a run are never logged."""

from __future__ import annotations

import sys


def warning(event: str, **facts: object) -> None:
    """Logs a warning: as the application has set structlog up, else on stderr.

    Args:
        event: Its name: ``plugin.failure_passed_over``.
        facts: What there is to know; names, counts and Flujo's own messages, no values of the run.
    """
    import structlog  # noqa: PLC0415 - most runs log nothing

    if structlog.is_configured():
        structlog.get_logger("flujo").warning(event, **facts)
    else:
        structlog.wrap_logger(structlog.PrintLogger(sys.stderr)).warning(event, **facts)
