"""Runs that are killed with SIGKILL, everywhere: committed steps run again: 0; lost: 0; other results: 0.

``FLUJO_FAULTS=full`` kills each scenario 200 times at random instants, and as often twice; else it is 25 times and 5.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

NAMES = [
    "sequence", "sequence with plugins", "parallel", "parallel with plugins", "map", "map over a source", "loop",
    "loop with plugins", "branch", "sub-pipeline", "retry", "retry with plugins", "failure", "pause",
    "pauses side by side", "pause in a loop", "pause of a plugin", "mixture", "mixture with plugins", "named inputs",
    "agent with tools", "streaming", "streaming with plugins",
]  # fmt: skip


def judged(report: dict[str, Any], keep: Callable[[str], None]) -> None:
    keep(
        "{scenario}, {mode}: {kills} kills in {trials} runs of {writes} writes, {late} came too late; committed and "
        "run again, lost or unequal: {count}; {seconds} s".format(
            count=len(report["problems"]), **({"writes": "?"} | report)
        )
    )
    assert report["problems"] == []


@pytest.mark.parametrize("name", NAMES)
def test_killed_at_every_write_it_goes_on_as_if_nothing_had_happened(
    name: str, drive: Any, report: Any, is_full: bool
) -> None:
    found = drive("boundaries", name, 1 if is_full else 3)
    judged(found, report)
    # what runs side by side may be written in fewer writes than in the run that was left alone
    assert found["kills"] >= 0.7 * found["trials"] and found["trials"] >= 2 * found["writes"] >= 10


@pytest.mark.parametrize("name", NAMES)
def test_killed_at_random_it_goes_on_as_if_nothing_had_happened(
    name: str, drive: Any, report: Any, is_full: bool
) -> None:
    count = 200 if is_full else 25
    found = drive("random", name, count, seed=NAMES.index(name))
    judged(found, report)
    assert found["kills"] >= count


@pytest.mark.parametrize("name", NAMES)
def test_killed_again_while_it_is_resumed_it_goes_on_as_if_nothing_had_happened(
    name: str, drive: Any, report: Any, is_full: bool
) -> None:
    count = 200 if is_full else 5
    found = drive("double", name, count, seed=NAMES.index(name))
    judged(found, report)
    assert found["kills"] > count


CODED = [
    "map with codecs",
    "pauses side by side with codecs",
    "mixture with plugins with codecs",
    "agent with tools with codecs",
]


@pytest.mark.parametrize("name", CODED)
def test_killed_at_every_write_of_what_is_encoded_it_goes_on(name: str, drive: Any, report: Any, is_full: bool) -> None:
    found = drive("boundaries", name, 1 if is_full else 9)
    judged(found, report)
    assert found["kills"] >= 0.7 * found["trials"] and found["trials"] >= 2 * found["writes"] >= 10


@pytest.mark.parametrize("name", CODED)
def test_killed_at_random_what_is_encoded_goes_on(name: str, drive: Any, report: Any, is_full: bool) -> None:
    count = 200 if is_full else 8
    found = drive("random", name, count, seed=CODED.index(name))
    judged(found, report)
    assert found["kills"] >= count


@pytest.mark.skipif("FLUJO_FAULTS_STORE" in os.environ, reason="it is about SQLite")
@pytest.mark.parametrize("name", ["fork", "delete", "prune", "erase"])
def test_who_is_killed_while_it_forks_or_deletes_leaves_runs_whole_or_none(
    name: str, drive: Any, report: Any, is_full: bool
) -> None:
    found = drive("removal", name, 200 if is_full else 12)
    judged(found, report)
    assert found["kills"] >= 2 * found["writes"] >= 2
