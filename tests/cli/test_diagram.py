"""``flujo diagram``: a pipeline, and what became of it in a run, as a person sees them."""

from __future__ import annotations

from pathlib import Path

import pytest
from mermaid_reader import read

from flujo_core.cli.main import run_command

PIPELINES = """
from flujo_core import Branch, Step, step

@step
async def size(text: str) -> int:
    return len(text)

@step
async def explode(size: int) -> int:
    raise ValueError("canary")

def even(size: int) -> bool:
    return size % 2 == 0

@step
async def half(size: int) -> int:
    return size // 2

route = Branch("route", on=even).case(True, half).case(False, explode)
pipeline = size >> route
broken = size >> Step.agent("ask", "acme/nobody", prompt="{{ input }}", input=int)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "routes.py").write_text(PIPELINES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_flowchart_of_the_pipeline(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["diagram", "routes.py:pipeline"]) == 0
    printed = capsys.readouterr()
    assert ("on even --> half", "True", "int") in read(printed.out).named() and printed.err == ""
    assert not Path(".flujo").exists()


def test_a_tree_of_the_pipeline(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["diagram", "routes.py:pipeline", "--text"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["str -> int", "├── size             str -> int"]


def test_a_run_that_failed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["run", "routes.py:pipeline", "-i", "odd", "--run-id", "r1", "--json"]) == 1
    capsys.readouterr()
    assert run_command(["diagram", "routes.py:pipeline", "--text", "--run", "r1"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("run r1 ") and "not taken" in printed and "failed, ValueError" in printed
    assert run_command(["diagram", "routes.py:pipeline", "--run", "r1"]) == 0
    chart = read(capsys.readouterr().out)
    assert chart.of("half").label == ["half", "not taken"] and chart.of("explode").style == "failed"


def test_a_run_in_another_store(capsys: pytest.CaptureFixture[str]) -> None:
    store = ["--store", "sqlite:///other.db"]
    assert run_command(["run", "routes.py:pipeline", "-i", "even", "--run-id", "r1", *store]) == 0
    assert run_command(["diagram", "routes.py:pipeline", "--run", "r1", *store]) == 0
    assert "run r1" in capsys.readouterr().out.replace("#45;", "-")


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["diagram", "routes.py:pipelin"], "has no 'pipelin'; did you mean 'pipeline'?"),
        (["diagram", "routes.py:broken"], "acme/nobody"),
        (["diagram", "routes.py:pipeline", "--run", "r1"], "there is no run 'r1'"),
        (["diagram"], "Missing argument"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(
    arguments: list[str], found: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(arguments) == 2
    printed = capsys.readouterr()
    assert found in printed.err and printed.err.count("\n") == 1 and printed.out == ""
