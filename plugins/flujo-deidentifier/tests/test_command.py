"""``flujo deid``: what it prints, and that it prints no value."""

import json
from pathlib import Path

import pytest
from flujo_deidentifier.bench import PLAIN, joined, measured, texts_of
from flujo_deidentifier.command import app
from flujo_deidentifier.finder import Finder
from flujo_deidentifier.score import Marked, Score
from typer.testing import CliRunner

from flujo_core import ConfigurationError

NOTE = "Dr. Anna Novak (MRN 12345678) saw the 93-year-old. Novak called 617-555-0199."
FAST = ["--detectors", "patterns,lists,structure"]


def run(*arguments: str, given: str | None = None) -> str:
    result = CliRunner().invoke(app, [*arguments, *FAST], input=given, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_texts_are_marked() -> None:
    marked = "[PERSON-1] (MRN [ID-1]) saw the 90+-year-old. [PERSON-2] called [PHONE-1].\n"
    assert run("text", NOTE) == marked
    assert run("text", given=NOTE + "\n") == marked


def test_files_are_marked(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text(NOTE, encoding="utf8")
    assert run("file", str(tmp_path / "note.txt"), "--out", str(tmp_path / "out.txt")) == ""
    assert (tmp_path / "out.txt").read_text(encoding="utf8").startswith("[PERSON-1] (MRN [ID-1])")


def test_json_lines_are_marked_at_any_depth(tmp_path: Path) -> None:
    rows = [{"id": 1, "notes": [{"text": NOTE}]}, {"id": 2, "notes": [{"text": "nothing here"}]}]
    (tmp_path / "notes.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf8")
    first, second = (json.loads(line) for line in run("jsonl", str(tmp_path / "notes.jsonl")).splitlines())
    assert first["id"] == 1 and first["notes"][0]["text"].startswith("[PERSON-1]")
    assert second == rows[1]


def test_a_line_that_cannot_be_marked_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.jsonl").write_text('{"text": "Anna Novak"}\nAnna Novak\n', encoding="utf8")
    for extra in ([], ["--field", "note"]):
        result = CliRunner().invoke(
            app, ["jsonl", str(tmp_path / "notes.jsonl"), *extra, *FAST, "--out", str(tmp_path / "o")]
        )
        assert result.exit_code and result.exception is not None and "Novak" not in str(result.exception)
        assert not (tmp_path / "o").exists()


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"short")
    result = CliRunner().invoke(app, ["text", NOTE, "--key-file", str(tmp_path / "key"), *FAST])
    assert isinstance(result.exception, ConfigurationError)


def test_decisions_are_explained_without_the_values() -> None:
    found = json.loads(run("explain", NOTE, "--json"))
    assert {"label", "score", "detector", "rule", "action", "reason"} <= set(found[0])
    assert "Novak" not in json.dumps(found) and "12345678" not in json.dumps(found)
    assert "rule" in run("explain", NOTE) and run("explain", "nothing here") == "nothing was found\n"


def test_marked_texts_are_scored(tmp_path: Path) -> None:
    rows = [
        {"id": "1", "text": "call Anna Novak", "spans": [{"start": 5, "end": 15, "label": "PERSON"}]},
        {"id": "2", "text": "nothing", "spans": []},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf8")
    (line,) = json.loads(run("bench", str(path), "--json"))
    assert (line["texts"], line["leak"], line["precision"], line["touched"]) == (2, 0.0, 1.0, 0.0)
    assert "x the speed of ten plain patterns" in run("bench", str(path), str(path)) and len(PLAIN) == 10
    one = measured(Finder(detectors=["patterns"]), "x", texts_of(path))
    assert one.score.leak == 1.0 and joined([one, one]).score.documents == 4


@pytest.mark.parametrize("line", ["{", '{"text": "a"}', '{"text": "a", "spans": [{"start": 0}]}', "[]"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "x.jsonl").write_text(line, encoding="utf8")
    with pytest.raises(ConfigurationError, match="line 1"):
        texts_of(tmp_path / "x.jsonl")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        texts_of(tmp_path / "none.jsonl")


def test_the_score_counts_letters_and_digits() -> None:
    score = Score()
    score.add("Ann Lee, ACME 12", [Marked(0, 7, "PERSON"), Marked(9, 13, "ORGANIZATION")], [(0, 3), (9, 13), (14, 15)])
    assert (score.hit, score.left, score.wrong, score.harmless, score.clean) == (3, 3, 1, 2, 0)
    assert (score.leak, score.precision, score.over) == (0.5, 0.75, 0.5)
