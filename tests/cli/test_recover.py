"""``flujo runs recover``: after processes were killed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from waiting_kit import here, killed, one_sentence, paused, write_pipelines


@pytest.fixture(autouse=True)
def folder(away_from_home: Path) -> Path:
    write_pipelines(away_from_home)
    return away_from_home


def test_all_crashed_runs_of_a_pipeline_go_on(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    killed("slow", "one", folder)
    killed("slow", "two", folder)
    paused("letter", "three")
    (folder / "go").touch()
    capsys.readouterr()
    assert here("runs", "recover", "pipelines.py:slow") == 0
    assert capsys.readouterr().out.splitlines() == ["✓ completed    one", "✓ completed    two"]
    assert (folder / "read.txt").read_text() == "read\n" * 3  # once each
    assert here("runs", "recover", "pipelines.py:slow") == 0
    assert capsys.readouterr().out == "no run of pipeline 'slow' is to be recovered\n"
    assert here("runs", "recover", "pipelines.py:letter", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []  # it waits, and there is nothing new


def test_only_those_of_a_tenant(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    killed("slow", "one", folder)
    (folder / "go").touch()
    assert here("runs", "recover", "pipelines.py:slow", "--tenant", "acme", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []
    assert here("runs", "recover", "pipelines.py:slow", "--json") == 0
    (run,) = json.loads(capsys.readouterr().out)
    assert (run["run_id"], run["status"], run["output"], run["error"]) == ("one", "completed", "HELLO!", None)


def test_one_that_cannot_go_on_keeps_no_other_from_it(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    killed("slow", "one", folder)
    pipelines = folder / "pipelines.py"
    text = pipelines.read_text()
    pipelines.write_text(text + "\nread_again = read.named('first')\nslow = (read_again >> linger).named('slow')\n")
    killed("slow", "two", folder)
    (folder / "go").touch()
    capsys.readouterr()
    assert here("runs", "recover", "pipelines.py:slow") == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("✗ incompatible one  run 'one' cannot go on with this pipeline: 'slow/read' is not there")
    assert second == "✓ completed    two"


def test_without_a_store_there_is_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert here("runs", "recover", "pipelines.py:slow") == 2
    one_sentence(capsys.readouterr().err)
