"""A server that restarts in the middle of many runs: none is lost, and no committed step runs again."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from flujo_postgres import PostgresStore

from flujo_core import Flujo, Pipeline, PluginSettings, Settings, StoreError, UnknownRun, step

RUNS = 100
HELD = "s4"
ALONE = Settings(PluginSettings(allow=()))


def pipeline(
    began: Counter[tuple[str, str]],
    committed: set[tuple[str, str]],
    again: list[Any],
    midst: asyncio.Event,
    down: asyncio.Event,
) -> Pipeline[Any, Any, Any]:
    def one(name: str) -> Any:
        async def body(run: str) -> str:
            if (run, name) in committed:
                again.append((run, name))
            began[run, name] += 1
            await asyncio.sleep(0.02)
            if name == HELD and run.endswith("0"):  # some are in the midst of a step when the server goes away
                midst.set()
                await down.wait()
            return run

        return step(name=name)(body)

    steps = [one(f"s{number}") for number in range(8)]
    whole = steps[0]
    for later in steps[1:]:
        whole = whole >> later
    return whole


async def _kept(store: PostgresStore, run_ids: list[str]) -> set[tuple[str, str]]:
    found = set()
    for run_id in run_ids:
        found |= {(run_id, one.address) for one in await store.read(run_id) if one.kind == "step_completed"}
    return found


def test_a_restart_in_the_middle_of_runs_loses_nothing(server: Any) -> None:
    began: Counter[tuple[str, str]] = Counter()
    committed: set[tuple[str, str]] = set()
    again: list[Any] = []
    under_way: list[str] = []

    async def main() -> list[str]:
        store, midst, down = PostgresStore(server.url()), asyncio.Event(), asyncio.Event()
        flujo = Flujo(pipeline(began, committed, again, midst, down), store=store, settings=ALONE)
        run_ids = [f"r{number}" for number in range(RUNS)]

        async def run(run_id: str) -> str:
            try:
                return (await flujo.run_async(run_id, run_id=run_id)).status
            except StoreError:
                return "stopped"

        async def restart() -> None:
            await midst.wait()
            await asyncio.to_thread(server.stop, "immediate")
            under_way.extend({run for run, name in began} - {run for run, name in began if name == "s7"})
            down.set()
            await asyncio.to_thread(server.start)

        first, _ = await asyncio.gather(asyncio.gather(*map(run, run_ids)), restart())
        committed.update(await _kept(store, run_ids))
        ends = []
        for run_id, status in zip(run_ids, first, strict=True):
            if status == "stopped":
                try:
                    status = (await flujo.resume_async(run_id)).status
                except UnknownRun:  # not even its first record was kept
                    status = (await flujo.run_async(run_id, run_id=run_id)).status
            ends.append(status)
        assert len(under_way) >= RUNS // 10, "the server was away when all had ended"
        assert len(await _kept(store, run_ids)) == RUNS * 8
        await store.close()
        return ends

    assert asyncio.run(main()) == ["completed"] * RUNS
    assert again == []
    assert sum(began.values()) <= RUNS * 9, "a step ran again that had not been at work when the server stopped"
