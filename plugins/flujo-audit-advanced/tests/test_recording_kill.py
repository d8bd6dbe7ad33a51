"""Processes that are killed at any point of a run: what was done is on record, and what has no outcome is seen."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from flujo_audit_advanced import AuditLog, verify_log
from flujo_audit_advanced.claims import Trust
from flujo_audit_advanced.keys import key_of
from recording_kit import SIGNER, recorded

DRIVER = Path(__file__).with_name("recording_driver.py")
POINTS = 20


def driven(what: str, folder: Path, point: int = -1) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, str(DRIVER), what, str(folder), str(point)]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)


def mended(folder: Path) -> bool:
    """Has the log recovered; gives whether it verifies then."""

    async def again() -> None:
        async with await AuditLog.open(folder / "log", SIGNER):
            pass

    asyncio.run(again())
    return verify_log(folder / "log", Trust(key=key_of("flujo.local/audit", SIGNER))).intact


def done(folder: Path) -> Counter[str]:
    """What was done, by the work itself."""
    file = folder / "done"
    return Counter(file.read_text().splitlines()) if file.exists() else Counter()


def begun(folder: Path) -> Counter[str]:
    """What is on record as begun, in the words of the work."""
    found: Counter[str] = Counter()
    for one in recorded(folder):
        if one["kind"] == "step.started":
            found[f"step {one['address'].rpartition('/')[2]}"] += 1
        if one["kind"] == "tool.called":
            found[f"tool {one['tool']}"] += 1
    return found


def killed(folder: Path, point: int) -> int:
    """Kills a process at a point; gives how many things were done then. One that writes less often may get past it."""
    folder.mkdir()
    ended = driven("kill", folder, point)
    assert ended.returncode in (-signal.SIGKILL, 0), ended.stderr
    assert mended(folder)
    work = done(folder)
    assert work <= begun(folder), (point, work - begun(folder))
    return work.total()


def test_wherever_a_process_is_killed_what_it_did_is_on_record(tmp_path: Path) -> None:
    folder = tmp_path / "whole"
    folder.mkdir()
    whole = driven("count", folder)
    assert whole.returncode == 0, whole.stderr
    count = int(whole.stdout)
    points = sorted({count * number // POINTS for number in range(POINTS)})
    with ThreadPoolExecutor(2) as pool:
        amounts = list(pool.map(lambda point: killed(tmp_path / str(point), point), points))
    assert len(points) == POINTS and min(amounts) == 0 and max(amounts) >= 5


def test_a_run_that_another_process_goes_on_with_has_all_of_it_on_record(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    count = int(driven("count", tmp_path).stdout)
    ended = driven("kill", folder, count * 2 // 3)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    before = begun(folder)
    again = driven("again", folder)
    assert again.returncode == 0, again.stderr
    found, work = recorded(folder), done(folder)
    del work["again"]
    assert work <= begun(folder) and begun(folder) > before
    kinds = [one["kind"] for one in found]
    assert kinds.count("app.started") == 2 and {"run.resumed", "run.continued", "run.ended"} <= {*kinds}
    started = Counter(one["address"] for one in found if one["kind"] == "step.started")
    completed = Counter(one["address"] for one in found if one["kind"] == "step.completed")
    assert {*started} == {*completed} and len(completed) == 6
    assert sum((started - completed).values()) <= 2  # begun before the kill, and again after it
    assert mended(folder)
