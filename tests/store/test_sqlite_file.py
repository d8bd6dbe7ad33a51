"""The file of a SQLite store: how it is brought up to date, how much an append writes, what is remembered of it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from flujo_core.errors import ConfigurationError, StoreError, StoreFull, StoreRefused
from flujo_core.model.spend import Limit, Spend
from flujo_core.store import sqlite_tables
from flujo_core.store.ledger import Hold
from flujo_core.store.protocol import Lease, Record
from flujo_core.store.sqlite import SQLiteStore
from flujo_core.store.sqlite_file import APPLICATION_ID, SCHEMA_VERSION, _migrate, _not_opened, failure, open_file
from flujo_core.store.sqlite_tables import KNOWN, UNPLACED, Tables
from flujo_core.store.url import sqlite_path, sqlite_store

SCHEMA_1 = """
create table run (
    run_id text primary key, tenant text, status text not null, started_at real not null, updated_at real not null,
    records integer not null
) without rowid;
create index run_by_age on run (started_at desc, run_id desc);
create table record (
    run_id text not null, sequence integer not null, kind text not null, address text not null, outcome text not null,
    at real not null, payload blob not null, primary key (run_id, sequence)
) without rowid;
"""


def version_1(path: Path, runs: int = 3) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("pragma journal_mode = wal")
    connection.executescript(SCHEMA_1)
    for number in range(runs):
        run_id, at = f"r{number}", float(number)
        connection.execute("insert into run values (?, 'acme', 'completed', ?, ?, 3)", (run_id, at, at + 9))
        rows = [
            (run_id, 1, "run_started", "", "", at, b'{"pipeline":"p"}'),
            (run_id, 2, "step_completed", "a/b", "completed", at + 5, b"\x00\xff"),
            (run_id, 3, "run_ended", "", "completed", at + 9, b"{}"),
        ]
        connection.executemany("insert into record values (?, ?, ?, ?, ?, ?, ?)", rows)
    connection.execute(f"pragma application_id = {APPLICATION_ID}")
    connection.execute("pragma user_version = 1")
    connection.close()


def use(path: Path, work: Any) -> Any:
    async def main() -> Any:
        store = SQLiteStore(path)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(asyncio.wait_for(main(), 60))


def test_a_file_of_version_1_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    version_1(path)

    async def work(store: SQLiteStore) -> None:
        runs = await store.runs(tenant="acme", status="completed")
        assert [(one.run_id, one.records, one.started_at, one.updated_at) for one in runs] == [
            ("r2", 3, 2.0, 11.0), ("r1", 3, 1.0, 10.0), ("r0", 3, 0.0, 9.0),
        ]  # fmt: skip
        assert {(one.epoch, one.holder, one.held_until, one.mail, one.taken) for one in runs} == {(1, "", 0.0, 0, 0)}
        assert list(await store.read("r1")) == [
            Record("r1", "acme", 1, "run_started", "", "running", 1.0, b'{"pipeline":"p"}'),
            Record("r1", "acme", 2, "step_completed", "a/b", "completed", 6.0, b"\x00\xff"),
            Record("r1", "acme", 3, "run_ended", "", "completed", 10.0, b"{}"),
        ]
        lease = await store.acquire("r1", "me", 60.0)
        await store.append([Record("r1", "acme", 4, "run_resumed", "", "running", 20.0, b"{}", 2)], lease)
        assert [one.sequence for one in await store.read("r1", after=2)] == [3, 4]

    use(path, work)
    connection = sqlite3.connect(path)
    assert connection.execute("pragma user_version").fetchone() == (SCHEMA_VERSION,)
    assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
    assert not connection.execute("select name from sqlite_master where type = 'table' and name like '%1'").fetchall()
    connection.close()


def test_a_file_of_version_2_gets_ledgers_and_keeps_its_runs(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    open_file(path).close()
    connection = sqlite3.connect(path)
    connection.execute("insert into run values (1, 'r', 'acme', 'completed', 1.0, 1, '', 0.0, 0, 0)")
    connection.executescript("drop table spent; drop table held; pragma user_version = 2")
    connection.close()

    async def work(store: SQLiteStore) -> None:
        assert [one.run_id for one in await store.runs()] == ["r"]
        assert await store.reserve(Hold("acme", "a", Spend(tokens=5), 60.0), [Limit(tokens=5)]) is None
        assert (await store.standing("acme")).held == Spend(tokens=5)

    use(path, work)


def test_many_who_open_a_file_of_version_1_at_once_bring_it_up_to_date_once(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    version_1(path, 500)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            open_file(path).close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    connection = open_file(path)
    _migrate(connection)  # who comes late finds that it is done
    assert connection.execute("select count(*) from record").fetchone() == (1500,)
    connection.close()


def test_a_file_of_version_1_that_is_damaged_is_refused_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    version_1(path, 400)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = b"\xab" * (len(content) - len(content) // 2)
    path.write_bytes(content)

    async def work(store: SQLiteStore) -> None:
        with pytest.raises(StoreRefused, match="left as it is"):
            await store.runs()

    use(path, work)
    assert path.read_bytes() == content
    assert [one.name for one in tmp_path.iterdir()] == ["runs.db"]


def chain(path: Path, steps: int, payload: int) -> float:
    """The bytes that each append of two records writes to the log."""

    async def work(store: SQLiteStore) -> float:
        lease = Lease("r", 1, "host/boot/123/456", 30.0)
        await store.append([Record("r", None, 1, "run_started", "", "running", 1.0, b"x" * payload)], lease)
        before = Path(f"{path}-wal").stat().st_size
        for sequence in range(2, 2 + 2 * steps, 2):
            done = Record("r", None, sequence, "step_completed", "step", "completed", 1.0, b"x" * payload)
            begun = Record("r", None, sequence + 1, "step_started", "next", "", 1.0, b'{"attempt":1}')
            await store.append([done, begun], lease)
        return (Path(f"{path}-wal").stat().st_size - before) / steps

    return float(use(path, work))


@pytest.mark.parametrize(("payload", "most"), [(100, 5000), (1024, 9000)])
def test_an_append_writes_little_more_than_one_page(tmp_path: Path, payload: int, most: int) -> None:
    assert chain(tmp_path / "runs.db", 100, payload) <= most


def test_an_append_is_as_fast_in_a_long_journal(tmp_path: Path) -> None:
    async def work(store: SQLiteStore) -> None:
        lease = Lease("r", 1, "me", 60.0)
        times = []
        for sequence in range(1, 4001):
            start = time.perf_counter()
            await store.append([Record("r", None, sequence, "step_started", "", "", 1.0, b"x" * 100)], lease)
            times.append(time.perf_counter() - start)
        early, late = sorted(times[:1000])[500], sorted(times[3000:])[500]
        assert late < 2 * early

    use(tmp_path / "runs.db", work)


def test_a_run_is_read_whole_while_its_places_are_noted_by_another(tmp_path: Path) -> None:
    """Two connections that write by turns do not believe what they remember of each other's runs."""

    async def work(one: SQLiteStore) -> None:
        other = SQLiteStore(tmp_path / "runs.db")
        lease = Lease("r", 1, "me", 60.0)
        for sequence in range(1, 2 * UNPLACED):
            store = (one, other)[sequence % 3 == 0]
            await store.append([Record("r", None, sequence, "step_started", "", "", 1.0, b"{}")], lease)
            if sequence % 50 == 0:
                for reader in (one, other):
                    assert [record.sequence for record in await reader.read("r")] == list(range(1, sequence + 1))
                    run = await reader.run("r")
                    assert run is not None and run.records == sequence
        await other.close()

    use(tmp_path / "runs.db", work)


