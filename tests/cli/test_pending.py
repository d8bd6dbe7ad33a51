"""``flujo runs pending``, and what ``runs list`` and ``runs show`` say of runs that wait."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from waiting_kit import here, paused, write_pipelines


@pytest.fixture(autouse=True)
def folder(away_from_home: Path) -> Path:
    write_pipelines(away_from_home)
    return away_from_home


def pending(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[tuple[str, str]]:
    capsys.readouterr()
    assert here("runs", "pending", "--json", *arguments) == 0
    return [(one["run_id"], one["address"]) for one in json.loads(capsys.readouterr().out)]


def test_the_oldest_comes_first(capsys: pytest.CaptureFixture[str]) -> None:
    paused("two", "one", tenant="acme")
    paused("letter", "two")
    first, second = ("one", "two[a]/a"), ("one", "two[b]/b")
    assert pending(capsys) == [first, second, ("two", "letters/approve")]
    assert pending(capsys, "--tenant", "acme") == [first, second]
    assert pending(capsys, "--run", "two") == [("two", "letters/approve")]


def test_a_question_is_shown_with_its_text_and_terms(capsys: pytest.CaptureFixture[str]) -> None:
    paused("voted", "one")
    assert here("resume", "one", "pipelines.py:voted", "--answer", "y", "--approver", "anna", "--json") == 0
    capsys.readouterr()
    assert here("runs", "pending") == 0
    head, text, terms = capsys.readouterr().out.splitlines()
    assert head.startswith("run one, asked 20") and head.endswith("UTC")
    assert (text, terms) == ("  ‖ vote  All of you?", "      by anna, bob; 1 of 2 votes")


def test_what_is_answered_is_not_listed(capsys: pytest.CaptureFixture[str]) -> None:
    paused("two", "one")
    assert here("resume", "one", "pipelines.py:two", "--answer", "y", "--address", "two[a]/a") == 0
    assert pending(capsys) == [("one", "two[b]/b")]
    assert here("cancel", "one", "pipelines.py:two") == 0
    assert pending(capsys) == []


def test_nothing_is_asked_and_no_file_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    assert here("runs", "pending") == 0
    assert capsys.readouterr().out == "nothing is asked\n"
    assert not Path(".flujo").exists()


def test_runs_show_has_questions_and_their_texts_only_where_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    paused("letter", "one")
    capsys.readouterr()
    assert here("runs", "show", "one") == 0
    shown = capsys.readouterr().out
    assert "‖ paused  run one" in shown and "? letters/approve  open, asked " in shown and "HELLO" not in shown
    answer = '{"approved": true, "grade": "good", "remark": "canary"}'
    assert here("resume", "one", "pipelines.py:letter", "--answer", answer, "--approver", "anna", "--json") == 0
    capsys.readouterr()
    assert here("runs", "show", "one", "--json") == 0
    text = capsys.readouterr().out
    assert "canary" not in text
    (question,) = json.loads(text)["questions"]
    assert (question["status"], question["approver"]) == ("answered", "anna")
    assert here("runs", "show", "one", "--values") == 0
    shown = capsys.readouterr().out
    assert "by anna" in shown and "May 'HELLO' go?" in shown and "canary" in shown


def test_runs_list_has_the_epoch_and_whether_a_run_has_crashed(capsys: pytest.CaptureFixture[str]) -> None:
    paused("letter", "one")
    assert here("runs", "list", "--json") == 0
    (run,) = json.loads(capsys.readouterr().out)
    assert (run["status"], run["epoch"], run["crashed"]) == ("paused", 1, False)
