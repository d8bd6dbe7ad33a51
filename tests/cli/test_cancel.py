"""``flujo cancel``."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest
from waiting_kit import FLUJO, here, paused, write_pipelines


@pytest.fixture(autouse=True)
def folder(away_from_home: Path) -> Path:
    write_pipelines(away_from_home)
    return away_from_home


def status(capsys: pytest.CaptureFixture[str], run_id: str) -> str:
    capsys.readouterr()
    assert here("runs", "show", run_id, "--json") == 0
    return str(json.loads(capsys.readouterr().out)["status"])


def test_a_run_that_waits_is_cancelled(capsys: pytest.CaptureFixture[str]) -> None:
    paused("letter", "one")
    assert here("cancel", "one", "pipelines.py:letter") == 0
    assert "run one, cancelled" in capsys.readouterr().err
    assert status(capsys, "one") == "cancelled"
    assert here("resume", "one", "pipelines.py:letter", "--answer", '{"approved": true, "grade": "good"}') == 2


def test_a_run_that_has_ended_stays_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    paused("nothing", "one")
    assert here("resume", "one", "pipelines.py:nothing", "--answer", "7") == 0
    assert here("cancel", "one", "pipelines.py:nothing", "--json") == 0
    assert status(capsys, "one") == "completed"


def test_a_run_of_another_process_is_cancelled_by_that(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    arguments = ["run", "pipelines.py:slow", "-i", "x", "--run-id", "one", "--json"]
    process = subprocess.Popen([*FLUJO, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 30
    while not (folder / "lingers.txt").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    assert here("cancel", "one", "pipelines.py:slow", "--json") == 0
    assert json.loads(capsys.readouterr().out)["status"] == "running"
    printed, said = process.communicate(timeout=30)
    assert process.returncode == 1, said
    assert json.loads(printed)["status"] == "cancelled"
    assert status(capsys, "one") == "cancelled"
