"""The process that forks. It reads orders, a line each, ``[WHAT, NAME, COUNT, SEED, FOLDER]``, and prints reports.

For a look by hand: ``driver.py WHAT NAME COUNT SEED FOLDER``, where the folder is there and empty.

``boundaries`` kills a scenario before and after each of its writes, and in the midst of some; ``random`` at random
instants; ``double`` kills the one who resumes, too; ``removal`` kills who forks or deletes.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, get_args

import races
import removals
from checks import problems
from kit import HERE, Kill, Scenario, Trial, When, tried
from scenarios import SCENARIOS

from flujo_core import MemoryStore

HANDS = 3
"""In how many processes trials are made."""

AHEAD = (
    "anyio._backends._asyncio", "flujo_core.agents.durable", "flujo_core.agents.deferred",
    "flujo_core.agents.pydantic_ai", "flujo_core.agents.tool_drafts", "genai_prices.data", "backports.zstd",
    "cryptography.hazmat.primitives.ciphers.aead", "flujo_core.engine.typed", "flujo_core.engine.offshoot",
    "flujo_core.engine.removal",
)  # fmt: skip
"""What a run of an agent imports, which cannot be run here, as it has threads; and what codecs and removals do."""

WHENS: tuple[When, ...] = get_args(When)


def kills(mode: str, name: str, count: int, seed: int, folder: Path) -> dict[str, Any]:
    """Kills a scenario many times.

    Args:
        mode: Where it is killed.
        name: The scenario.
        count: How many times; at the boundaries: each how manyth write is killed in its midst, too.
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
    plans = [*enumerate(_plans(mode, whole, count, random))]
    share = -(-count // HANDS) if mode == "random" else len(plans)

    def hand(index: int) -> dict[str, Any]:
        return several(scenario, whole, plans[index::HANDS], folder, share)

    for part in at_once(folder, hand):
        for key, value in part.items():
            report[key] += value
    return report


def several(scenario: Scenario, whole: Trial, plans: Sequence[Any], folder: Path, most: int) -> dict[str, Any]:
    """Makes some of the trials, until so many have been killed; gives its part of the report."""
    part: dict[str, Any] = {"trials": 0, "kills": 0, "late": 0, "problems": []}
    for number, kills in plans:
        if part["trials"] - part["late"] >= most or len(part["problems"]) > 20:
            break
        trial = tried(scenario, made(folder / str(number)), kills)
        part["trials"] += 1
        part["kills"] += trial.kills
        part["late"] += trial.kills < len(kills)
        part["problems"] += [f"trial {number}, killed at {kills}: {one}" for one in problems(whole, trial)]
    return part


def at_once(folder: Path, work: Callable[[int], dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Does work in several processes, as half of the time is spent waiting for the disk; gives what each gave."""
    children = []
    for index in range(HANDS):
        if (pid := os.fork()) == 0:
            code = 1
            try:
                (folder / f"part-{index}.json").write_text(json.dumps(work(index)))
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    for index, pid in enumerate(children):
        _, status = os.waitpid(pid, 0)
        if status:
            raise ChildProcessError(f"one of those who make the trials ended with {status}")
        yield json.loads((folder / f"part-{index}.json").read_text())


def _plans(mode: str, whole: Trial, count: int, random: Random) -> Iterator[list[Any]]:
    match mode:
        case "boundaries":
            for number in range(1, whole.writes + 1):
                yield from ([Kill(number, when)] for when in WHENS if when != "while" or number % count == 0)
        case "random":
            for _ in range(10 * count):  # some come too late, and more where the run that was left alone was slow
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
    for name in AHEAD:
        with suppress(ImportError):
            import_module(name)
    for name in ("pause", "retry with plugins"):
        with suppress(Exception), TemporaryDirectory() as folder:  # what is wrong is found again, and reported
            HERE.folder = Path(folder)
            asyncio.run(SCENARIOS[name].flujo(MemoryStore()).run_async(SCENARIOS[name].input))


def answer(what: str, name: str, count: int, seed: int, folder: str) -> dict[str, Any]:
    """Does what it is asked, and reports."""
    begun = time.monotonic()
    assert threading.active_count() == 1, f"who forks has one thread, and not {threading.enumerate()}"
    place = Path(folder)
    match what:
        case "race":
            report = races.RACES[name](place, count)
        case "removal":
            report = removals.killed(name, count, seed, place)
        case _:
            report = kills(what, name, count, seed, place)
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
