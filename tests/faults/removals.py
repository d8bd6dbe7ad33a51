"""Forks and deletions that are killed: a run is whole, or it is not there.

A file with a few runs is made once, and copied for each trial. One process does something with it and is killed; the
next looks at what is there, does the same again, and looks again.
"""

from __future__ import annotations

import shutil
import signal
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, get_args

from kit import Kill, Place, Scenario, Watched, When, forked, reported, store_at
from scenarios import Ledger, asks, leaf

from flujo_core import Flujo, RunExists, Store, UnknownRun
from flujo_core.engine.removal import prunable, prune
from flujo_core.model.retention import ENDED
from flujo_core.store.sqlite_upkeep import problems

WRITES = ("append", "acquire", "release", "delete")

WORK = Scenario(lambda: (leaf("a") >> leaf("b") >> leaf("c"), {"context": Ledger}))
WAITS = Scenario(lambda: (leaf("a") >> asks("ask") >> leaf("b"), {"context": Ledger}))

Snapshot = Mapping[str, Any]
"""What a store has of each run, as JSON can hold it."""


@dataclass(frozen=True)
class Removal:
    """What is done, and killed.

    Attributes:
        do: Does it.
        gone: The runs that are not there afterwards.
        made: The run that is, and was not before, or nothing.
    """

    do: Callable[[Store], Awaitable[None]]
    gone: frozenset[str]
    made: str = ""


def flujo(store: Store, scenario: Scenario = WORK) -> Flujo[Any, Any, Any]:
    return scenario.flujo(store)


async def fork(store: Store) -> None:
    try:
        await flujo(store).fork_async("one", at="b", fork_id="fork")
    except RunExists:
        await flujo(store).resume_async("fork")


async def delete(store: Store) -> None:
    try:
        await flujo(store).delete_async("one")
    except UnknownRun:
        assert await store.run("one") is None


async def prune_all(store: Store) -> None:
    await prune(store, await prunable(store, dict.fromkeys(ENDED, 0.0)))


async def erase(store: Store) -> None:
    await flujo(store).erase_async("ann")


REMOVALS = {
    "fork": Removal(fork, frozenset(), "fork"),
    "delete": Removal(delete, frozenset({"one"})),
    "prune": Removal(prune_all, frozenset({"one", "two", "three"})),
    "erase": Removal(erase, frozenset({"one", "two", "waits"})),
}


async def fill(store: Store) -> None:
    """Makes the runs: three that have ended, and one that waits; all but one are about ann."""
    for run_id, subject in (("one", "ann"), ("two", "ann"), ("three", "bob")):
        await flujo(store).run_async(3, run_id=run_id, subject=subject)
    await flujo(store, WAITS).run_async(3, run_id="waits", subject="ann")


async def snapshot(store: Store) -> dict[str, Any]:
    """What a store has of each run, but for who held it last."""
    found: dict[str, Any] = {}
    for run in await store.runs(limit=100):
        records = [[one.sequence, one.kind, one.address, one.payload.decode()] for one in await store.read(run.run_id)]
        questions = [one.sequence for one in await store.questions(run_id=run.run_id)]
        mail = [one.payload.decode() for one in await store.mail(run.run_id)]
        found[run.run_id] = {"status": run.status, "records": records, "questions": questions, "mail": mail}
    return found


def in_child(place: Place, name: str, do: Callable[[Store], Awaitable[Any]], store: Callable[[], Store]) -> Any:
    """What is done in a process of its own, with a store that is closed behind it; how that ended."""

    async def main() -> Any:
        opened = store()
        try:
            return await do(opened)
        finally:
            await opened.close()

    return forked(place, name, main)


