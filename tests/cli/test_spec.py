"""Pipelines in files of YAML and JSON: ``flujo run``, ``flujo check``, ``flujo diagram``, ``flujo spec``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from flujo_core import pipeline_spec_schema
from flujo_core.cli.main import run_command

SPEC = """format: flujo/1
steps:
- call: specflow_steps:shout
- loop: again
  until: specflow_steps:long
  max_iterations: 5
  body:
    call: specflow_steps:double
"""
STEPS = """
from flujo_core import step

@step
async def shout(text: str) -> str:
    return text.upper()

@step
async def double(text: str) -> str:
    return text + text

def long(text: str) -> bool:
    return len(text) > 6

flow = shout >> double
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "flow.yaml").write_text(SPEC)
    (tmp_path / "specflow_steps.py").write_text(STEPS)
    (tmp_path / "flujo.toml").write_text('[specs]\nimport_prefixes = ["specflow_steps"]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "specflow_steps", raising=False)
    return tmp_path


def test_a_pipeline_in_a_file_is_a_target(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["run", "flow.yaml", "--input", "hi"]) == 0
    assert capsys.readouterr().out == "HIHIHIHI\n"
    assert run_command(["check", "flow.yaml"]) == 0
    assert "flow.yaml is sound: it takes 'str' and gives 'str'" in capsys.readouterr().out
    assert run_command(["diagram", "flow.yaml", "--text"]) == 0
    assert "double" in capsys.readouterr().out


def test_json_is_a_target_too_and_runs_go_on_with_it(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "flow.json").write_text(json.dumps(yaml.safe_load(SPEC)))
    assert run_command(["run", "flow.json", "--input", "hi", "--run-id", "one"]) == 0
    assert run_command(["runs", "compat", "flow.json"]) == 0
    assert run_command(["run", "flow.json", "--input", "hi", "--run-id", "one"]) == 0
    assert capsys.readouterr().out.count("HIHIHIHI") == 2


@pytest.mark.parametrize("command", ["run", "check", "diagram"])
def test_a_spec_may_not_import_what_the_configuration_does_not_allow(
    command: str, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    (folder / "flujo.toml").write_text("")
    assert run_command([command, "flow.yaml"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(
        "flujo: the pipeline spec 'flow.yaml', line 3, at 'steps[0].call': 'specflow_steps:shout' is"
    )
    assert "import_prefixes" in said and said.count("\n") == 1 and "specflow_steps" not in sys.modules


def test_a_file_that_is_not_there_or_says_nothing_exits_with_2(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    assert run_command(["run", "none.yml"]) == 2
    assert "the pipeline spec 'none.yml' cannot be read: No such file" in capsys.readouterr().err
    assert run_command(["run", "flow"]) == 2
    assert "or 'pipeline.yaml'" in capsys.readouterr().err


def test_show_prints_what_run_takes(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert run_command(["spec", "show", "specflow_steps:flow"]) == 0
    text = capsys.readouterr().out
    assert yaml.safe_load(text) == {
        "format": "flujo/1", "steps": [{"call": "specflow_steps:shout"}, {"call": "specflow_steps:double"}],
    }  # fmt: skip
    (folder / "shown.yaml").write_text(text)
    assert run_command(["spec", "show", "shown.yaml"]) == 0
    assert capsys.readouterr().out == text
    assert run_command(["spec", "show", "shown.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == yaml.safe_load(text)


def test_show_refuses_what_only_a_file_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["spec", "show", "specflow_steps.py:flow"]) == 2
    assert "give the target as 'module:attr'" in capsys.readouterr().err


def test_show_without_pyyaml_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    monkeypatch.delitem(sys.modules, "flujo_core.agents.yaml_text", raising=False)
    assert run_command(["spec", "show", "specflow_steps:flow"]) == 2
    assert "pip install 'flujo-core[yaml]', or '--json'" in capsys.readouterr().err
    assert run_command(["spec", "show", "specflow_steps:flow", "--json"]) == 0
    assert run_command(["run", "flow.yaml"]) == 2
    assert "pip install 'flujo-core[yaml]'" in capsys.readouterr().err


def test_the_schema_is_for_editors(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["spec", "schema"]) == 0
    assert json.loads(capsys.readouterr().out) == pipeline_spec_schema()
