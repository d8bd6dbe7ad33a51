"""The SQLite store as a file: whose it is, what it refuses, who may read it, how it is shared."""

from __future__ import annotations

import asyncio
import gc
import os
import queue
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from flujo_core import Flujo, step
from flujo_core.errors import RunExists, StoreError, StoreRefused
from flujo_core.store.protocol import Lease, Record
from flujo_core.store.sqlite import SQLiteStore
from flujo_core.store.sqlite_file import _create, open_file, use_write_ahead_log
from flujo_core.store.sqlite_tables import Tables
from flujo_core.store.sqlite_writer import Job, Writer


def lease(run_id: str) -> Lease:
    return Lease(run_id, 1, "me", 60.0)


def record(run_id: str, sequence: int, payload: bytes = b"{}") -> Record:
    return Record(run_id, None, sequence, "run_started", "", "", float(sequence), payload)


def keep(path: Path, count: int = 1, payload: bytes = b"{}") -> None:
    async def main() -> None:
        store = SQLiteStore(path)
        for number in range(count):
            await store.append([record(f"r{number}", 1, payload)], lease(f"r{number}"))
        await store.close()

    asyncio.run(main())


def refused(path: Path, kind: type[StoreError] = StoreRefused) -> str:
    """Uses the file in each way, checks that it is refused and not changed, and gives the message."""
    before = {one.name: one.read_bytes() for one in path.parent.iterdir() if one.is_file()}

    async def main() -> str:
        messages = []
        for use in ("read", "append", "runs"):
            store = SQLiteStore(path)
            with pytest.raises(kind) as raised:
                if use == "read":
                    await store.read("r0")
                elif use == "append":
                    await store.append([record("new", 1)], lease("new"))
                else:
                    await store.runs()
            messages.append(str(raised.value))
            await store.close()
        return messages[0]

    message = asyncio.run(asyncio.wait_for(main(), 60))
    after = {one.name: one.read_bytes() for one in path.parent.iterdir() if one.is_file()}
    assert after == before, "the file was changed"
    return message


