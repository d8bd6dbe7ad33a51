"""The kernel's log: where it goes, and that the application's set-up of structlog is kept."""

from __future__ import annotations

from typing import Any

import pytest
import structlog

from flujo_core.log import warning


def test_without_a_set_up_a_line_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    warning("plugin.left_out", plugin="acme")
    printed = capsys.readouterr()
    assert printed.out == "" and "plugin.left_out" in printed.err and "acme" in printed.err


def test_the_applications_set_up_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    lines: list[Any] = []

    def keep(logger: Any, method: str, event: Any) -> Any:
        lines.append((method, dict(event)))
        raise structlog.DropEvent

    structlog.configure(processors=[keep])
    try:
        warning("plugin.left_out", plugin="acme")
    finally:
        structlog.reset_defaults()
    assert lines == [("warning", {"event": "plugin.left_out", "plugin": "acme"})]
    printed = capsys.readouterr()
    assert printed.out == printed.err == ""