def killed(name: str, count: int, seed: int, folder: Path) -> dict[str, Any]:
    """Kills a removal at each of its writes, and so often at random instants; reports what is not as it must be."""
    removal, random = REMOVALS[name], Random(seed)
    report: dict[str, Any] = {"scenario": name, "mode": "removal", "trials": 0, "kills": 0, "late": 0, "problems": []}
    origin = Place(folder / "origin")
    origin.folder.mkdir()
    code = in_child(origin, "filled", fill, lambda: store_at(origin)).wait()
    before = _looked(origin, "before")
    assert code == 0 and set(before) == {"one", "two", "three", "waits"}, reported(origin, "filled")
    whole = _trial(removal, origin, before, folder / "whole", None)
    report["problems"] += [f"left alone: {one}" for one in whole["problems"]]
    report["writes"] = whole["writes"]
    writes = range(1, whole["writes"] + 1)
    plans: list[Kill | float] = [Kill(number, when) for number in writes for when in get_args(When)]
    plans += [random.uniform(0.0, whole["seconds"]) for _ in range(count)]
    for number, plan in enumerate(plans):
        found = _trial(removal, origin, before, folder / str(number), plan)
        report["trials"] += 1
        report["kills"] += found["killed"]
        report["late"] += not found["killed"]
        report["problems"] += [f"trial {number}, killed at {plan}: {one}" for one in found["problems"]]
    return report


def _trial(
    removal: Removal, origin: Place, before: Snapshot, folder: Path, plan: Kill | float | None
) -> dict[str, Any]:
    folder.mkdir()
    place = Place(folder)
    shutil.copy(origin.database, place.database)
    watched: list[Watched] = []

    def store() -> Store:
        watched.append(Watched(store_at(place), plan if isinstance(plan, Kill) else None, of=WRITES))
        return watched[0]

    async def do(opened: Store) -> int:
        await removal.do(opened)
        return len(watched[0].writes)

    begun = time.monotonic()
    child = in_child(place, "done", do, store)
    if isinstance(plan, float):
        time.sleep(plan)
        if not child.has_ended():
            child.kill()
    code, seconds = child.wait(), time.monotonic() - begun
    found = [] if code in (0, -signal.SIGKILL) else [f"it ended with {code}: {reported(place, 'done').get('trace')}"]
    found += _half(removal, before, _looked(place, "after"))
    again = in_child(place, "again", removal.do, lambda: store_at(place)).wait()
    if again:
        found.append(f"again, it ended with {again}: {reported(place, 'again').get('trace')}")
    found += _wrong(removal, before, _looked(place, "at last"), place)
    return {
        "problems": found,
        "killed": code == -signal.SIGKILL,
        "writes": reported(place, "done").get("result", 0),
        "seconds": seconds,
    }


def _looked(place: Place, name: str) -> dict[str, Any]:
    """What a store has, as another process sees it."""
    in_child(place, name, snapshot, lambda: store_at(place)).wait()
    found: dict[str, Any] = reported(place, name).get("result", {})
    return found


def _half(removal: Removal, before: Snapshot, after: Snapshot) -> Iterator[str]:
    """Runs that are neither whole nor gone."""
    for run_id, run in before.items():
        if run_id not in after and run_id not in removal.gone:
            yield f"'{run_id}' is gone"
        if run_id in after and after[run_id] != run:
            yield f"'{run_id}' is not as it was: {after[run_id]} instead of {run}"
    for run_id in after.keys() - before.keys():
        numbers = [one[0] for one in after[run_id]["records"]]
        if run_id != removal.made or len(numbers) < 3 or numbers != list(range(1, len(numbers) + 1)):
            yield f"'{run_id}' is there, and has the records {numbers}"


def _wrong(removal: Removal, before: Snapshot, last: Snapshot, place: Place) -> Iterator[str]:
    """What is wrong after it was done again, and not killed."""
    yield from _half(removal, before, last)
    if left := removal.gone & last.keys():
        yield f"{sorted(left)} are still there"
    if removal.made:
        made = last.get(removal.made)
        if made is None or made["status"] != "completed":
            yield f"'{removal.made}' is {made and made['status']}"
        elif made["records"][-1][3] != before["one"]["records"][-1][3]:
            yield "the fork came to something else"
    yield from problems(place.database)
    with closing(sqlite3.connect(place.database)) as file:
        known = {one for (one,) in file.execute("select run_id from run")}
    if known != set(last):
        yield f"the file has {sorted(known)}, and the store {sorted(last)}"
