"""What every store must do, checked for the memory store and for the SQLite store alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from flujo_core.errors import RunExists, StoreError
from flujo_core.store.memory import MemoryStore
from flujo_core.store.protocol import Lease, Record, Store
from flujo_core.store.sqlite import SQLiteStore

Scenario = Callable[[Store], Awaitable[Any]]
Play = Callable[[Scenario], Any]


@pytest.fixture(params=["memory", "sqlite"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Play:
    """Plays a scenario with a store of its own, closed at the end."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Store]:
        store: Store = MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "runs.db")
        try:
            yield store
        finally:
            await store.close()

    async def played(scenario: Scenario) -> Any:
        async with opened() as store:
            return await scenario(store)

    return lambda scenario: asyncio.run(asyncio.wait_for(played(scenario), 30))


def lease(run_id: str) -> Lease:
    return Lease(run_id, 1, "me", 60.0)


def record(run_id: str, sequence: int, *, kind: str = "", at: float | None = None, **more: Any) -> Record:
    kind = kind or ("run_started" if sequence == 1 else "step_started")
    values = {"tenant": None, "address": "", "outcome": "", "payload": b"{}"} | more
    return Record(
        run_id, values["tenant"], sequence, kind, values["address"], values["outcome"],
        float(sequence) if at is None else at, values["payload"],
    )  # fmt: skip


def test_records_come_back_as_they_were(play: Play) -> None:
    kept = [
        record("r", 1, tenant="acme", payload=b"\x00\xff\n{}"),
        record("r", 2, tenant="acme", address="a/b%20c", kind="step_completed", outcome="completed", at=1.123456789012),
    ]

    async def scenario(store: Store) -> None:
        await store.append(kept, lease("r"))
        assert list(await store.read("r")) == kept
        assert all(type(one) is Record for one in await store.read("r"))

    play(scenario)


@pytest.mark.parametrize("run_id", ["a'b\"c", "ü/\u2028\n", "x" * 5000, "%_*", " "])
def test_any_text_can_be_a_run_id(play: Play, run_id: str) -> None:
    async def scenario(store: Store) -> None:
        await store.append([record(run_id, 1)], lease(run_id))
        assert [one.run_id for one in await store.read(run_id)] == [run_id]
        assert await store.read(run_id + "?") == []

    play(scenario)


def test_records_come_in_order_and_from_where_one_asks(play: Play) -> None:
    async def scenario(store: Store) -> None:
        for sequence in range(1, 12):
            await store.append([record("r", sequence)], lease("r"))
        assert [one.sequence for one in await store.read("r")] == list(range(1, 12))
        assert [one.sequence for one in await store.read("r", after=9)] == [10, 11]
        assert await store.read("r", after=11) == [] and await store.read("r", after=99) == []

    play(scenario)


def test_an_unknown_run_has_no_records(play: Play) -> None:
    async def scenario(store: Store) -> None:
        assert await store.read("nobody") == [] and await store.runs() == []

    play(scenario)


@pytest.mark.parametrize("sequence", [1, 2, 4, 9])
def test_a_place_that_is_taken_or_leaves_a_gap_is_refused_and_nothing_is_kept(play: Play, sequence: int) -> None:
    async def scenario(store: Store) -> None:
        await store.append([record("r", 1), record("r", 2)], lease("r"))
        before = (list(await store.read("r")), list(await store.runs()))
        with pytest.raises(RunExists if sequence == 1 else StoreError, match="'r'"):
            await store.append(
                [record("r", sequence, kind="run_ended", outcome="failed"), record("r", sequence + 1)], lease("r")
            )
        assert (list(await store.read("r")), list(await store.runs())) == before
        await store.append([record("r", 3)], lease("r"))
        assert len(await store.read("r")) == 3

    play(scenario)


def test_of_many_runs_with_one_id_exactly_one_begins(play: Play) -> None:
    async def scenario(store: Store) -> None:
        tries = [store.append([record("r", 1, tenant=str(n))], lease("r")) for n in range(20)]
        outcomes = await asyncio.gather(*tries, return_exceptions=True)
        assert sorted(type(one).__name__ for one in outcomes) == ["NoneType"] + ["RunExists"] * 19
        winner = next(n for n, one in enumerate(outcomes) if one is None)
        assert [one.tenant for one in await store.read("r")] == [str(winner)]

    play(scenario)


