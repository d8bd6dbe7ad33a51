"""Several processes and one run: many who answer at once, answers while others work, holders that stand still.

Each function gives a report: what happened, in few words, for the test to judge.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from kit import (
    RUN,
    Child,
    Kill,
    Place,
    Scenario,
    Watched,
    answer_to,
    forked,
    known,
    lines,
    noted,
    outcome,
    reported,
    store_at,
    until,
    until_async,
)
from scenarios import Ledger, asks, leaf

from flujo_core import Parallel, RunInfo, Store, step


def paused(place: Place, scenario: Scenario) -> dict[str, Any]:
    """Runs a scenario in a process of its own until it pauses; gives the tokens by address."""

    async def main() -> dict[str, Any]:
        result = await scenario.flujo(store_at(place)).run_async(scenario.input, run_id=RUN)
        return {"status": result.status, "tokens": {one.address: one.token for one in result.questions}}

    forked(place, "paused", main).wait()
    found = reported(place, "paused")
    assert found.get("result", {}).get("status") == "paused", found
    tokens: dict[str, Any] = found["result"]["tokens"]
    return tokens


def all_at_once(place: Place, names: Sequence[str], main: Callable[[str], Any]) -> list[Child]:
    """Processes that all wait for the same moment."""
    waiting, holding = os.pipe()
    ready, getting_ready = os.pipe()

    async def run(name: str) -> Any:
        os.close(holding)
        os.write(getting_ready, b"!")
        os.read(waiting, 1)  # ends for all when the parent closes its end
        return await main(name)

    children = [forked(place, name, lambda name=name: run(name)) for name in names]  # type: ignore[misc]
    for _ in names:
        os.read(ready, 1)
    os.close(holding)
    os.close(waiting)
    os.close(ready)
    os.close(getting_ready)
    return children


# ------------------------------------------------------------------------------------------------------------ one token


GATED = Scenario(lambda: (leaf("a") >> asks("ask") >> leaf("b", naps=9) >> leaf("c"), {"context": Ledger}))


def redeemed(folder: Path, count: int, *, kill: Kill | None = None, of: Sequence[str] = ("post",)) -> dict[str, Any]:
    """Many processes answer with one token; the winner may be killed when it has written something."""
    place = Place(folder)
    (token,) = paused(place, GATED).values()
    place.stage = 2

    async def main(name: str) -> Any:
        store = Watched(store_at(place), kill, of=of)
        result = await GATED.flujo(store).resume_async(RUN, int(name), token=token)
        return outcome(result)

    names = [str(number) for number in range(count)]
    codes = [child.wait() for child in all_at_once(place, names, main)]
    told = [reported(place, name) for name in names]
    found: dict[str, Any] = {
        "errors": Counter(one["error"] for one in told if "error" in one),
        "traces": [one["trace"] for one in told if one.get("error") not in (None, "AlreadyAnswered")][:2],
        "winners": [one["result"] for one in told if "result" in one],
        "killed": codes.count(-signal.SIGKILL),
    }
    if kill is not None:
        found["after"] = continued(Place(folder, 3), GATED)
    return found | journaled(place)


def continued(place: Place, scenario: Scenario) -> dict[str, Any]:
    """Goes on with the run in another process, without an answer."""

    async def main() -> Any:
        return outcome(await scenario.flujo(store_at(place)).resume_async(RUN))

    name = f"continued-{place.stage}"
    forked(place, name, main).wait()
    return reported(place, name)


def journaled(place: Place) -> dict[str, Any]:
    """How often each body began, and what the journal holds, asked in another process: this one has no thread."""

    async def main() -> Any:
        store = store_at(place)
        mails = [mail.kind for mail in await store.mail(RUN)]
        run = await store.run(RUN)
        return {"known": (await known(store))._asdict(), "mail": mails, "status": run.status if run else None}

    forked(place, "journal", main).wait()
    began = Counter(one["address"] for one in lines(place) if one["what"] == "start")
    told: dict[str, Any] = reported(place, "journal")
    return {"began": began, **told.get("result", told)}


# ---------------------------------------------------------------------------------------------- while a sibling works


def _waits(name: str, place: Place) -> Any:
    """A step that works until a file is there."""

    @step(name=name)
    async def wait(value: int, context: Ledger, info: RunInfo) -> int:
        with noted(info):
            context.log.append(name)
            (place.folder / f"{name} works").touch()
            await until_async((place.folder / f"{name} may end").exists)
        return value + 1

    return wait


@step
async def joined(value: dict[str, int], info: RunInfo) -> int:
    with noted(info):
        return sum(value.values())


async def asked(store: Store) -> None:
    """Waits until a question is open."""
    for _ in range(3000):
        if await store.questions():
            return
        await asyncio.sleep(0.005)
    raise TimeoutError("nothing was asked")


def sibling(folder: Path, count: int, *, dies: bool = False) -> dict[str, Any]:
    """One process works in a branch while another answers the question of the other branch."""
    place = Place(folder)
    fan = Parallel("fan", ask=asks("ask") >> leaf("b"), slow=_waits("slow", place))
    scenario = Scenario(lambda: (fan >> joined, {"context": Ledger}))

    async def holder() -> Any:
        return outcome(await scenario.flujo(store_at(place)).run_async(1, run_id=RUN))

    async def answerer() -> Any:
        store = store_at(place)
        await asked(store)
        flujo = scenario.flujo(store)
        (question,) = await flujo.pending_async()
        result = await flujo.resume_async(RUN, answer_to(question.address))
        again = None
        try:
            await flujo.resume_async(RUN, 1)
        except Exception as error:
            again = type(error).__name__
        return {"status": result.status, "token": question.token, "again": again}

    first = forked(place, "holder", holder)
    until((folder / "slow works").exists)
    forked(Place(folder, 2), "answerer", answerer).wait()
    if dies:
        first.kill()
        first.wait()
    (folder / "slow may end").touch()
    found = {"answerer": reported(place, "answerer")}
    if dies:
        found["holder"] = continued(Place(folder, 3), scenario)
    else:
        first.wait()
        found["holder"] = reported(place, "holder")
    return found | journaled(place)


# -------------------------------------------------------------------------------------------------- who stands still


def stopped(folder: Path, count: int) -> dict[str, Any]:
    """A holder is stopped (SIGSTOP) for longer than its lease lasts; another takes over; the first one wakes up."""
    place = Place(folder)
    scenario = Scenario(lambda: (leaf("a") >> _waits("slow", place) >> leaf("z"), {"context": Ledger}))

    def holds(ttl: float | None) -> Any:
        async def main() -> Any:
            store = Watched(store_at(place), ttl=ttl)
            return outcome(await scenario.flujo(store).run_async(1, run_id=RUN))

        return main

    first = forked(place, "first", holds(0.7))
    until((folder / "slow works").exists)
    os.kill(first.pid, signal.SIGSTOP)
    busy = continued(Place(folder, 2), scenario)  # it lives, and its lease has not run out
    time.sleep(0.8)
    second = forked(Place(folder, 3), "second", holds(None))
    until(lambda: any(one["stage"] == 3 and one["address"] == "slow" for one in lines(place)))
    os.kill(first.pid, signal.SIGCONT)
    (folder / "slow may end").touch()
    first.wait()
    second.wait()
    found = {"busy": busy, "first": reported(place, "first"), "second": reported(place, "second")}
    log = [(one["stage"], one["what"], one["address"], one["epoch"]) for one in lines(place)]
    return found | journaled(place) | {"log": log}


def called_again(folder: Path, count: int) -> dict[str, Any]:
    """Other processes call a paused run again by its id."""
    place = Place(folder)
    paused(place, GATED)
    place.stage = 2

    async def again(name: str) -> Any:
        result = await GATED.flujo(store_at(place)).run_async(GATED.input, run_id=RUN)
        return {"status": result.status, "tokens": [one.token for one in result.questions]}

    names = [str(number) for number in range(count)]
    for child in all_at_once(place, names, again):
        child.wait()
    return {"told": [reported(place, name) for name in names]} | journaled(place)


def two_who_resume(folder: Path, count: int) -> dict[str, Any]:
    """Many processes go on with one run that has crashed."""
    place = Place(folder)

    async def crashes() -> Any:
        await GATED.flujo(Watched(store_at(place), Kill(3, "after"))).run_async(3, run_id=RUN)

    assert forked(place, "crashes", crashes).wait() == -signal.SIGKILL
    place.stage = 2

    async def goes_on(name: str) -> Any:
        return (await GATED.flujo(store_at(place)).resume_async(RUN)).status

    names = [str(number) for number in range(count)]
    for child in all_at_once(place, names, goes_on):
        child.wait()
    return {"told": [reported(place, name) for name in names]} | journaled(place)


def full(folder: Path, count: int) -> dict[str, Any]:
    """The disk is full in the middle of a run (``folder`` is on a small one), and later it is not."""
    rest = folder.with_name("rest")
    rest.mkdir()
    place = Place(rest, 1, disk=folder)
    scenario = Scenario(lambda: (leaf("a") >> _fills(place) >> leaf("b") >> leaf("c"), {"context": Ledger}))

    async def runs() -> Any:
        return outcome(await scenario.flujo(store_at(place)).run_async(1, run_id=RUN))

    forked(place, "full", runs).wait()
    found = {"full": reported(place, "full")}
    (folder / "ballast").unlink(missing_ok=True)
    found["after"] = continued(Place(rest, 2, disk=folder), scenario)
    return found | journaled(place)


def _fills(place: Place) -> Any:
    @step(name="fill")
    async def fill(value: int, info: RunInfo) -> str:
        with noted(info):
            if place.disk and not (place.folder / "filled").exists():
                (place.folder / "filled").touch()
                with (place.disk / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
                    while ballast.write(b"x" * 4096):
                        pass
        return "x" * 40_000

    @step(name="shrink")
    async def shrink(text: str, info: RunInfo) -> int:
        with noted(info):
            return len(text)

    return fill >> shrink


RACES: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "redeemed": redeemed,
    "redeemed, the winner is killed when it has posted": lambda folder, count: redeemed(
        folder, count, kill=Kill(1, "after")
    ),
    "redeemed, the winner is killed when it has the lease": lambda folder, count: redeemed(
        folder, count, kill=Kill(1, "after"), of=("acquire",)
    ),
    "redeemed, the winner is killed when it has resumed": lambda folder, count: redeemed(
        folder, count, kill=Kill(1, "after"), of=("append",)
    ),
    "redeemed, the winner is killed before it writes again": lambda folder, count: redeemed(
        folder, count, kill=Kill(2, "before"), of=("append",)
    ),
    "sibling": sibling,
    "sibling, and the holder dies": lambda folder, count: sibling(folder, count, dies=True),
    "stopped": stopped,
    "called again": called_again,
    "two who resume": two_who_resume,
    "full": full,
}
