"""``flujo plugins``, and commands that plugins contribute."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flujo_core.cli.main import run_command
from flujo_core.hooks.scan import scan

Install = Callable[..., None]

PLUGIN = """
from flujo_core import Plugin, hookimpl
class Eu(Plugin):
    name = "eu"
    @hookimpl(tryfirst=True)
    async def pre_step_execution(self, call): ...
    def register_agents(self, registry):
        registry.add("underwriter", "acme_agents:underwriter")
    def register_stores(self, registry):
        registry.add("acme", lambda url: None)
    def register_commands(self, registry):
        registry.add("greet", "acme_eu:greet")
        registry.add("run", "acme_eu:greet")
        registry.add("tool", "acme_eu:tool")

def greet(name: str = "you"):
    "Greets somebody."
    print("hello", name)

import typer
tool = typer.Typer()
@tool.command()
def one(): print("one")
@tool.command()
def two(): raise typer.Exit(4)
"""


@pytest.fixture
def eu(install: Install, here: Path) -> Path:
    install("acme-eu", "acme_eu", PLUGIN, version="1.4", eu_only="acme_eu:Eu")
    Path("flujo.toml").write_text('[plugins]\nallow = ["acme-eu"]\n')
    return here


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs a command; gives its exit code, and what it printed."""

    def ran(*arguments: str) -> tuple[int, str]:
        code = run_command(list(arguments))
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return ran


Shown = Callable[..., tuple[int, str]]


def as_json(shown: Shown, *arguments: str) -> Any:
    code, text = shown(*arguments, "--json")
    assert code in (0, 2)
    return json.loads(text)


def test_doctor_says_that_all_is_well(eu: Path, shown: Shown) -> None:
    code, text = shown("plugins", "doctor")
    assert code == 0 and ["eu", "loaded"] in [line.split()[:2] for line in text.splitlines()]
    (row,) = (row for row in as_json(shown, "plugins", "doctor") if row["plugin"] == "eu")
    assert row == {
        "plugin": "eu", "distribution": "acme-eu", "version": "1.4", "state": "loaded", "reason": "", "remedy": "",
    }  # fmt: skip


def test_doctor_says_what_is_not_and_what_would_mend_it(eu: Path, install: Install, shown: Shown) -> None:
    install("umbrella", "umbrella_broken", "import nothing_of_that_name\n", broken="umbrella_broken:It")
    scan.cache_clear()
    Path("flujo.toml").write_text('[plugins]\nallow = ["acme-eu", "umbrella"]\n')
    code, text = shown("plugins", "doctor")
    assert code == 2 and "nothing_of_that_name" in text and "mend it, uninstall it" in text
    assert {row["plugin"]: row["state"] for row in as_json(shown, "plugins", "doctor")}["broken"] == "broken"


