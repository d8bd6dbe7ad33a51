"""The checks find what they are there to find: a run is told to have gone wrong in each way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from dataclasses import replace
from checks import problems
from kit import Known, Trial

def line(stage, what, address, key=None, attempt=1, epoch=1):
    key = address if key is None else key
    return {"stage": stage, "what": what, "address": address, "key": key, "attempt": attempt, "epoch": epoch}

def log(stage, *addresses, epoch=1):
    return [line(stage, what, one, epoch=epoch) for one in addresses for what in ("start", "end")]

outcome = {"status": "completed", "output": 3, "context": {}}
known = Known(["a", "b"], [], [], [], [], [1, 2, 3], [1, 1, 1])
whole = Trial(outcome=outcome, after=known, log=log(1, "a", "b"))
before = Known(["a"], [], [], [], [], [1, 2], [1, 1])
good = Trial(kills=1, befores={2: before}, outcome=outcome, after=known, log=log(1, "a") + log(2, "b", epoch=2))
wrong = {
    "nothing": good,
    "unequal": replace(good, outcome=outcome | {"output": 4}),
    "committed, and run again": replace(good, log=good.log + log(2, "a", epoch=2)),
    "lost": replace(good, log=log(1, "a")),
    "too often": replace(good, log=good.log + log(2, "b", epoch=2)),
    "gaps": replace(good, after=known._replace(sequences=[1, 3])),
    "journal": replace(good, after=known._replace(committed=["a", "b", "b"])),
    "keys": replace(good, log=log(1, "a") + [line(2, "start", "b", key="x", epoch=2), line(2, "end", "b", epoch=2)]),
    "epochs": replace(good, log=log(1, "a", epoch=5) + log(2, "b", epoch=2)),
    "attempt": replace(
        good, befores={2: before._replace(failed=[["b", 1]])}, log=good.log,
    ),
    "hung": replace(good, trouble=["stage 1: a process hung"]),
}
print(*problems(whole, wrong[sys.argv[1]]), sep="\\n")
"""


@pytest.mark.parametrize(
    "what",
    ["nothing", "unequal", "committed, and run again", "lost", "too often", "gaps", "journal", "keys", "epochs",
     "attempt", "hung"],
)  # fmt: skip
def test_each_thing_that_can_go_wrong_is_found(what: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, what], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "" if what == "nothing" else what in done.stdout
