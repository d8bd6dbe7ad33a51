"""``flujo resume``: with answers from the command line, with somebody at the terminal, and without anybody."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from waiting_kit import Terminal, flujo, here, killed, one_sentence, paused, write_pipelines

from flujo_core.cli.answer import Field, Form, WrongAnswer
from flujo_core.store.sqlite import SQLiteStore

GOOD = '{"approved": true, "grade": "good"}'
PRINTED = '{"approved":true,"grade":"good","number":3,"notes":[],"remark":null}'


@pytest.fixture(autouse=True)
def folder(away_from_home: Path) -> Path:
    write_pipelines(away_from_home)
    return away_from_home


def resume(run_id: str, target: str, *arguments: str) -> int:
    return here("resume", run_id, f"pipelines.py:{target}", *arguments)


# --------------------------------------------------------------------------------------------------------- flujo run


def test_a_run_that_waits_is_no_failure_and_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert here("run", "pipelines.py:letter", "-i", "hello", "--run-id", "one") == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "‖ letters/approve  May 'HELLO' go?\n      token " in printed.err
    assert "go on with it: flujo resume one pipelines.py:letter\n" in printed.err


def test_as_json_it_has_its_questions_with_their_tokens() -> None:
    (question,) = paused("letter", "one")["questions"]
    assert (question["address"], question["text"], question["votes"]) == ("letters/approve", "May 'HELLO' go?", 0)
    assert len(question["token"]) == 32
    assert question["json_schema"]["required"] == ["approved", "grade"]


def test_a_token_is_given_out_once(capsys: pytest.CaptureFixture[str]) -> None:
    token = paused("letter", "one")["questions"][0]["token"]
    assert here("run", "pipelines.py:letter", "-i", "hello", "--run-id", "one", "--json") == 0
    assert json.loads(capsys.readouterr().out)["questions"][0]["token"] is None
    assert resume("one", "letter", "--json") == 4
    for command in (["runs", "show", "one", "--values"], ["runs", "show", "one", "--values", "--json"],
                    ["runs", "pending"], ["runs", "pending", "--json"], ["runs", "list", "--json"]):  # fmt: skip
        assert here(*command) == 0
    printed = capsys.readouterr()
    assert token not in printed.out + printed.err


def test_a_store_that_is_named_is_named_in_what_to_type_next(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--store", "sqlite:///my runs.db")
    assert here("run", "pipelines.py:letter", "-i", "x", "--run-id", "a b", *arguments) == 0
    assert "flujo resume 'a b' pipelines.py:letter --store 'sqlite:///my runs.db'\n" in capsys.readouterr().err
    assert resume("a b", "letter", "--answer", GOOD, *arguments) == 0


# ---------------------------------------------------------------------------------------------------------- --answer


def test_an_answer_from_the_command_line(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    paused("letter", "one")
    assert resume("one", "letter", "--answer", GOOD) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{PRINTED}\n" and "run one, completed" in printed.err
    assert "✓ letters/send" in printed.err and "letters/read" not in printed.err  # which ran before
    assert (folder / "read.txt").read_text() == "read\n"  # once


def test_the_same_answer_twice_is_taken_once(capsys: pytest.CaptureFixture[str]) -> None:
    token = paused("letter", "one")["questions"][0]["token"]
    assert resume("one", "letter", "--answer", GOOD, "--token", token) == 0
    capsys.readouterr()
    assert resume("one", "letter", "--answer", GOOD, "--token", token) == 2
    one_sentence(capsys.readouterr().err)


def test_a_wrong_answer_changes_nothing_and_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    paused("letter", "one")
    assert resume("one", "letter", "--answer", '{"approved": "canary"}') == 2
    printed = capsys.readouterr()
    one_sentence(printed.err)
    assert "'approved' (bool_parsing), 'grade' (missing)" in printed.err and "canary" not in printed.err
    assert resume("one", "letter", "--answer", "neither JSON nor right") == 2
    assert resume("one", "letter", "--answer", GOOD) == 0


def test_several_questions_need_an_address_or_a_token(capsys: pytest.CaptureFixture[str]) -> None:
    questions = {one["address"]: one for one in paused("two", "one")["questions"]}
    assert resume("one", "two", "--answer", "y") == 2
    assert "waits on 2 questions" in capsys.readouterr().err
    assert resume("one", "two", "--answer", "y", "--address", "two[c]/c") == 2
    assert "no open question at 'two[c]/c'; it waits for an answer at 'two[a]/a', 'two[b]/b'" in capsys.readouterr().err
    assert resume("one", "two", "--answer", "y", "--address", "two[a]/a", "--json") == 0
    assert [one["address"] for one in json.loads(capsys.readouterr().out)["questions"]] == ["two[b]/b"]
    token = questions["two[b]/b"]["token"]
    assert resume("one", "two", "--answer", "fine", "--token", token, "--approver", "bob") == 2
    assert "is for 'anna' to answer" in capsys.readouterr().err
    assert resume("one", "two", "--answer", "fine", "--token", token, "--approver", "anna", "--json") == 0
    assert json.loads(capsys.readouterr().out)["output"] == {"a": True, "b": "fine"}


def test_an_address_voids_the_token_that_was_given_out(capsys: pytest.CaptureFixture[str]) -> None:
    token = paused("letter", "one")["questions"][0]["token"]
    assert resume("one", "letter", "--answer", "{}", "--address", "letters/approve") == 2
    assert resume("one", "letter", "--answer", GOOD, "--token", token) == 2
    assert resume("one", "letter", "--answer", GOOD) == 0


def test_none_is_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    paused("nothing", "one")
    assert resume("one", "nothing", "--answer", "null", "--json") == 0
    assert json.loads(capsys.readouterr().out) | {"output": None, "status": "completed"}


def test_votes_of_a_quorum_leave_the_token_of_the_others_in_force(capsys: pytest.CaptureFixture[str]) -> None:
    token = paused("voted", "one")["questions"][0]["token"]
    assert resume("one", "voted", "--answer", "yes", "--approver", "anna", "--json") == 0
    assert json.loads(capsys.readouterr().out)["questions"][0]["votes"] == 1
    assert resume("one", "voted", "--answer", "yes", "--approver", "bob", "--token", token, "--json") == 0
    assert json.loads(capsys.readouterr().out)["output"] is True


# -------------------------------------------------------------------------------------------- without an answer


def test_without_a_terminal_it_says_what_is_open_and_exits_with_4(capsys: pytest.CaptureFixture[str]) -> None:
    paused("letter", "one")
    done = flujo("resume", "one", "pipelines.py:letter")
    assert done.returncode == 4 and done.stdout == ""
    assert done.stderr.splitlines()[-1] == (
        "flujo: run 'one' cannot go on; it waits for an answer at 'letters/approve'; give one by '--answer'"
    )


def test_a_run_that_has_ended_is_told_again(capsys: pytest.CaptureFixture[str]) -> None:
    paused("letter", "one")
    assert resume("one", "letter", "--answer", GOOD) == 0
    capsys.readouterr()
    assert resume("one", "letter") == 0
    assert capsys.readouterr().out == f"{PRINTED}\n"


def test_a_crashed_run_goes_on(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    killed("slow", "one", folder)
    assert here("runs", "list") == 0
    assert "… running    one" in (shown := capsys.readouterr().out) and shown.rstrip().endswith("crashed")
    (folder / "go").touch()
    assert resume("one", "slow") == 0
    assert capsys.readouterr().out == "HELLO!\n"
    assert (folder / "read.txt").read_text() == "read\n"


def test_what_has_failed_is_tried_again_where_that_is_asked_for(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    assert here("run", "pipelines.py:failing", "-i", "x", "--run-id", "one", "--json") == 1
    (folder / "go").touch()
    assert resume("one", "failing") == 1
    capsys.readouterr()
    assert resume("one", "failing", "--retry-failed") == 0
    assert capsys.readouterr().out == "X!\n"


@pytest.mark.parametrize("command", ["resume", "cancel"])
def test_a_run_that_there_is_not(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert here(command, "one", "pipelines.py:letter") == 2
    assert "there is no run 'one': the store sqlite:///.flujo/runs.db does not exist yet" in capsys.readouterr().err
    paused("letter", "two")
    assert here(command, "one", "pipelines.py:letter") == 2
    printed = capsys.readouterr()
    one_sentence(printed.err)
    assert "there is no run 'one' in the store" in printed.err


def test_another_pipeline_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    paused("letter", "one")
    assert resume("one", "slow", "--answer", GOOD) == 2
    printed = capsys.readouterr()
    one_sentence(printed.err)
    assert "cannot go on with this pipeline" in printed.err


def test_a_run_that_somebody_else_goes_on_with_exits_with_4(capsys: pytest.CaptureFixture[str]) -> None:
    paused("letter", "one")

    async def hold() -> None:
        store = SQLiteStore(".flujo/runs.db")
        await store.acquire("one", "host|boot|1|1|1", 60.0)
        await store.close()

    asyncio.run(hold())
    assert resume("one", "letter", "--answer", GOOD, "--json") == 0
    assert json.loads(capsys.readouterr().out)["status"] == "running"
    assert resume("one", "letter") == 4
    one_sentence(capsys.readouterr().err)


# ---------------------------------------------------------------------------------------------------- in a terminal


def test_somebody_at_the_terminal_is_asked_field_by_field(folder: Path) -> None:
    paused("letter", "one")
    terminal = Terminal("resume", "one", "pipelines.py:letter")
    assert "May 'HELLO' go?" in terminal.until("approved (y/n): ")
    terminal.type("perhaps")
    terminal.until("that is no y/n")
    terminal.until("approved (y/n): ")
    terminal.type("Y")
    terminal.until("grade (good, bad): ")
    terminal.type("fair")
    terminal.until("that is none of: good, bad")
    terminal.until("grade (good, bad): ")
    terminal.type("bad")
    terminal.until("number (whole number; empty: 3): ")
    terminal.type("many")
    terminal.until("number (whole number; empty: 3): ")
    terminal.type("7")
    terminal.until("notes (JSON list; empty: []): ")
    terminal.type('["a", "b"]')
    terminal.until("remark (text or nothing; empty: null): ")
    terminal.type("")
    code, rest = terminal.end()
    assert '{"approved":true,"grade":"bad","number":7,"notes":["a","b"],"remark":null}' in rest
    assert code == 0 and "run one, completed" in rest


def test_what_only_the_model_finds_wrong_is_asked_again() -> None:
    paused("letter", "one")
    terminal = Terminal("resume", "one", "pipelines.py:letter")
    for given in ("y", "good", "", "[1]", ""):
        terminal.until("): ")
        terminal.type(given)
    assert "'notes.0' (string_type); once more" in terminal.until("approved (y/n): ")
    terminal.type("y")
    for given in ("good", "", "", ""):
        terminal.until("): ")
        terminal.type(given)
    code, rest = terminal.end()
    assert code == 0 and PRINTED in rest


def test_all_questions_are_asked_and_who_answers_where_it_matters() -> None:
    paused("two", "one")
    terminal = Terminal("resume", "one", "pipelines.py:two")
    assert "A?" in terminal.until("answer (y/n): ")
    terminal.type("n")
    assert "B?\n      by anna\n" in terminal.until("who answers: ")
    terminal.type("anna")
    terminal.until("answer (text): ")
    terminal.type("")
    terminal.until('"" is the empty text')
    terminal.until("answer (text): ")
    terminal.type("all is well")
    code, rest = terminal.end()
    assert code == 0 and '"b": "all is well"' in rest


def test_an_address_says_which_is_asked() -> None:
    paused("two", "one")
    terminal = Terminal("resume", "one", "pipelines.py:two", "--address", "two[b]/b", "--approver", "anna")
    assert "A?" not in terminal.until("answer (text): ")
    terminal.type("fine")
    code, rest = terminal.end()
    assert code == 0 and "run one, paused" in rest and "A?" in rest


def test_who_leaves_leaves_open_what_is_open(capsys: pytest.CaptureFixture[str]) -> None:
    paused("letter", "one")
    terminal = Terminal("resume", "one", "pipelines.py:letter")
    terminal.until("approved (y/n): ")
    terminal.leave()
    code, rest = terminal.end()
    assert code == 0 and "what is open stays open" in rest and "go on with it: flujo resume one" in rest
    assert resume("one", "letter", "--answer", GOOD) == 0


def test_an_interrupt_at_the_prompt_leaves_the_run_waiting(capsys: pytest.CaptureFixture[str]) -> None:
    paused("letter", "one")
    terminal = Terminal("resume", "one", "pipelines.py:letter")
    terminal.until("approved (y/n): ")
    terminal.process.send_signal(2)
    code, rest = terminal.end()
    assert code == 130 and "interrupted" in rest and "Traceback" not in rest
    assert "see what became of it: flujo runs show one" in rest
    assert resume("one", "letter", "--answer", GOOD) == 0


def test_somebody_else_is_faster(capsys: pytest.CaptureFixture[str]) -> None:
    paused("letter", "one")
    terminal = Terminal("resume", "one", "pipelines.py:letter")
    terminal.until("approved (y/n): ")
    assert resume("one", "letter", "--answer", GOOD) == 0
    terminal.type("n")
    for given in ("bad", "", "", ""):
        terminal.until("): ")
        terminal.type(given)
    code, rest = terminal.end()
    assert code == 0 and "is not open any more" in rest
    assert PRINTED in rest  # as it went on with the other's answer


def test_run_asks_whether_to_answer_now() -> None:
    terminal = Terminal("run", "pipelines.py:letter", "-i", "hello", "--run-id", "one")
    terminal.until("answer now? (y/n): ")
    terminal.type("y")
    for given in ("y", "good", "", "", ""):
        terminal.until("): ")
        terminal.type(given)
    code, rest = terminal.end()
    assert code == 0 and PRINTED in rest


def test_run_asks_nobody_who_does_not_want_it() -> None:
    terminal = Terminal("run", "pipelines.py:letter", "-i", "hello", "--run-id", "one")
    assert "go on with it: flujo resume one" in terminal.until("answer now? (y/n): ")
    terminal.type("n")
    assert terminal.end()[0] == 0


# --------------------------------------------------------------------------------------------------------- answers

NUMBER = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^[-+]?\d*\.?\d+$"}]}
SHARED = {"$defs": {"Size": {"enum": ["s", "m", 3]}}, "$ref": "#/$defs/Size"}


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "boolean"}, "No", False),
        ({"type": "integer"}, "-3", -3),
        ({"type": "number"}, "2.5", 2.5),
        ({"type": "string"}, "5", "5"),
        ({"type": "string"}, '"in quotes"', "in quotes"),
        ({"type": "string"}, '""', ""),
        ({"type": "null"}, "", None),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "null", None),
        ({"anyOf": [{"type": "string"}, {"type": "boolean"}]}, "yes", True),
        (NUMBER, "1.10", "1.10"),
        (SHARED, "m", "m"),
        (SHARED, "3", 3),
        ({"const": "go"}, "go", "go"),
        ({"type": "array", "items": {"type": "integer"}}, "[1]", [1]),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, '{"a": 1}', {"a": 1}),
        ({}, "no JSON", "no JSON"),
        ({}, "[1]", [1]),
    ],
)
def test_texts_are_read_by_the_schema(schema: dict[str, Any], text: str, value: object) -> None:
    found = Form(schema).read(text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "boolean"}, "1"),
        ({"type": "integer"}, "2.5"),
        ({"type": "number"}, "true"),
        ({"type": "string"}, ""),
        ({"type": "null"}, "none"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "x"),
        (SHARED, "l"),
        ({"type": "array"}, "{}"),
        ({"type": "object"}, "[]"),
        ({"type": "object"}, "{"),
    ],
)
def test_texts_that_are_no_answer(schema: dict[str, Any], text: str) -> None:
    with pytest.raises(WrongAnswer, match=r"that is no|an answer is needed"):
        Form(schema).read(text)


def test_hints_say_what_a_field_takes() -> None:
    form = Form({})
    assert form.hint(Field("", {"type": "string", "format": "date"}, True)) == "date"
    assert form.hint(Field("x", NUMBER, False)) == "number or text; empty: left out"
    assert Form(SHARED).hint(Form(SHARED).fields[0]) == "s, m, 3"
