"""Drivers as fixtures, and what they report at the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
IS_FULL = os.environ.get("FLUJO_FAULTS") == "full"  # read now: no test sees the environment's FLUJO_*

Drive = Callable[..., dict[str, Any]]
REPORTS: list[str] = []
PATIENCE = 3600 if IS_FULL else 240
"""Seconds for one order."""


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    """The process that forks: it has imported everything, and has one thread."""
    folder = tmp_path_factory.mktemp("driver")
    with (folder / "stderr").open("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", str(HERE / "driver.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=folder,
        )  # fmt: skip
        with process:
            yield process
            process.stdin.close()  # type: ignore[union-attr]


@pytest.fixture
def drive(driver: subprocess.Popen[str], tmp_path: Path) -> Drive:
    """Gives an order to the driver; gives its report."""

    def driven(what: str, name: str, count: int = 1, *, seed: int = 0, folder: Path | None = None) -> dict[str, Any]:
        assert driver.stdin and driver.stdout and driver.poll() is None, "the driver has ended"
        watch = threading.Timer(PATIENCE, driver.kill)
        watch.start()
        try:
            driver.stdin.write(json.dumps([what, name, count, seed, str(folder or made(tmp_path / "trials"))]) + "\n")
            driver.stdin.flush()
            answer = driver.stdout.readline()
        finally:
            watch.cancel()
        assert answer, "the driver took too long, or died"
        report: dict[str, Any] = json.loads(answer)
        assert "trouble" not in report, report["trouble"]
        return report

    return driven


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.fixture
def report() -> Callable[[str], None]:
    """Keeps a line for the end of the test run."""
    return REPORTS.append


@pytest.fixture
def is_full() -> bool:
    """Whether this is the long run."""
    return IS_FULL


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if REPORTS:
        terminalreporter.section("faults")
        for line in REPORTS:
            terminalreporter.write_line(line)
