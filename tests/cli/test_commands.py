"""The commands as a person uses them: what they print, and their exit codes."""

from __future__ import annotations

import json
import os
import queue
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from flujo_core.cli.main import run_command

PIPELINES = """
from typing import Annotated
from pydantic import BaseModel
from flujo_core import From, Parallel, PipelineContext, Plugin, Retry, Step, Stop, Veto, step

class Query(BaseModel):
    number: int

class Count(PipelineContext):
    seen: int = 0

@step
async def repeat(query: Query, context: Count) -> str:
    context.seen = query.number
    return "x" * query.number

@step
def shout(text: str) -> str:
    return text.upper()

@step
async def same(text: str) -> str:
    return text

@step
async def explode(text: str) -> str:
    raise ValueError(f"canary {text}")

@step
async def stop(text: str) -> str | Stop:
    return Stop("enough")

@step(retry=Retry(attempts=2))
async def flaky(text: str, *, seen: list[int] = []) -> str:
    seen.append(1)
    if len(seen) < 2:
        raise ValueError(text)
    return text

@step
async def wrong(text: str) -> Query:
    return {"number": "many"}

@step
async def about(*, topic: Annotated[str, From.run_input]) -> str:
    return "about " + topic

named = about >> Parallel("both", loud=shout, same=same)
pipeline = repeat >> shout.named("in capitals")
words = same
failing = same >> explode
stopping = same >> stop >> shout
retried = (same >> flaky).named("inner") >> shout
number = 3
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pipelines.py").write_text(PIPELINES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _one_sentence(text: str) -> None:
    """What an error prints: one line, and no traceback."""
    assert text.count("\n") == 1 and text.startswith("flujo: "), text
    assert "Traceback" not in text


def test_run_prints_the_output_the_run_id_and_how_to_see_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["run", "pipelines.py:pipeline", "--input", '{"number": 3}']) == 0
    printed = capsys.readouterr()
    assert printed.out == "XXX\n"
    assert "✓ repeat" in printed.err and "✓ in%20capitals" in printed.err
    run_id = printed.err.partition("flujo runs show ")[2].strip()
    assert run_command(["runs", "show", run_id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run_id"] == run_id


def test_an_input_that_steps_take_by_name_is_of_the_type_that_they_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["check", "pipelines.py:named"]) == 0
    assert "it takes 'str' and gives 'dict[str, str]'" in capsys.readouterr().out
    assert run_command(["run", "pipelines.py:named", "-i", "tea", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["output"] == {"loud": "ABOUT TEA", "same": "about tea"}
    assert run_command(["runs", "show", result["run_id"], "--json"]) == 0
    assert [node["address"] for node in json.loads(capsys.readouterr().out)["nodes"]] == ["both"]
    assert run_command(["run", "pipelines.py:named"]) == 2


def test_run_as_json_prints_one_object_and_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["run", "pipelines.py:pipeline", "-i", '{"number": 1}', "--json", "--run-id", "mine"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    result = json.loads(printed.out)
    assert (result["run_id"], result["status"], result["output"]) == ("mine", "completed", "X")


def test_run_reads_a_file_and_stdin(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "in.txt").write_text("from a file")
    assert run_command(["run", "pipelines.py:words", "--input-file", "in.txt"]) == 0
    assert capsys.readouterr().out == "from a file\n"


def test_a_stopped_run_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["run", "pipelines.py:stopping", "-i", "x", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["status"], result["reason"], result["output"]) == ("stopped", "enough", None)


def test_a_failed_run_exits_with_1_and_is_in_the_journal(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["run", "pipelines.py:failing", "-i", "secret", "--json"]) == 1
    printed = capsys.readouterr()
    _one_sentence(printed.err)
    assert "step 'explode' failed: ValueError" in printed.err
    assert "canary" not in printed.err + printed.out and "secret" not in printed.err + printed.out
    assert json.loads(printed.out)["status"] == "failed"
    assert run_command(["runs", "list", "--json"]) == 0
    assert [run["status"] for run in json.loads(capsys.readouterr().out)] == ["failed"]


def test_a_wrong_value_of_a_step_is_named_by_its_field(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["run", "pipelines.py:wrong", "-i", "x", "--json"]) == 1
    assert "its output is not a 'Query': 'number' (int_parsing)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["run", "pipelines.py:pipelin", "-i", "1"], "has no 'pipelin'; did you mean 'pipeline'?"),
        (["run", "pipelines.py:number", "-i", "1"], "is a 'int', not a pipeline"),
        (["run", "nothing.py:x", "-i", "1"], "there is no file 'nothing.py'"),
        (["run", "no_such_module:x", "-i", "1"], "there is no module 'no_such_module'"),
        (["run", "pipelines", "-i", "1"], "names no pipeline"),
        (["run", "pipelines.py:pipeline"], "takes a 'Query'; give it by '--input'"),
        (["run", "pipelines.py:pipeline", "-i", '{"number": "many"}'], "'number' (int_parsing)"),
        (["run", "pipelines.py:words", "-f", "missing.txt"], "'missing.txt' cannot be read"),
        (["run", "pipelines.py:words", "-i", "a", "-f", "b"], "not both"),
        (["run", "pipelines.py:words", "-i", "a", "--store", "redis://x"], "names no store"),
        (["runs", "show", "unknown"], "there is no run 'unknown'"),
        (["-P", "local", "plugins", "list"], "write '-P no:NAME'"),
        (["demo", "--model", "local:smollm2", "-i", "missing.txt"], "'missing.txt' cannot be read"),
        (["-P", "no:flujo-local-model", "demo"], "'flujo-local-model', which is not installed or not allowed"),
        ([], "name a command"),
        (["runs"], "name a command"),
        (["nonsense"], "No such command 'nonsense'"),
        (["run", "pipelines.py:words", "--nonsense"], "No such option"),
    ],
)
def test_bad_usage_gives_one_sentence_and_exits_with_2(
    arguments: list[str], found: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(arguments) == 2
    printed = capsys.readouterr()
    assert found in printed.err
    _one_sentence(printed.err)


def test_a_pipeline_with_a_type_mismatch_exits_with_2(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "mismatch.py").write_text(PIPELINES + "\nbad = shout >> repeat\n")
    assert run_command(["check", "mismatch.py:bad"]) == 2
    printed = capsys.readouterr()
    assert "step 'shout' gives 'str' and the next step, 'repeat', takes 'Query'" in printed.err
    _one_sentence(printed.err)


def test_a_missing_model_key_is_found_and_exits_with_2(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (folder / "agents.py").write_text(
        "from pydantic_ai import Agent\nfrom flujo_core import Step\n"
        "ask = Step.agent('ask', Agent('openai:gpt-5', defer_model_check=True))\n"
        "nobody = Step.agent('ask', Agent('nobody:knows', defer_model_check=True))\n"
    )
    assert run_command(["run", "agents.py:ask", "-i", "x", "--json"]) == 2
    printed = capsys.readouterr()
    assert "the model 'openai:gpt-5' cannot be used" in printed.err and "OPENAI_API_KEY" in printed.err
    _one_sentence(printed.err)
    assert run_command(["run", "agents.py:nobody", "-i", "x", "--json"]) == 2
    assert "the model 'nobody:knows' cannot be used: pydantic-ai does not know the name" in capsys.readouterr().err


def test_a_model_that_does_not_answer_fails_the_run(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "silent.py").write_text(
        "from openai import AsyncOpenAI\nfrom pydantic_ai import Agent\n"
        "from pydantic_ai.models.openai import OpenAIChatModel\n"
        "from pydantic_ai.providers.openai import OpenAIProvider\nfrom flujo_core import Step\n"
        "client = AsyncOpenAI(base_url='http://127.0.0.1:9/v1', api_key='none', max_retries=0)\n"
        "model = OpenAIChatModel('gone', provider=OpenAIProvider(openai_client=client))\n"
        "ask = Step.agent('ask', Agent(model))\n"
    )
    assert run_command(["run", "silent.py:ask", "-i", "x", "--json"]) == 1
    printed = capsys.readouterr()
    assert "the model 'openai:gone' did not answer" in printed.err
    _one_sentence(printed.err)


def test_a_missing_required_plugin_exits_with_2(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "flujo.toml").write_text('[plugins]\nrequired = ["acme-vault"]\n')
    assert run_command(["run", "pipelines.py:words", "-i", "x"]) == 2
    printed = capsys.readouterr()
    assert "plugin 'acme-vault' is missing: it is required, and not installed" in printed.err
    _one_sentence(printed.err)


def test_a_configuration_that_means_nothing_exits_with_2(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "flujo.toml").write_text('[plugins]\nalow = ["x"]\n')
    assert run_command(["run", "pipelines.py:words", "-i", "x"]) == 2
    assert "'plugins.alow', which means nothing; did you mean 'allow'?" in capsys.readouterr().err


def test_a_refused_run_exits_with_3(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    _install_vetoing_plugin(folder)
    done = subprocess.run(
        [sys.executable, "-m", "flujo_core.cli", "run", "pipelines.py:words", "-i", "x", "--json"],
        env=os.environ | {"PYTHONPATH": str(folder / "site")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "plugin 'never' refused the run in 'pre_step_execution'" in done.stderr and "not today" in done.stderr
    _one_sentence(done.stderr)
    assert json.loads(done.stdout)["status"] == "refused"


def _install_vetoing_plugin(folder: Path) -> None:
    site = folder / "site"
    info = site / "never-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: never\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[flujo.plugins]\nnever = never:Never\n")
    (info / "RECORD").write_text("never.py,,\nnever-1.0.dist-info/METADATA,,\n")
    (site / "never.py").write_text(
        "from flujo_core import Plugin, Veto\n"
        "class Never(Plugin):\n"
        "    name = 'never'\n"
        "    async def pre_step_execution(self, call, /):\n"
        "        raise Veto('not today')\n"
    )


def test_check_lists_each_step_with_its_types(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["check", "pipelines.py:retried"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "pipelines.py:retried is sound: it takes 'str' and gives 'str'"
    assert [line.split()[0] for line in printed[1:]] == ["inner/same", "inner/flaky", "shout"]
    assert not Path(".flujo").exists()


def test_runs_show_is_a_tree_with_scopes_timings_and_attempts(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["run", "pipelines.py:retried", "-i", "x", "--json", "--run-id", "r1"]) == 0
    capsys.readouterr()
    assert run_command(["runs", "show", "r1"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("✓ completed  run r1")
    assert "── inner\n" in shown and "2 attempts" in shown and "✓ shout" in shown


def test_runs_show_has_values_only_where_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    run_command(["run", "pipelines.py:words", "-i", "canary", "--json", "--run-id", "r1"])
    capsys.readouterr()
    for arguments in (
        ["runs", "show", "r1"],
        ["runs", "show", "r1", "--json"],
        ["runs", "list"],
        ["runs", "list", "--json"],
    ):
        assert run_command(arguments) == 0
        assert "canary" not in capsys.readouterr().out
    for arguments in (["runs", "show", "r1", "--values"], ["runs", "show", "r1", "--json", "--values"]):
        assert run_command(arguments) == 0
        assert "canary" in capsys.readouterr().out


def test_runs_list_as_json_has_run_id_and_status_the_latest_first(capsys: pytest.CaptureFixture[str]) -> None:
    for run_id in ("a", "b", "c"):
        run_command(["run", "pipelines.py:words", "-i", "x", "--json", "--run-id", run_id, "--tenant", f"t-{run_id}"])
    capsys.readouterr()
    assert run_command(["runs", "list", "--json", "--limit", "2"]) == 0
    assert [(run["run_id"], run["status"]) for run in json.loads(capsys.readouterr().out)] == [
        ("c", "completed"),
        ("b", "completed"),
    ]
    assert run_command(["runs", "list", "--json", "--tenant", "t-a"]) == 0
    assert [run["run_id"] for run in json.loads(capsys.readouterr().out)] == ["a"]


def test_reading_makes_no_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["runs", "list"]) == 0
    assert capsys.readouterr().out == "no runs\n"
    assert not Path(".flujo").exists()


def test_the_default_store_is_hidden_from_git() -> None:
    assert run_command(["run", "pipelines.py:words", "-i", "x", "--json"]) == 0
    assert Path(".flujo/.gitignore").read_text() == "*\n"
    assert Path(".flujo/runs.db").exists()


def test_a_file_that_is_no_store_is_refused_and_left_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect("other.db") as other:
        other.execute("create table mine (a)")
    other.close()
    before = Path("other.db").read_bytes()
    assert run_command(["run", "pipelines.py:words", "-i", "x", "--json", "--store", "sqlite:///other.db"]) == 2
    assert "a database of something else" in capsys.readouterr().err
    assert Path("other.db").read_bytes() == before


def test_the_same_run_id_twice_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["run", "pipelines.py:words", "-i", "x", "--json", "--run-id", "once"]) == 0
    capsys.readouterr()
    assert run_command(["run", "pipelines.py:words", "-i", "y", "--json", "--run-id", "once"]) == 2
    assert "run 'once' is in the store already" in capsys.readouterr().err


def test_plugins_list_says_what_is_allowed(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert run_command(["plugins", "list", "--json"]) == 0
    rows = {row["distribution"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["flujo-local-model"]["state"] == "allowed"
    (folder / "flujo.toml").write_text('[plugins]\ndeny = ["Flujo_Local.Model"]\n')
    assert run_command(["plugins", "list"]) == 0
    assert "denied" in capsys.readouterr().out


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["--debug", "run", "pipelines.py:failing", "-i", "x"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["--version"]) == 0
    assert capsys.readouterr().out.startswith("flujo-core ")


def test_a_file_may_be_named_as_a_module_of_the_standard_library_is(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    (folder / "queue.py").write_text(PIPELINES)
    assert run_command(["run", "queue.py:words", "-i", "x", "--json"]) == 0
    assert hasattr(queue, "SimpleQueue")


def test_text_needs_no_quotes_for_a_type_that_takes_text(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "colours.py").write_text(
        "from typing import Literal\nfrom flujo_core import step\n"
        "@step\nasync def paint(colour: Literal['red', 'blue'] | None) -> str:\n    return str(colour)\n"
    )
    for given, printed in (("red", "red\n"), ('"blue"', "blue\n"), ("null", "None\n")):
        assert run_command(["run", "colours.py:paint", "-i", given]) == 0
        assert capsys.readouterr().out == printed
    assert run_command(["run", "colours.py:paint", "-i", "green"]) == 2


def test_a_folder_that_cannot_be_made_exits_with_2(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / ".flujo").write_text("in the way")
    assert run_command(["run", "pipelines.py:words", "-i", "x"]) == 2
    printed = capsys.readouterr()
    assert "the folder '.flujo' cannot be made" in printed.err
    _one_sentence(printed.err)


def test_the_input_of_a_registered_agent_is_read_as_what_it_takes(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    (folder / "asking.py").write_text("from flujo_core import Step\nask = Step.agent('ask', 'nobody/knows')\n")
    assert run_command(["run", "asking.py:ask", "-i", "plain text"]) == 2
    assert "no agent is named 'nobody/knows'" in capsys.readouterr().err