def test_runs_are_listed_latest_first_with_their_status(play: Play) -> None:
    async def scenario(store: Store) -> None:
        await store.append([record("a", 1, at=1.0)], lease("a"))
        await store.append(
            [record("b", 1, at=2.0), record("b", 2, at=5.0, kind="run_ended", outcome="stopped")], lease("b")
        )
        await store.append([record("c", 1, at=2.0)], lease("c"))
        await store.append([record("a", 2, at=9.0, kind="step_failed", outcome="failed")], lease("a"))
        runs = await store.runs()
        assert [(one.run_id, one.status, one.started_at, one.updated_at, one.records) for one in runs] == [
            ("c", "running", 2.0, 2.0, 1), ("b", "stopped", 2.0, 5.0, 2), ("a", "running", 1.0, 9.0, 2),
        ]  # fmt: skip

    play(scenario)


def test_runs_are_listed_page_by_page_without_loss_or_repetition(play: Play) -> None:
    async def scenario(store: Store) -> None:
        for number in range(25):
            await store.append(
                [record(f"r{number:02}", 1, at=float(number // 4), tenant="ab"[number % 2])], lease(f"r{number:02}")
            )
        seen: list[str] = []
        last = None
        while page := await store.runs(limit=4, before=last):
            assert len(page) <= 4
            seen += [one.run_id for one in page]
            last = page[-1]
        assert seen == [f"r{number:02}" for number in reversed(range(25))]
        ours = await store.runs(limit=3, tenant="a")
        assert [one.run_id for one in ours] == ["r24", "r22", "r20"]
        assert [one.run_id for one in await store.runs(limit=2, tenant="a", before=ours[-1])] == ["r18", "r16"]
        assert await store.runs(tenant="nobody") == [] and await store.runs(limit=0) == []
        assert len(await store.runs()) == 25

    play(scenario)


def test_a_store_that_was_closed_can_be_used_again(play: Play) -> None:
    async def scenario(store: Store) -> None:
        await store.append([record("r", 1)], lease("r"))
        await store.close()
        await store.close()
        assert len(await store.read("r")) == 1
        await store.append([record("r", 2)], lease("r"))
        await store.close()
        assert [one.sequence for one in await store.read("r")] == [1, 2]

    play(scenario)


def test_a_store_that_was_never_used_can_be_closed(play: Play) -> None:
    async def scenario(store: Store) -> None:
        await store.close()

    play(scenario)


def test_what_a_caller_does_to_what_it_read_does_not_change_the_store(play: Play) -> None:
    async def scenario(store: Store) -> None:
        mine = [record("r", 1)]
        await store.append(mine, lease("r"))
        mine.clear()
        read = await store.read("r")
        if isinstance(read, list):
            read.clear()
        assert len(await store.read("r")) == 1

    play(scenario)


def test_a_hundred_runs_append_side_by_side(play: Play) -> None:
    async def one(store: Store, run_id: str) -> None:
        for sequence in range(1, 11):
            await store.append([record(run_id, sequence)], lease(run_id))

    async def scenario(store: Store) -> None:
        await asyncio.gather(*(one(store, f"r{n}") for n in range(100)))
        assert {run.records for run in await store.runs(limit=1000)} == {10}
        assert len(await store.runs(limit=1000)) == 100

    play(scenario)


@pytest.mark.parametrize(
    "abuse",
    [
        lambda store: store.read("\udcff"),
        lambda store: store.read("r", after=2**80),
        lambda store: store.runs(tenant="\udcff"),
        lambda store: store.append([record("\udcff", 1)], lease("\udcff")),
        lambda store: store.append([record("new", 2**80)], lease("new")),
    ],
    ids=["read", "after", "tenant", "append", "sequence"],
)
def test_a_call_that_cannot_be_served_gives_an_error_or_nothing_and_the_store_goes_on(play: Play, abuse: Any) -> None:
    async def scenario(store: Store) -> None:
        await store.append([record("r", 1)], lease("r"))
        try:
            found = await asyncio.wait_for(abuse(store), 3)
        except (StoreError, ValueError, OverflowError):
            found = None
        assert not found
        assert len(await asyncio.wait_for(store.read("r"), 3)) == 1

    play(scenario)
