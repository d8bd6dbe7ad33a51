"""``flujo runs fork``, ``replay``, ``diff``, ``delete`` and ``prune``, as a person uses them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from flujo_core.cli.main import run_command
from flujo_core.store.protocol import Lease, Record
from flujo_core.store.sqlite import SQLiteStore

PIPELINE = """
from flujo_core import HumanInput, step

@step
async def up(text: str) -> str:
    return text.upper()

@step
async def bang(text: str) -> str:
    if "FAIL" in text:
        raise ValueError(text)
    return text + "!"

flow = up >> bang
asks = up >> HumanInput("ask", str, ask="What?")
"""


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    capsys.readouterr()
    assert run_command(list(arguments)) == code
    out, err = capsys.readouterr()
    return out if code == 0 else err


@pytest.fixture(autouse=True)
def runs(capsys: pytest.CaptureFixture[str]) -> None:
    """Three runs."""
    Path("p.py").write_text(PIPELINE)
    told(capsys, "run", "p.py:flow", "-i", "canary", "--run-id", "one")
    told(capsys, "run", "p.py:flow", "-i", "other", "--run-id", "two")
    told(capsys, "run", "p.py:asks", "-i", "x", "--run-id", "waits")


def test_a_run_is_forked(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "runs", "fork", "one", "p.py:flow", "--at", "bang", "--run-id", "new") == "CANARY!\n"
    done = json.loads(told(capsys, "runs", "fork", "one", "p.py:flow", "--at", "up", "--json"))
    assert done["status"] == "completed" and done["run_id"] != "one"
    assert "did you mean 'bang'" in told(capsys, "runs", "fork", "one", "p.py:flow", "--at", "bung", code=2)
    told(capsys, "runs", "fork", "nobody", "p.py:flow", "--at", "up", code=2)


def test_a_fork_that_fails_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, "run", "p.py:flow", "-i", "fail", "--run-id", "bad", code=1)
    assert "run new" in told(capsys, "runs", "fork", "bad", "p.py:flow", "--at", "bang", "--run-id", "new", code=1)


def test_a_run_is_replayed(capsys: pytest.CaptureFixture[str]) -> None:
    says = told(capsys, "runs", "replay", "one", "p.py:flow")
    assert says == "run one: completed, 2 steps, 0 open questions; its journal agrees\n"
    assert json.loads(told(capsys, "runs", "replay", "waits", "p.py:asks", "--json"))["status"] == "paused"


def test_runs_are_compared_without_their_values(capsys: pytest.CaptureFixture[str]) -> None:
    says = told(capsys, "runs", "diff", "one", "two")
    assert "≠ input of the run" in says and "≠ bang: output" in says and "canary" not in says.lower()
    assert "CANARY!" in told(capsys, "runs", "diff", "one", "two", "--values")
    facts = json.loads(told(capsys, "runs", "diff", "one", "two", "--json"))
    assert facts["changes"] == ["input", "output"] and "output" not in facts["parts"][0]["first"]
    facts = json.loads(told(capsys, "runs", "diff", "one", "two", "--json", "--values"))
    assert facts["parts"][0]["first"]["output"] == "CANARY"
    assert told(capsys, "runs", "diff", "one", "one") == "the runs are the same, in all 2 steps and nodes\n"
    assert "= up\n= bang\n" in told(capsys, "runs", "diff", "one", "one", "--all")
    says = told(capsys, "runs", "diff", "one", "waits", "--json")
    assert json.loads(says)["parts"][-1]["first"] is None
    assert "status of the run: completed, paused" in told(capsys, "runs", "diff", "one", "waits", "--values")
    told(capsys, "runs", "diff", "one", "nobody", code=2)


def test_runs_are_deleted(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "runs", "delete", "one") == "run one is deleted\n"
    assert "there is no run 'one'" in told(capsys, "runs", "delete", "one", code=2)
    assert "is paused" in told(capsys, "runs", "delete", "waits", code=2)
    assert json.loads(told(capsys, "runs", "delete", "waits", "--force", "--json")) == {"deleted": ["waits"]}
    told(capsys, "runs", "delete", "one", "--store", "sqlite:///nowhere.db", code=2)
    assert not any(b"anary" in one.read_bytes().lower() for one in Path(".flujo").iterdir())


def test_runs_that_ended_long_ago_are_pruned(capsys: pytest.CaptureFixture[str]) -> None:
    async def old() -> None:
        store = SQLiteStore(".flujo/runs.db")
        begin = Record("old", None, 1, "run_started", "", "running", 1.0, b"{}")
        end = Record("old", None, 2, "run_ended", "", "completed", 2.0, b"{}")
        await store.append([begin, end], Lease("old", 1, "me", 9.0), release=True)
        await store.close()

    asyncio.run(old())
    assert told(capsys, "runs", "prune", "--older-than", "30d", "--dry-run") == "old\n"
    assert json.loads(told(capsys, "runs", "prune", "--older-than", "1h", "--dry-run", "--json")) == {
        "would_delete": ["old"]
    }
    assert told(capsys, "runs", "prune", "--older-than", "30d") == "old\n"
    assert json.loads(told(capsys, "runs", "prune", "--older-than", "0s", "--json"))["deleted"] == ["two", "one"]
    assert "is no age" in told(capsys, "runs", "prune", "--older-than", "soon", code=2)


def test_without_an_age_runs_are_pruned_as_the_configuration_says(capsys: pytest.CaptureFixture[str]) -> None:
    async def old() -> None:
        store = SQLiteStore(".flujo/runs.db")
        for status in ("completed", "failed", "refused", "cancelled"):
            begin = Record(status, None, 1, "run_started", "", "running", 1.0, b"{}")
            end = Record(status, None, 2, "run_ended", "", status, 2.0, b"{}")
            await store.append([begin, end], Lease(status, 1, "me", 9.0), release=True)
        waits = Record("still", None, 1, "run_started", "", "running", 1.0, b"{}")
        paused = Record("still", None, 2, "run_paused", "", "paused", 2.0, b"{}")
        await store.append([waits, paused], Lease("still", 1, "me", 9.0), release=True)
        await store.close()

    asyncio.run(old())
    assert "nothing says how long runs are kept" in told(capsys, "runs", "prune", code=2)
    Path("flujo.toml").write_text(
        '[plugins]\nallow = []\n[retention]\nat_least = "30d"\nkeep = "90d"\nrefused = "forever"\nfailed = "36500d"\n'
    )
    assert set(told(capsys, "runs", "prune", "--dry-run").split()) == {"cancelled", "completed"}
    assert "less than 'retention.at_least'" in told(capsys, "runs", "prune", "--older-than", "29d", code=2)
    assert set(json.loads(told(capsys, "runs", "prune", "--json"))["deleted"]) == {"cancelled", "completed"}
    assert set(told(capsys, "runs", "prune", "--older-than", "30d").split()) == {"failed", "refused"}
    assert "still" in told(capsys, "runs", "list")


def test_runs_about_somebody_are_erased(capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, "run", "p.py:asks", "-i", "x", "--run-id", "ann", "--subject", "ann@example.org")
    assert told(capsys, "runs", "erase", "ann@example.org", "--dry-run") == "ann\n"
    assert told(capsys, "runs", "erase", "ann@example.org", "--tenant", "acme") == ""
    assert json.loads(told(capsys, "runs", "erase", "ann@example.org", "--json")) == {"deleted": ["ann"]}
    assert not any(b"ann@" in one.read_bytes() for one in Path(".flujo").iterdir())
