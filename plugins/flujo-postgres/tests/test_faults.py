"""The kernel's trials of killed and racing processes, with the store on the server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
DRIVER = HERE.parents[2] / "tests" / "faults" / "driver.py"

Drive = Callable[..., dict[str, Any]]


@pytest.fixture
def drive(server: Any, tmp_path: Path) -> Drive:
    """Gives an order to a driver; gives its report."""

    def driven(what: str, name: str, count: int = 1) -> dict[str, Any]:
        folder = tmp_path / "trials"
        folder.mkdir()
        more = {
            "FLUJO_FAULTS_STORE": "trial_store:trial_store",
            "FLUJO_POSTGRES_TRIALS": server.url().partition("?")[0],
            "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]),
        }
        done = subprocess.run(
            [sys.executable, "-W", "error", str(DRIVER)], input=json.dumps([what, name, count, 0, str(folder)]) + "\n",
            env=os.environ | more, capture_output=True, text=True, timeout=240, cwd=tmp_path,
        )  # fmt: skip
        assert done.stdout, done.stderr
        report: dict[str, Any] = json.loads(done.stdout.splitlines()[0])
        assert "trouble" not in report, report["trouble"]
        return report

    return driven


@pytest.mark.parametrize("name", ["sequence", "parallel", "pause"])
def test_killed_at_writes_it_goes_on_as_if_nothing_had_happened(name: str, drive: Drive) -> None:
    found = drive("boundaries", name, 3)
    assert found["problems"] == []
    assert found["kills"] >= 0.8 * found["trials"] and found["trials"] >= 2 * found["writes"] >= 10


def test_of_50_processes_that_redeem_one_token_one_wins(drive: Drive) -> None:
    found = drive("race", "redeemed", 50)
    assert found["errors"] == {"AlreadyAnswered": 49}, found["traces"]
    (winner,) = found["winners"]
    assert winner["status"] == "completed"
    assert found["began"] == {"a": 1, "ask": 1, "b": 1, "c": 1} and found["mail"] == ["answer"]


@pytest.mark.parametrize("when", ["when it has posted", "before it writes again"])
def test_a_winner_that_is_killed_loses_nothing(drive: Drive, when: str) -> None:
    found = drive("race", f"redeemed, the winner is killed {when}", 10)
    assert found["errors"] == {"AlreadyAnswered": 9}, found["traces"]
    assert found["killed"] == 1 and found["winners"] == [] and found["mail"] == ["answer"]
    assert found["after"]["result"]["status"] == "completed"


def test_who_stood_still_while_its_lease_ran_out_writes_nothing_more(drive: Drive) -> None:
    found = drive("race", "stopped")
    assert found["busy"]["error"] == "RunBusy", found["busy"]
    assert found["first"]["error"] == "LeaseLost", found["first"]
    assert found["second"]["result"]["status"] == "completed", found["second"]
