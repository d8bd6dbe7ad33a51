"""Deletion in a SQLite file: no bytes of a run are left, and what comes after it is found."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from flujo_core.errors import StoreError
from flujo_core.store.protocol import Lease, Mail, Record
from flujo_core.store.sqlite import SQLiteStore
from flujo_core.store.sqlite_tables import UNPLACED
from flujo_core.store.sqlite_upkeep import problems, scrub

CANARY = b"CANARY-of-a-patient"


def first(run_id: str, payload: bytes = b"{}") -> Record:
    return Record(run_id, None, 1, "run_started", "", "running", 1.0, payload)


async def begun(store: SQLiteStore, run_id: str, payload: bytes = b"{}", count: int = 1) -> Lease:
    lease = Lease(run_id, 1, "me", 60.0)
    more = [first(run_id, payload)._replace(sequence=n, kind="step_started", outcome="") for n in range(2, count + 1)]
    await store.append([first(run_id, payload), *more], lease)
    return lease


def wrong_in(path: Path) -> list[str]:
    """What is wrong with a store, but for that these records are of no real run."""
    return [one for one in problems(path) if "cannot be read" not in one]


def bytes_of(folder: Path) -> bytes:
    return b"".join(one.read_bytes() for one in sorted(folder.iterdir()))


@pytest.mark.parametrize("size", [1, 300, 50_000])
@pytest.mark.parametrize("count", [1, 40, UNPLACED + 10])
def test_no_bytes_of_a_deleted_run_are_left_in_the_file_or_its_log(size: int, count: int, tmp_path: Path) -> None:
    size = min(size, 2_000_000 // count)

    async def main() -> None:
        store = SQLiteStore(tmp_path / "runs.db")
        await begun(store, "before")
        lease = await begun(store, "run", b"x" * size + CANARY, count)
        await store.post(Mail("run", 0, "cancel", 0, 0.0, CANARY, CANARY.decode()), seen=0)
        for number in range(30):
            await begun(store, f"after {number}", b"y" * 100, 5)
        assert CANARY in bytes_of(tmp_path)
        await store.delete(lease)
        assert CANARY not in bytes_of(tmp_path), "while the store is open"
        assert len(await store.runs()) == 31 and len(await store.read("after 7")) == 5
        await store.close()
        assert CANARY not in bytes_of(tmp_path)

    asyncio.run(main())
    assert wrong_in(tmp_path / "runs.db") == []


def test_records_that_come_after_the_deletion_of_the_last_ones_are_found(tmp_path: Path) -> None:
    async def main() -> None:
        store, other = SQLiteStore(tmp_path / "runs.db"), SQLiteStore(tmp_path / "runs.db")
        lease = await begun(store, "run", count=UNPLACED + 1)
        await store.delete(lease)
        for handle in (store, other, store):
            again = await begun(handle, "run", count=3)
            assert [one.sequence for one in await other.read("run")] == [1, 2, 3]
            assert [one.sequence for one in await store.read("run")] == [1, 2, 3]
            await other.delete(again)
        await begun(store, "next", count=UNPLACED + 5)
        assert len(await other.read("next")) == UNPLACED + 5
        await store.close()
        await other.close()

    asyncio.run(main())
    assert wrong_in(tmp_path / "runs.db") == []


def test_a_deletion_in_one_batch_with_appends_leaves_these(tmp_path: Path) -> None:
    async def main() -> None:
        store = SQLiteStore(tmp_path / "runs.db")
        leases = [await begun(store, f"r{number}", count=400) for number in range(4)]
        more = [one._replace(run_id="s") for one in [first("s")]]
        await asyncio.gather(*(store.delete(one) for one in leases), store.append(more, Lease("s", 1, "me", 9.0)))
        assert [run.run_id for run in await store.runs()] == ["s"] and len(await store.read("s")) == 1
        await store.close()

    asyncio.run(main())
    assert wrong_in(tmp_path / "runs.db") == []


def test_who_reads_for_too_long_keeps_bytes_in_the_log_and_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"

    async def main() -> None:
        store = SQLiteStore(path)
        lease = await begun(store, "run", CANARY)
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("begin")
        reader.execute("select * from run").fetchone()
        await store._do(lambda tables: tables.delete(lease), writes=True)
        with pytest.raises(StoreError, match="bytes of it may be left in the log"):
            scrub(path, patience=0.05)
        reader.close()
        scrub(path)
        assert CANARY not in bytes_of(tmp_path) and await store.run("run") is None
        await store.close()

    asyncio.run(main())


def test_a_file_that_is_damaged_is_not_scrubbed(tmp_path: Path) -> None:
    (tmp_path / "runs.db").write_text("no database " * 99)
    with pytest.raises(StoreError):
        scrub(tmp_path / "runs.db")
