"""``flujo check``: leaks of labelled data are warnings; in a regulated deployment errors, with all that is lacking."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flujo_core import Flujo, step
from flujo_core.cli.check import Found
from flujo_core.cli.main import run_command

PIPELINES = """
from collections.abc import AsyncIterator
from typing import Annotated
from pydantic_ai import Agent
from flujo_core import Label, Labels, Step, step

@step
async def read(key: str) -> Annotated[str, Label("phi")]:
    return key

@step
async def plain(text: str) -> str:
    return text

@step
async def words(text: str) -> AsyncIterator[str]:
    yield text

leaky = read >> Step.agent("ask", Agent("openai:gpt-5", defer_model_check=True))
"""
LEAK = "'phi' from step 'read' goes to the model 'openai:gpt-5' at step 'ask', and nothing clears it"
BARE = "[plugins]\nallow = []\n"


@pytest.fixture(autouse=True)
def pipelines(away_from_home: Path) -> Path:
    (away_from_home / "flows.py").write_text(PIPELINES)
    (away_from_home / "flujo.toml").write_text(BARE)
    return away_from_home


def check(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = run_command(["check", *arguments])
    return code, capsys.readouterr().out


def test_a_leak_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = check("flows.py:leaky", capsys=capsys)
    assert code == 0 and out.splitlines()[0].startswith("flows.py:leaky is sound: ")
    assert out.splitlines()[-1] == f"warning: {LEAK}"


def test_without_one_there_is_no_more_to_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert check("flows.py:plain", capsys=capsys) == (
        0, "flows.py:plain is sound: it takes 'str' and gives 'str'\n  plain                str -> str\n",
    )  # fmt: skip


@pytest.mark.parametrize("how", ["asked for", "configured", "of the environment"])
def test_for_the_profile_all_that_is_lacking_is_said_in_one_list(
    how: str, pipelines: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "configured":
        (pipelines / "flujo.toml").write_text('profile = "regulated"\n' + BARE)
    if how == "of the environment":
        monkeypatch.setenv("FLUJO_PROFILE", "regulated")
    code, out = check("flows.py:leaky", *(["--profile", "regulated"] if how == "asked for" else []), capsys=capsys)
    lines = out.splitlines()[out.splitlines().index("it does not meet the profile 'regulated', for 6 reasons:") + 1 :]
    assert code == 2 and len(lines) == 6
    assert [line.partition(":")[0] for line in lines] == ["lacking"] * 5 + ["error"]
    assert lines[-1] == f"error: {LEAK}" and any("'plugins.required'" in line for line in lines)


def test_a_profile_that_asks_for_less_changes_nothing(pipelines: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pipelines / "flujo.toml").write_text('profile = "regulated"\n' + BARE)
    assert check("flows.py:plain", "--profile", "dev", capsys=capsys)[0] == 2


def test_an_unknown_profile_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["check", "flows.py:plain", "--profile", "regulatd"]) == 2
    said = "'regulatd' is no profile, 'dev', 'default' and 'regulated' are; did you mean 'regulated'?"
    assert said in capsys.readouterr().err


def test_json_has_it_all(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = check("flows.py:leaky", "--json", "--profile", "regulated", capsys=capsys)
    found = json.loads(out)
    assert code == 2 and found["profile"] == "regulated" and found["meets_profile"] is False
    assert [one["address"] for one in found["steps"]] == ["read", "ask"]
    assert found["leaks"] == [
        {
            "label": "phi", "source": "step 'read'", "field": "", "way": [], "address": "ask", "kind": "model",
            "name": "openai:gpt-5", "message": LEAK,
        }
    ]  # fmt: skip
    assert len(found["lacks"]) == 5 and {*found["lacks"][0]} == {"what", "remedy"}
    assert json.loads(check("flows.py:words", "--json", capsys=capsys)[1])["meets_profile"] is True


@step
async def plain(text: str) -> str:
    return text


def test_a_deployment_that_meets_the_profile_is_told_so() -> None:
    assert Found("it", Flujo(plain), "regulated", (), ()).lines[-1] == "it meets the profile 'regulated'"
