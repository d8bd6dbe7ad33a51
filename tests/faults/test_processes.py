"""Several processes and one run: one winner of a token, no answer lost, nobody past a gate, no two writers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

STEPS = {"a": 1, "ask": 1, "b": 1, "c": 1}


def test_of_50_processes_that_redeem_one_token_one_wins(drive: Any) -> None:
    found = drive("race", "redeemed", 50)
    assert found["errors"] == {"AlreadyAnswered": 49}, found["traces"]
    (winner,) = found["winners"]
    assert winner["status"] == "completed"
    assert found["began"] == STEPS and found["mail"] == ["answer"] and found["status"] == "completed"


KILLED = [
    "when it has posted", "when it has the lease", "when it has resumed", "before it writes again",
]  # fmt: skip


@pytest.mark.parametrize("when", KILLED)
def test_a_winner_that_is_killed_loses_nothing(drive: Any, when: str) -> None:
    found = drive("race", f"redeemed, the winner is killed {when}", 50)
    assert found["errors"] == {"AlreadyAnswered": 49}, found["traces"]
    assert found["killed"] == 1 and found["winners"] == [] and found["mail"] == ["answer"]
    assert found["after"]["result"]["status"] == "completed"
    if when == "before it writes again" and found["began"]["b"] == 2:
        found["began"]["b"] = 1  # the next step had begun, and was not committed
    assert found["began"] == STEPS


def test_an_answer_while_a_sibling_works_in_another_process_is_not_lost(drive: Any) -> None:
    found = drive("race", "sibling")
    assert found["answerer"]["result"] == {"status": "running", "token": None, "again": "AlreadyAnswered"}
    assert found["holder"]["result"]["status"] == "completed"
    assert found["began"] == {"fan[ask]/ask": 1, "fan[ask]/b": 1, "fan[slow]/slow": 1, "joined": 1}


def test_an_answer_is_not_lost_when_the_process_dies_that_was_to_take_it_in(drive: Any) -> None:
    found = drive("race", "sibling, and the holder dies")
    assert found["answerer"]["result"]["status"] == "running"
    assert found["holder"]["result"]["status"] == "completed"
    assert found["began"]["fan[ask]/ask"] == found["began"]["fan[ask]/b"] == found["began"]["joined"] == 1
    assert found["began"]["fan[slow]/slow"] == 2, "it was at work when its process died"


def test_who_stood_still_while_its_lease_ran_out_writes_nothing_more(drive: Any) -> None:
    found = drive("race", "stopped")
    assert found["busy"]["error"] == "RunBusy", found["busy"]
    assert found["first"]["error"] == "LeaseLost", found["first"]
    assert found["second"]["result"]["status"] == "completed", found["second"]
    assert found["known"]["committed"] == ["a", "slow", "z"]
    epochs = found["known"]["epochs"]
    assert epochs == sorted(epochs) and set(epochs) == {1, 2}
    assert [one for one in found["log"] if one[0] == 1 and one[2] == "z"] == [], "it goes on though it lost the lease"
    assert {one[3] for one in found["log"] if one[0] == 3} == {2}, "the fencing token of the second"


def test_a_paused_run_that_is_called_again_in_other_processes_stays_paused(drive: Any) -> None:
    found = drive("race", "called again", 8)
    results = [one.get("result") or one for one in found["told"]]
    for one in results:
        assert one == {"status": "paused", "tokens": [None]} or one.get("error") == "RunBusy", one
    assert {"status": "paused", "tokens": [None]} in results
    assert found["began"] == {"a": 1, "ask": 1} and found["status"] == "paused" and found["mail"] == []


def test_of_many_who_go_on_with_a_crashed_run_one_does(drive: Any) -> None:
    found = drive("race", "two who resume", 12)
    for one in found["told"]:
        assert one.get("result") == "paused" or one.get("error") == "RunBusy", one
    assert found["began"] in ({"a": 1, "ask": 1}, {"a": 2, "ask": 1}), "'a' may have been at work at the kill"
    assert found["status"] == "paused"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no 'mount' here")
    if done.returncode:
        pytest.skip("a file system can be made by root only")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_run_stops_when_the_disk_is_full_and_goes_on_when_it_is_not(drive: Any, small_disk: Path) -> None:
    found = drive("race", "full", folder=small_disk)
    assert found["full"]["error"] == "StoreFull", found["full"]
    assert found["after"]["result"]["status"] == "completed", found["after"]
    assert found["began"]["a"] == found["began"]["c"] == 1 and found["status"] == "completed"
    assert found["known"]["committed"] == ["a", "fill", "shrink", "b", "c"]
