"""Recipes in a process that is killed: another one goes on, with functions that it has made anew."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = '''
import os
import signal
from pathlib import Path

from flujo_core import (
    Checklist, ChecklistItem, Flujo, Review, ReviewIssue, Round, RunInfo, best_of, refine, scoring, step,
)


def note(info: RunInfo) -> int:
    """Writes down which step runs; how often it has."""
    with Path("log.txt").open("a") as log:
        log.write(f"{info.address}\\n")
    return Path("log.txt").read_text().splitlines().count(info.address)


def killed(info: RunInfo) -> None:
    if note(info) == 1:
        os.kill(os.getpid(), signal.SIGKILL)


@step
async def draft(topic: str, info: RunInfo) -> str:
    if "candidates[2]" in info.address:
        killed(info)
        return topic + "!"
    note(info)
    return topic


@step
async def write(now: Round[str, str, Review], info: RunInfo) -> str:
    if now.draft is not None:
        killed(info)
        return now.draft + " again"
    note(info)
    return now.task


@step
async def critique(text: str, info: RunInfo) -> Review:
    note(info)
    return Review(issues=[] if "again" in text else [ReviewIssue(severity="major", what="Once is not enough.")])


long = scoring("score", checklist=Checklist(ChecklistItem("long", lambda text: len(text) / 10)))
best = best_of("best", 2, draft, score=long, max_concurrency=1)
better = refine("better", write, critique, until=lambda review: review.approved, max_rounds=3)
print(Flujo(best >> better, store="sqlite:///runs.db").run("tea", run_id="r").output)
'''


def test_a_killed_recipe_goes_on_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM, "utf-8")
    ends = [
        subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
        for _ in range(3)
    ]
    assert [done.returncode for done in ends] == [-9, -9, 0], ends[-1].stderr
    assert ends[-1].stdout == "tea! again\n"
    assert (tmp_path / "log.txt").read_text("utf-8").splitlines() == [
        "best/candidates[1]/candidate/draft",
        "best/candidates[2]/candidate/draft",
        "best/candidates[2]/candidate/draft",
        "better/rounds[1]/write",
        "better/rounds[1]/critique",
        "better/rounds[2]/write",
        "better/rounds[2]/write",
        "better/rounds[2]/critique",
    ]