@pytest.mark.parametrize(
    "content", [b"hello, this is a text\n" * 300, b"x", b"SQLite format 3", b"\0" * 4096, b"%PDF-1.7" + b"\1" * 9000],
    ids=["text", "one byte", "short header", "zeros", "pdf"],
)  # fmt: skip
def test_a_file_that_is_no_database_is_refused_and_not_changed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "runs.db"
    path.write_bytes(content)
    assert "runs.db" in refused(path)


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_database_of_something_else_is_refused_and_not_changed(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute(f"pragma journal_mode = {mode}")
    connection.execute("create table precious (value)")
    connection.execute("insert into precious values ('data')")
    connection.commit()
    connection.close()
    assert "something else" in refused(path)


def test_a_database_of_another_application_is_refused_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("pragma application_id = 123")
    connection.execute("create table run (run_id text)")
    connection.commit()
    connection.close()
    refused(path)


def test_an_empty_database_of_another_application_is_refused_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("pragma application_id = 123")
    connection.execute("pragma user_version = 7")
    connection.commit()
    connection.close()
    refused(path)


def test_a_store_of_a_later_version_is_refused_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    keep(path)
    connection = sqlite3.connect(path)
    connection.execute("pragma journal_mode = delete")
    connection.execute("pragma user_version = 99")
    connection.commit()
    connection.close()
    assert "99" in refused(path)


@pytest.mark.parametrize("damage", ["header", "truncated", "cut page", "middle", "all but header"])
def test_a_damaged_store_is_refused_and_not_changed(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "runs.db"
    keep(path, 300, b"x" * 500)
    content = bytearray(path.read_bytes())
    assert len(content) > 40 * 4096
    if damage == "header":
        content[0:16] = b"\xff" * 16
    elif damage == "truncated":
        del content[len(content) // 2 // 4096 * 4096 :]
    elif damage == "cut page":
        del content[5000:]
    elif damage == "middle":
        content[4096 : 20 * 4096] = b"\xab" * (19 * 4096)
    else:
        content[4096:] = b"\0" * (len(content) - 4096)
    path.write_bytes(content)
    assert "runs.db" in refused(path)


def test_a_folder_in_the_files_place_is_an_error_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "runs.db").mkdir()
    assert "runs.db" in refused(tmp_path / "runs.db", StoreError)


def test_a_place_where_no_file_can_be_made_is_an_error_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    async def main() -> None:
        with pytest.raises(StoreError, match=r"runs\.db"):
            await SQLiteStore(tmp_path / "file" / "runs.db").runs()

    asyncio.run(main())


def test_a_store_that_was_refused_works_once_the_file_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    path.write_text("not a database, and longer than a hundred bytes " * 9)

    async def main() -> None:
        store = SQLiteStore(path)
        with pytest.raises(StoreRefused):
            await store.append([record("r", 1)], lease("r"))
        path.unlink()
        await store.append([record("r", 1)], lease("r"))
        assert len(await store.read("r")) == 1
        await store.close()

    asyncio.run(main())


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    path.touch()
    keep(path)
    assert path.stat().st_size > 0


def test_the_files_are_for_their_owner_only_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "runs.db"
    old = os.umask(0)
    try:

        async def main() -> dict[str, int]:
            store = SQLiteStore(path)
            await store.append([record("r", 1)], lease("r"))
            modes = {one.name: one.stat().st_mode & 0o777 for one in path.parent.iterdir()}
            await store.close()
            return modes

        modes = asyncio.run(main())
    finally:
        os.umask(old)
    assert "runs.db-wal" in modes and set(modes.values()) == {0o600}


def test_the_file_is_written_ahead_and_fully_synchronised(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    keep(path)
    connection = sqlite3.connect(path)
    assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
    assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
    connection.close()


def test_concurrent_appends_share_commits(tmp_path: Path) -> None:
    """Group commit: far fewer transactions than appends; counted by the frames that end one in the log."""
    path = tmp_path / "runs.db"

    async def main() -> int:
        store = SQLiteStore(path)
        await store.runs()
        wal = Path(f"{path}-wal")
        await asyncio.gather(*(store.append([record(f"r{n}", 1)], lease(f"r{n}")) for n in range(100)))
        log = wal.read_bytes()
        await store.close()
        page = int.from_bytes(log[8:12], "big")
        frames = range(32, len(log), 24 + page)
        return sum(1 for at in frames if int.from_bytes(log[at + 4 : at + 8], "big"))

    assert asyncio.run(main()) < 50


def test_in_a_batch_one_that_fails_does_not_harm_the_others(tmp_path: Path) -> None:
    async def main() -> None:
        store = SQLiteStore(tmp_path / "runs.db")
        await store.append([record("taken", 1)], lease("taken"))
        names = [f"r{n}" if n % 2 else "taken" for n in range(60)]
        outcomes = await asyncio.gather(
            *(store.append([record(name, 1)], lease(name)) for name in names), return_exceptions=True
        )
        for name, outcome in zip(names, outcomes, strict=True):
            assert isinstance(outcome, RunExists) if name == "taken" else outcome is None
        assert len(await store.runs(limit=99)) == 31
        await store.close()

    asyncio.run(main())


def test_what_was_appended_is_durable_when_the_append_returns(tmp_path: Path) -> None:
    """A process killed right after the append has lost nothing of it."""
    path = tmp_path / "runs.db"
    code = """
        import asyncio, os, signal, sys
        from flujo_core.store.protocol import Lease, Record
        from flujo_core.store.sqlite import SQLiteStore
        async def main():
            store = SQLiteStore(sys.argv[1])
            for n in range(1, 6):
                await store.append([Record("r", None, n, "x", "", "", 1.0, b"{}")], Lease("r", 1, "me", 60.0))
            os.kill(os.getpid(), signal.SIGKILL)
        asyncio.run(main())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(path)], timeout=60, check=False)
    assert done.returncode == -9

    async def main() -> None:
        store = SQLiteStore(path)
        assert [one.sequence for one in await store.read("r")] == [1, 2, 3, 4, 5]
        await store.append([record("r", 6)], lease("r"))
        await store.close()

    asyncio.run(main())


WORKER = """
    import asyncio, sys, time
    from flujo_core import Flujo, step

    @step
    async def one(value: int) -> int:
        return value + 1

    @step
    def two(value: int) -> int:
        return value * 2

    async def main(path, name, start):
        await asyncio.sleep(max(0, start - time.time()))
        async with Flujo(one >> two, store=f"sqlite:///{path}") as flujo:
            results = await asyncio.gather(*(flujo.run_async(n, run_id=f"{name}-{n}") for n in range(20)))
        assert [result.output for result in results] == [(n + 1) * 2 for n in range(20)]

    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
"""


@pytest.mark.parametrize("attempt", range(3))
def test_processes_share_one_new_file(tmp_path: Path, attempt: int) -> None:
    path = tmp_path / "runs.db"
    start = time.time() + 2.0
    workers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(WORKER), str(path), f"p{n}", str(start)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(4)
    ]
    errors = [worker.communicate(timeout=90)[1] for worker in workers]
    assert errors == [""] * 4 and [worker.returncode for worker in workers] == [0] * 4

    async def main() -> None:
        store = SQLiteStore(path)
        runs = await store.runs(limit=1000)
        assert (
            len(runs) == 80 and {run.status for run in runs} == {"completed"} and {run.records for run in runs} == {6}
        )
        await store.close()

    asyncio.run(main())


def _writers() -> int:
    return sum(thread.name == "flujo-sqlite" for thread in threading.enumerate())


def _soon(what: Any) -> bool:
    end = time.monotonic() + 5
    while not what() and time.monotonic() < end:
        time.sleep(0.01)
    return bool(what())


def test_closing_ends_the_thread_and_the_log(tmp_path: Path) -> None:
    before = _writers()
    keep(tmp_path / "runs.db")
    assert _soon(lambda: _writers() <= before)  # of earlier tests, some may end meanwhile
    assert sorted(one.name for one in tmp_path.iterdir()) == ["runs.db"]


def test_a_store_that_is_forgotten_closes_itself_without_a_warning(tmp_path: Path) -> None:
    before = _writers()

    async def main() -> None:
        store = SQLiteStore(tmp_path / "runs.db")
        await store.append([record("r", 1)], lease("r"))

    asyncio.run(main())
    gc.collect()
    assert _soon(lambda: _writers() <= before)  # of earlier tests, some may end meanwhile
    assert _soon(lambda: sorted(one.name for one in tmp_path.iterdir()) == ["runs.db"])


@pytest.mark.parametrize("how", ["forgotten", "open at the end", "refused", "unused"])
def test_a_process_that_does_not_close_its_store_ends_without_a_warning(tmp_path: Path, how: str) -> None:
    code = f"""
        import asyncio, gc, pathlib, sys
        from flujo_core.errors import StoreRefused
        from flujo_core.store.protocol import Lease, Record
        from flujo_core.store.sqlite import SQLiteStore
        store = SQLiteStore(sys.argv[1])
        async def main():
            await store.append([Record("r", None, 1, "x", "", "", 1.0, b"")], Lease("r", 1, "me", 60.0))
        if {how == "refused"}:
            pathlib.Path(sys.argv[1]).write_text("nothing like a database " * 99)
            try:
                asyncio.run(main())
            except StoreRefused:
                pass
        elif {how != "unused"}:
            asyncio.run(main())
        if {how == "forgotten"}:
            del store
            gc.collect()
    """
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(code), str(tmp_path / "runs.db")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_a_waiter_that_is_cancelled_does_not_disturb_the_store(tmp_path: Path) -> None:
    async def main() -> None:
        store = SQLiteStore(tmp_path / "runs.db")
        await store.runs()
        tasks = [asyncio.ensure_future(store.append([record(f"r{n}", 1)], lease(f"r{n}"))) for n in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.wait(tasks)
        assert len(await store.runs(limit=99)) == 20
        await store.close()

    asyncio.run(main())


def test_a_loop_that_is_gone_does_not_disturb_the_store(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "runs.db")

    async def hasty() -> None:
        task = asyncio.ensure_future(store.append([record("r", 1)], lease("r")))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(hasty())

    async def later() -> None:
        assert len(await store.read("r")) == 1
        await store.close()

    asyncio.run(later())


def test_one_store_serves_several_loops_in_several_threads(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "runs.db")
    failures: list[BaseException] = []

    def work(name: str) -> None:
        async def main() -> None:
            for n in range(10):
                await store.append([record(f"{name}{n}", 1)], lease(f"{name}{n}"))

        try:
            asyncio.run(main())
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []

    async def check() -> None:
        assert len(await store.runs(limit=99)) == 40
        await store.close()

    asyncio.run(check())


def test_a_disk_that_is_full_is_an_error_and_nothing_is_half_kept(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    code = """
        import asyncio, resource, signal, sys
        from flujo_core.errors import StoreFull
        from flujo_core.store.protocol import Lease, Record
        from flujo_core.store.sqlite import SQLiteStore
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        async def kept(store, run_id, count, payload):
            records = [Record(run_id, None, n, "x", "", "", 1.0, payload) for n in range(1, count + 1)]
            await store.append(records, Lease(run_id, 1, "me", 60.0))
        async def main():
            store = SQLiteStore(sys.argv[1])
            await kept(store, "small", 1, b"")
            _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, most))
            for _ in range(2):
                tries = [kept(store, "big", 8, b"x" * 100_000), kept(store, "medium", 1, b"")]
                outcomes = await asyncio.gather(*tries, return_exceptions=True)
                if type(outcomes[0]) is not StoreFull:
                    raise SystemExit("it was kept")
                assert await store.read("big") == []
            await kept(store, "after", 1, b"")
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            await kept(store, "big", 8, b"x" * 100_000)
            assert len(await store.read("big")) == 8
            await store.close()
        asyncio.run(asyncio.wait_for(main(), 30))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_pipeline_runs_a_hundred_times_side_by_side(tmp_path: Path) -> None:
    @step
    async def one(value: int) -> int:
        await asyncio.sleep(0)
        return value + 1

    @step
    async def two(value: int) -> int:
        return value * 2

    async def main() -> None:
        async with Flujo(one >> two, store=f"sqlite:///{tmp_path}/runs.db") as flujo:
            results = await asyncio.gather(*(flujo.run_async(n) for n in range(100)))
        assert [result.output for result in results] == [(n + 1) * 2 for n in range(100)]
        store = SQLiteStore(tmp_path / "runs.db")
        runs = await store.runs(limit=1000)
        assert {(run.status, run.records) for run in runs} == {("completed", 6)} and len(runs) == 100
        await store.close()

    asyncio.run(main())


def test_a_commit_that_fails_keeps_nothing_of_its_batch_and_the_writer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    tables = Tables(open_file(path))
    tables.connection.execute("pragma foreign_keys = on")
    tables.connection.execute("create table parent (id integer primary key)")
    tables.connection.execute("create table child (id integer references parent deferrable initially deferred)")

    def job(statement: str) -> Job:
        return Job(lambda tables: tables.connection.execute(statement).fetchall(), True)

    writer = Writer(path, "full", queue.SimpleQueue())
    outcomes = writer.commit(tables, [job("insert into parent values (1)"), job("insert into child values (7)")])
    assert [type(error) for _, _, error in outcomes] == [StoreError, StoreError]
    assert tables.connection.execute("select count(*) from parent").fetchone() == (0,)
    outcomes = writer.commit(tables, [job("insert into parent values (1)")])
    assert [(result, error) for _, result, error in outcomes] == [([], None)]
    assert tables.connection.execute("select count(*) from parent").fetchone() == (1,)
    tables.connection.close()


def test_a_job_that_fails_in_the_middle_of_its_writing_is_undone_alone(tmp_path: Path) -> None:
    """Also one whose records cannot be written when those of all are: the others are done again without it."""

    async def main() -> None:
        store = SQLiteStore(tmp_path / "runs.db")
        bad = [record("bad", 1), record("bad", 2)._replace(address="\udcff")]
        tries = [
            store.append([record("a", 1)], lease("a")),
            store.append(bad, lease("bad")),
            store.append([record("b", 1)], lease("b")),
            store.append([record("c", 1)._replace(tenant="\udcff")], lease("c")),
            store.read("a", after=1.5),  # type: ignore[arg-type]
        ]
        outcomes = await asyncio.gather(*tries, return_exceptions=True)
        assert [type(one) for one in outcomes] == [type(None), StoreError, type(None), StoreError, StoreError]
        assert "\udcff" not in str(outcomes[1])
        assert {run.run_id for run in await store.runs()} == {"a", "b"}
        await store.append([record("bad", 1)], lease("bad"))
        await store.close()

    asyncio.run(main())


def test_who_loses_the_race_to_make_the_tables_finds_them_made(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    keep(path)
    before = path.read_bytes()
    connection = sqlite3.connect(path, isolation_level=None)
    _create(connection, path)
    connection.close()
    assert path.read_bytes() == before


def test_a_process_that_makes_the_store_too_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("begin exclusive")
    threading.Timer(0.1, lambda: other.execute("commit")).start()
    keep(path)
    other.close()
    connection = sqlite3.connect(path)
    assert connection.execute("select count(*) from record").fetchone()[0] == 1
    connection.close()


def test_the_switch_to_the_log_waits_for_another_process_and_not_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    ours, other = (sqlite3.connect(path, isolation_level=None, timeout=0, check_same_thread=False) for _ in range(2))
    other.execute("begin exclusive")
    with pytest.raises(sqlite3.OperationalError):
        use_write_ahead_log(ours, patience=0.05)
    threading.Timer(0.05, lambda: other.execute("commit")).start()
    use_write_ahead_log(ours, patience=10)
    assert ours.execute("pragma journal_mode").fetchone() == ("wal",)
    ours.close()
    other.close()


def test_a_store_that_stays_locked_is_an_error_and_not_a_refusal(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("begin exclusive")
    with pytest.raises(StoreError, match="locked by another process") as failed:
        open_file(path, patience=0.05)
    assert not isinstance(failed.value, StoreRefused)
    other.close()


@pytest.mark.parametrize("name", ["a" * 300, "a\0b"])
def test_a_path_that_cannot_be_is_an_error_and_nobody_waits_for_ever(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        asyncio.run(asyncio.wait_for(SQLiteStore(tmp_path / name).runs(), 60))


def test_a_store_that_was_closed_serves_again_and_a_lease_shows_no_secret(tmp_path: Path) -> None:
    async def main() -> None:
        store = SQLiteStore(tmp_path / "runs.db")
        await store.close()
        await store.append([record("r", 1)], lease("r"))
        await store.close()
        await store.close()
        assert len(await store.read("r")) == 1
        await store.close()

    asyncio.run(main())
    assert repr(lease("r")) == "<Lease 'r' epoch 1>"


def test_a_reader_that_is_cancelled_does_not_disturb_the_store(tmp_path: Path) -> None:
    async def main() -> None:
        store = SQLiteStore(tmp_path / "runs.db")
        await store.append([record("r", 1)], lease("r"))
        readers = [asyncio.create_task(store.read("r")) for _ in range(20)]
        await asyncio.sleep(0)
        for reader in readers[::2]:
            reader.cancel()
        await asyncio.wait(readers)
        assert all(reader.cancelled() for reader in readers[::2])
        assert all(len(reader.result()) == 1 for reader in readers[1::2])
        await store.close()

    asyncio.run(main())
