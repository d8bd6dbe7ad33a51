"""The process that forks. It reads orders, a line each, ``[WHAT, NAME, COUNT, SEED, FOLDER]``, and prints reports.

For a look by hand: ``driver.py WHAT NAME COUNT SEED FOLDER``, where the folder is there and empty.

``boundaries`` kills a scenario before, while and after each of its writes; ``random`` at random instants; ``double``
kills the one who resumes, too.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, get_args

import races
from checks import problems
from kit import Kill, Trial, When, tried
from scenarios import SCENARIOS

from flujo_core import MemoryStore

WHENS: tuple[When, ...] = get_args(When)


def kills(mode: str, name: str, count: int, seed: int, folder: Path) -> dict[str, Any]:
    """Kills a scenario many times.

    Args:
        mode: Where it is killed.
        name: The scenario.
        count: How many times, where that is not given by the number of writes.
        seed: Of what is random.
        folder: An empty folder.
    """
    scenario, random = SCENARIOS[name], Random(seed)
    whole = tried(scenario, made(folder / "whole"), [])
    report: dict[str, Any] = {"scenario": name, "mode": mode, "trials": 0, "kills": 0, "late": 0, "problems": []}
    if whole.trouble or whole.outcome is None:
        return report | {"problems": [f"left alone: {one}" for one in whole.trouble] or ["left alone: no outcome"]}
    report |= {"writes": whole.writes, "outcome": whole.outcome["status"]}
    report["problems"] += [f"left alone: {one}" for one in problems(whole, whole)]
    for number, plans in enumerate(_plans(mode, whole, count, random)):
        trial = tried(scenario, made(folder / str(number)), plans)
        report["trials"] += 1
        report["kills"] += trial.kills
        report["late"] += trial.kills < len(plans)
        found = list(problems(whole, trial))
        report["problems"] += [f"trial {number}, killed at {plans}: {one}" for one in found]
        if mode == "boundaries" and trial.kills != 1:
            report["problems"].append(f"trial {number}: nothing was killed at {plans}")
        if len(report["problems"]) > 20:
            break
    return report


def _plans(mode: str, whole: Trial, count: int, random: Random) -> Iterator[list[Any]]:
    match mode:
        case "boundaries":
            for number in range(1, whole.writes + 1):
                yield from ([Kill(number, when)] for when in WHENS)
        case "random":
            for _ in range(count):
                yield [random.uniform(0.0, whole.seconds)]
        case "double":
            for _ in range(count):
                first = random.randint(1, max(1, whole.writes - 2))
                later = [Kill(random.randint(1, max(1, whole.writes - first)), random.choice(WHENS))]
                if random.random() < 0.3:
                    later.append(Kill(random.randint(1, 3), random.choice(WHENS)))
                yield [Kill(first, random.choice(WHENS)), *later]


def made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def warm() -> None:
    """Imports what is imported when it is first used, so that no child has to.

    In memory, and without steps that run in threads: this process has one thread.
    """
    for name in ("pause", "retry with plugins"):
        with suppress(Exception):  # what is wrong is found again, and reported
            asyncio.run(SCENARIOS[name].flujo(MemoryStore()).run_async(SCENARIOS[name].input))


def answer(what: str, name: str, count: int, seed: int, folder: str) -> dict[str, Any]:
    """Does what it is asked, and reports."""
    begun = time.monotonic()
    assert threading.active_count() == 1, f"who forks has one thread, and not {threading.enumerate()}"
    place = Path(folder)
    report = races.RACES[name](place, count) if what == "race" else kills(what, name, count, seed, place)
    return report | {"seconds": round(time.monotonic() - begun, 1)}


def main(orders: Iterable[str]) -> None:
    warm()
    gc.collect()
    gc.freeze()
    for order in orders:
        try:
            report = answer(*json.loads(order))
        except Exception:
            report = {"trouble": traceback.format_exc()}
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    what, *rest = sys.argv[1:] or [""]
    main([json.dumps([what, rest[0], int(rest[1]), int(rest[2]), rest[3]])] if what else sys.stdin)