def test_doctor_without_plugins(here: Path, shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    scan.cache_clear()
    assert shown("plugins", "doctor") == (0, "no plugin is installed\n")
    assert shown("plugins", "list") == (0, "no plugin is installed\n")


@pytest.mark.parametrize("name", ["eu", "acme-eu", "eu_only"])
def test_inspect_shows_origin_contributions_and_the_order_of_hooks(eu: Path, shown: Shown, name: str) -> None:
    facts = as_json(shown, "plugins", "inspect", name)
    assert (facts["plugin"], facts["target"], facts["api"], facts["policy"]) == ("eu", "acme_eu:Eu", ">=1,<2", "closed")
    assert {"hook": "pre_step_execution", "order": ["eu"]} in facts["hooks"]
    assert {"kind": "agent", "name": "eu/underwriter", "target": "acme_agents:underwriter"} in facts["contributions"]
    assert {"kind": "store", "name": "eu/acme", "target": "<function>"} in facts["contributions"]
    code, text = shown("plugins", "inspect", name)
    assert code == 0 and "eu/underwriter" in text and "pre_step_execution" in text


def test_inspect_shows_why_a_plugin_does_not_take_part(eu: Path, shown: Shown) -> None:
    facts = as_json(shown, "-P", "no:acme-eu", "plugins", "inspect", "acme-eu")
    assert facts["state"] == "denied" and facts["hooks"] == facts["contributions"] == []
    code, text = shown("plugins", "inspect", "acme-ue")
    assert code == 2 and "there is no plugin 'acme-ue'; did you mean 'acme-eu'?" in text


def test_lock_says_where_it_is_and_which_line_puts_it_in_force(eu: Path, shown: Shown) -> None:
    code, text = shown("plugins", "lock")
    file = Path.cwd() / "plugins.lock"
    assert code == 0 and text.splitlines()[0] == str(file) and '[plugins] lock = "plugins.lock"' in text
    assert set(json.loads(file.read_text())["plugins"]) == {"acme-eu"}
    Path("flujo.toml").write_text('[plugins]\nallow = ["acme-eu"]\nlock = "plugins.lock"\n')
    assert as_json(shown, "plugins", "lock") == {"lock": str(file), "in_force": True, "plugins": {"acme-eu": "1.4"}}
    assert shown("plugins", "lock") == (0, f"{file}\n")
    assert shown("plugins", "doctor")[0] == 0
    (eu / "acme_eu.py").write_text(PLUGIN + "# changed\n")
    scan.cache_clear()
    assert "'acme_eu.py' that is not the one that was locked" in shown("plugins", "doctor")[1]


def test_a_lock_that_cannot_be_written_is_an_error(eu: Path, shown: Shown) -> None:
    Path("flujo.toml").write_text('[plugins]\nallow = ["acme-eu"]\nlock = "nowhere/plugins.lock"\n')
    code, text = shown("plugins", "lock")
    assert code == 2 and "cannot be written" in text


@pytest.mark.parametrize("value", ["5", '""', "[]"])
def test_a_lock_is_a_path(eu: Path, shown: Shown, value: str) -> None:
    Path("flujo.toml").write_text(f"[plugins]\nlock = {value}\n")
    code, text = shown("plugins", "list")
    assert code == 2 and "'plugins.lock'" in text and "is a path" in text


def test_contributed_commands_are_called_by_their_names(eu: Path, shown: Shown) -> None:
    assert shown("greet", "--name", "Ada") == (0, "hello Ada\n")
    assert shown("eu/greet") == (0, "hello you\n")
    assert shown("tool", "one") == (0, "one\n") and shown("tool", "two")[0] == 4


def test_a_command_of_the_kernel_comes_first_and_an_unknown_one_is_refused(eu: Path, shown: Shown) -> None:
    assert "hello" not in shown("run")[1] and shown("eu/run")[1] == "hello you\n"
    code, text = shown("gret")
    assert code == 2 and "gret" in text


def test_help_lists_contributed_commands_and_goes_without_where_plugins_cannot_be_loaded(
    eu: Path, install: Install, shown: Shown
) -> None:
    code, text = shown("--help")
    assert code == 0 and "greet" in text and "eu/run" in text and "Contributed by plugin 'eu'" in text
    (eu / "acme_eu.py").write_text("raise ValueError\n")
    Path("flujo.toml").write_text('[plugins]\nallow = ["acme-eu"]\nrequired = ["gone"]\n')
    code, text = shown("--help")
    assert code == 0 and "the commands of plugins are left out" in text and "greet" not in text


def test_a_contributed_command_can_be_left_out(eu: Path, shown: Shown) -> None:
    assert shown("-P", "no:acme-eu", "greet")[0] == 2


STREAMING = """
from collections.abc import AsyncIterator
from flujo_core import step
@step
async def tell(text: str) -> AsyncIterator[str]:
    yield text
"""
WITHHOLDING = """
from flujo_core import Plugin
class Eu(Plugin):
    name = "eu"
    async def post_step_execution(self, call, result): ...
"""


@pytest.mark.parametrize("looks", [False, True])
def test_check_says_which_plugins_make_a_stream_wait(looks: bool, install: Install, here: Path, shown: Any) -> None:
    more = "    async def transform_chunk(self, call, chunk): ...\n" if looks else ""
    install("acme-eu", "acme_eu", WITHHOLDING + more, version="1.4", eu_only="acme_eu:Eu")
    Path("flujo.toml").write_text('[plugins]\nallow = ["acme-eu"]\n')
    Path("stream.py").write_text(STREAMING)
    code, printed = shown("check", "stream.py:tell")
    assert code == 0 and ("the stream of 'tell' waits until it is whole" in printed) is not looks
