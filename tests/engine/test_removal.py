"""How runs are deleted and pruned: only what has ended, unless that is forced, and never what somebody has."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from plugin_kit import alone

from flujo_core import (
    ConfigurationError,
    Flujo,
    HumanInput,
    Lease,
    MemoryStore,
    PluginSettings,
    Record,
    RunBusy,
    RunUnfinished,
    Settings,
    SQLiteStore,
    Store,
    StoreError,
    UnknownRun,
    step,
)
from flujo_core.engine.removal import about, erase, prunable, prune, subject_digest
from flujo_core.model.retention import ENDED, Retention
from flujo_core.store.paging import PAGE


@step
async def double(x: int) -> int:
    return x * 2


ASKING = double >> HumanInput("gate", int, ask="How many?")


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "runs.db")
    yield made
    asyncio.run(made.close())


def first(run_id: str, at: float = 1.0, outcome: str = "running") -> list[Record]:
    end = Record(run_id, None, 2, "run_ended", "", "completed", at, b"{}")
    begin = Record(run_id, None, 1, "run_started", "", "running", at, b"{}")
    return [begin] if outcome == "running" else [begin, end]


def test_a_run_that_has_ended_is_deleted_and_its_id_is_free(store: Store) -> None:
    flujo: Any = alone(double, store=store)

    async def main() -> None:
        await flujo.run_async(1, run_id="r")
        await flujo.delete_async("r")
        with pytest.raises(UnknownRun):
            await flujo.replay_async("r")
        with pytest.raises(UnknownRun):
            await flujo.delete_async("r")
        assert (await flujo.run_async(4, run_id="r")).output == 8
        await store.close()

    asyncio.run(main())


def test_a_run_that_waits_is_deleted_only_by_force(store: Store) -> None:
    flujo: Any = alone(ASKING, store=store)

    async def main() -> None:
        await flujo.run_async(1, run_id="r")
        with pytest.raises(RunUnfinished, match="run 'r' is paused, and only runs that have ended are deleted"):
            await flujo.delete_async("r")
        assert (await flujo.resume_async("r", 3)).output == 3, "it goes on as if nothing had been"
        await flujo.run_async(1, run_id="s")
        await flujo.delete_async("s", force=True)
        assert await flujo.pending_async() == []
        await store.close()

    asyncio.run(main())


def test_a_run_that_somebody_has_is_not_deleted_even_by_force(store: Store) -> None:
    flujo: Any = alone(double, store=store)

    async def main() -> None:
        await store.append(first("r"), Lease("r", 1, "elsewhere", 60.0))
        with pytest.raises(RunBusy):
            await flujo.delete_async("r", force=True)
        assert len(await store.read("r")) == 1
        await store.close()

    asyncio.run(main())


def test_of_two_who_delete_a_run_one_does_and_the_other_is_told(store: Store) -> None:
    flujo: Any = alone(double, store=store)

    async def main() -> None:
        await flujo.run_async(1, run_id="r")
        both = await asyncio.gather(*(flujo.delete_async("r") for _ in range(2)), return_exceptions=True)
        assert both.count(None) == 1 and isinstance(both[both[0] is None], UnknownRun | RunBusy)
        assert await store.run("r") is None
        await store.close()

    asyncio.run(main())


def test_only_what_ended_long_ago_is_pruned(store: Store) -> None:
    async def main() -> None:
        now = await store.time()
        for number in range(PAGE + 5):
            await store.append(first(f"old {number}", 5.0, "ended"), Lease(f"old {number}", 1, "m", 9.0), release=True)
        await store.append(first("new", now, "ended"), Lease("new", 1, "me", 9.0), release=True)
        await store.append(first("open", 5.0), Lease("open", 1, "me", 9.0), release=True)
        await store.append(first("held", 5.0, "ended"), Lease("held", 1, "elsewhere", 60.0))
        hour = dict.fromkeys(ENDED, 3600.0)
        found = await prunable(store, hour)
        ids = [one.run_id for one in found]
        assert len(ids) == PAGE + 6 and {"new", "open"}.isdisjoint(ids)
        assert await prunable(store, hour, tenant="acme") == []
        assert await prunable(store, {"failed": 0.0}) == []
        others = [await store.run(one) for one in ("held", "open")]
        nobody = found[0]._replace(run_id="nobody")
        done = await prune(store, [*found[:3], *filter(None, others), nobody])
        assert list(done) == [one for one in ids[:3] if one != "held"]
        assert await store.run("held") and await store.run("open") and await store.run("new")
        await store.close()

    asyncio.run(main())


def test_a_program_prunes_as_it_says_or_as_the_configuration_does(store: Store) -> None:
    retention = Retention({"completed": 3600.0}, at_least=60.0)
    kept: Any = Flujo(double, store=store, settings=Settings(PluginSettings(allow=()), retention=retention))

    async def main() -> None:
        now = await store.time()
        for run_id, at, tenant in (("old", 5.0, None), ("new", now - 100, None), ("other", 5.0, "acme")):
            records = [one._replace(tenant=tenant) for one in first(run_id, at, "ended")]
            await store.append(records, Lease(run_id, 1, "m", 9.0), release=True)
        assert await kept.prune_async(tenant="acme") == ["other"]
        assert await kept.prune_async() == ["old"]
        with pytest.raises(ConfigurationError, match="runs are kept for 1 min 00 s, as 'retention"):
            await kept.prune_async(timedelta(seconds=59))
        assert await kept.prune_async(timedelta(seconds=60)) == ["new"]
        with pytest.raises(ConfigurationError, match="nothing says how long runs are kept"):
            await alone(double, store=store).prune_async()
        await store.close()

    asyncio.run(main())


def test_what_has_gone_on_since_it_was_chosen_is_not_pruned(store: Store) -> None:
    async def main() -> None:
        await store.append(first("r", 5.0, "ended"), Lease("r", 1, "me", 9.0), release=True)
        chosen = await prunable(store, dict.fromkeys(ENDED, 3600.0))
        lease = await store.acquire("r", "me", 9.0)
        ended = (await store.read("r"))[-1]
        await store.append([ended._replace(sequence=ended.sequence + 1, epoch=lease.epoch)], lease, release=True)
        assert await prune(store, chosen) == []
        assert len(await prune(store, await prunable(store, dict.fromkeys(ENDED, 3600.0)))) == 1
        await store.close()

    asyncio.run(main())


def test_a_journal_that_cannot_be_read_is_not_compared_and_can_be_deleted(store: Store) -> None:
    flujo: Any = alone(double, store=store)

    async def main() -> None:
        await store.append(first("r", outcome="ended"), Lease("r", 1, "me", 9.0), release=True)
        with pytest.raises(StoreError, match="journal of run 'r' cannot be read"):
            await flujo.diff_async("r", "r")
        await flujo.delete_async("r")
        await store.close()

    asyncio.run(main())


def test_all_runs_about_somebody_are_erased_their_forks_too(store: Store) -> None:
    flujo: Any = alone(ASKING, store=store)

    async def main() -> None:
        await flujo.run_async(1, run_id="a", subject="ann", tenant="acme")
        await flujo.run_async(1, run_id="b", subject="bob", tenant="acme")
        await flujo.run_async(1, run_id="c", subject="ann", tenant="other")
        await flujo.run_async(1, run_id="d")
        await flujo.resume_async("a", 3)
        await flujo.fork_async("a", at="gate", fork_id="f")
        await flujo.resume_async("f", 3)
        assert not any(b"ann" in record.payload for record in await store.read("a")), "only a digest is kept"
        assert sorted(await flujo.erase_async("ann", tenant="acme")) == ["a", "f"]
        assert await flujo.erase_async("Ann") == []
        assert await flujo.erase_async("ann") == ["c"]
        assert sorted(run.run_id for run in await store.runs()) == ["b", "d"]
        await store.close()

    asyncio.run(main())


def test_an_erasure_that_cannot_be_whole_is_said_after_all_else_is_gone(store: Store) -> None:
    flujo: Any = alone(ASKING, store=store)

    async def main() -> None:
        for run_id in "abc":
            await flujo.run_async(1, run_id=run_id, subject="ann")
        lease = await store.acquire("b", "elsewhere", 60.0)
        with pytest.raises(RunBusy, match="'b'"):
            await flujo.erase_async("ann")
        assert [run.run_id for run in await store.runs()] == ["b"]
        await store.release(lease)
        (left,) = await store.runs()
        assert await erase(store, [left._replace(run_id="nobody"), left], subject_digest("ann")) == ["b"]
        await store.close()

    asyncio.run(main())


def test_a_run_that_is_deleted_while_it_is_looked_for_is_passed_over() -> None:
    class Late(MemoryStore):
        async def read(self, run_id: str, /, *, after: int = 0) -> Any:
            return []

    async def main() -> None:
        store = Late()
        await store.append(first("r"), Lease("r", 1, "me", 9.0), release=True)
        assert await about(store, subject_digest("ann")) == []

    asyncio.run(main())


def test_a_stream_tells_its_subject_too_and_a_flujo_without_a_store_keeps_none() -> None:
    store = MemoryStore()
    flujo: Any = alone(double, store=store)

    async def main() -> None:
        async with flujo.stream(1, run_id="s", subject="ann") as run:
            async for _ in run:
                pass
        assert await flujo.erase_async("ann") == ["s"]

    asyncio.run(main())
    assert alone(double).run(2, subject="ann").output == 4
