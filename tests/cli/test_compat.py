"""``flujo runs compat``: before a deployment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from waiting_kit import here, killed, one_sentence, paused, write_pipelines


@pytest.fixture(autouse=True)
def folder(away_from_home: Path) -> Path:
    write_pipelines(away_from_home)
    return away_from_home


def compat(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    capsys.readouterr()
    code = here("runs", "compat", *arguments)
    return code, capsys.readouterr().out


def test_all_runs_that_have_not_ended_are_looked_at(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    paused("letter", "one")
    paused("letter", "two")
    assert here("resume", "one", "pipelines.py:letter", "--answer", '{"approved": true, "grade": "good"}') == 0
    killed("slow", "three", folder)
    code, shown = compat(capsys, "pipelines.py:letter")
    assert (code, shown) == (0, "✓ goes on      two\n")
    assert compat(capsys, "pipelines.py:slow") == (0, "✓ goes on      three\n")


def test_a_step_behind_what_has_begun_is_free_and_one_before_it_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    paused("letter", "one")
    assert compat(capsys, "pipelines.py:checked") == (0, "✓ goes on      one\n")
    code, shown = compat(capsys, "pipelines.py:late")
    head, difference = shown.splitlines()
    assert (code, head) == (1, "✗ is refused   one")
    assert "'letters/again' is new in a place where it would be skipped" in difference
    code, shown = compat(capsys, "pipelines.py:late", "--json")
    (one,) = json.loads(shown)
    assert code == 1 and one["goes_on"] is False
    assert [found["address"] for found in one["differences"]] == ["letters/again"]


def test_a_changed_body_is_a_warning(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    killed("slow", "one", folder)
    pipelines = folder / "pipelines.py"
    pipelines.write_text(pipelines.read_text().replace("asyncio.sleep(0.01)", "asyncio.sleep(0.025)"))
    code, shown = compat(capsys, "pipelines.py:slow")
    assert code == 0 and shown.splitlines()[0] == "✓ goes on      one"
    assert "warning: 'slow/linger' is under way, and does something else now" in shown


def test_it_is_silent_about_no_run(capsys: pytest.CaptureFixture[str]) -> None:
    paused("letter", "one")
    capsys.readouterr()
    assert here("runs", "compat", "pipelines.py:slow") == 0
    printed = capsys.readouterr()
    assert printed.out == "no run of pipeline 'slow' has not ended\n"
    assert (
        printed.err == "1 run that has not ended is of pipeline 'letters', and not looked at; name the runs to do so\n"
    )
    assert compat(capsys, "pipelines.py:slow", "one")[0] == 1


def test_a_run_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    paused("letter", "one")
    assert here("runs", "compat", "pipelines.py:letter", "two") == 2
    one_sentence(capsys.readouterr().err)


def test_nothing_is_run_and_nothing_is_written(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    paused("letter", "one")
    before = (folder / ".flujo" / "runs.db").read_bytes()
    assert compat(capsys, "pipelines.py:letter")[0] == 0
    assert (folder / ".flujo" / "runs.db").read_bytes() == before