def test_no_more_runs_are_remembered_than_there_is_room_for(tmp_path: Path) -> None:
    tables = Tables(open_file(tmp_path / "runs.db", "normal"))
    tables.begin(writes=True)
    for number in range(KNOWN + 5):
        first = Record(f"r{number}", None, 1, "run_started", "", "running", 1.0, b"{}")
        tables.append([first], Lease(first.run_id, 1, "me", 60.0), None, False)
    tables.commit()
    assert len(tables._known) == 5
    tables.begin(writes=False)
    assert len(tables.runs(KNOWN * 2, None, None, None)) == KNOWN + 5
    tables.rollback()
    tables.connection.close()


def test_an_append_makes_a_lease_last_again_before_a_third_of_it_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(sqlite_tables, "time", lambda: now)
    tables = Tables(open_file(tmp_path / "runs.db"))
    lease = Lease("r", 1, "me", 30.0)
    tables.begin(writes=True)
    for sequence, (at, until) in enumerate([(0, 30), (5, 30), (9.5, 30), (10.5, 40.5), (100, 130)], 1):
        now = 1000.0 + at
        tables.append([Record("r", None, sequence, "step_started", "", "", 1.0, b"{}")], lease, None, False)
        run = tables.run("r")
        assert run is not None and run.held_until == 1000.0 + until
    tables.rollback()
    tables.connection.close()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, StoreFull), (sqlite3.SQLITE_IOERR_WRITE, StoreFull),
        (sqlite3.SQLITE_CORRUPT, StoreRefused), (sqlite3.SQLITE_IOERR_READ, StoreError),
    ],
)  # fmt: skip
def test_what_sqlite_says_becomes_an_error_of_the_store(code: int, kind: type[StoreError]) -> None:
    error = sqlite3.OperationalError("what it says")
    error.sqlite_errorcode = code
    made = failure(Path("runs.db"), error)
    assert type(made) is kind and "what it says" in str(made) and made.__cause__ is error
    assert type(_not_opened(Path("runs.db"), error)) is (StoreFull if kind is StoreFull else StoreRefused)


def test_the_text_of_another_error_is_not_told() -> None:
    assert str(failure(Path("runs.db"), ValueError("a value"))) == (
        "the store runs.db could not do its work (ValueError)"
    )


@pytest.mark.parametrize(("ending", "mode"), [("", 2), ("?synchronous=full", 2), ("?synchronous=normal", 1)])
def test_a_url_says_when_the_disk_is_waited_for(tmp_path: Path, ending: str, mode: int) -> None:
    store = sqlite_store(f"sqlite:///{tmp_path}/runs.db{ending}")
    assert isinstance(store, SQLiteStore)
    assert sqlite_path(f"sqlite:///a/b.db{ending}") == "a/b.db"

    async def main() -> None:
        asked = await store._do(lambda tables: tables.connection.execute("pragma synchronous").fetchone())
        assert asked == (mode,)
        await store.close()

    asyncio.run(main())
    assert [one.name for one in tmp_path.iterdir()] == ["runs.db"]


@pytest.mark.parametrize("url", ["sqlite:///", "sqlite://runs.db", "sqlite:///?synchronous=full"])
def test_a_url_without_a_file_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="names no store"):
        sqlite_store(url)


def test_a_url_that_asks_for_something_else_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'full' or 'normal'"):
        sqlite_store("sqlite:///runs.db?synchronous=off")
