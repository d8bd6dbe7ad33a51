"""What durability costs, against the same inserts in SQLite without us, each commit waiting for the disk; wall time."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count, pairwise
from pathlib import Path
from random import sample
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from measure import Ratio, compare
from pydantic import TypeAdapter
from pydantic_core import to_json

from flujo_core import (
    Flujo,
    Loop,
    MemoryStore,
    Pipeline,
    PipelineContext,
    Record,
    SQLiteStore,
    Step,
    StepCompleted,
    step,
)
from flujo_core.store.protocol import Lease

LENGTH = 20
RUNS = 100
LONG = 10_000
ROUNDS = 9
KB = 1024

TABLE = (
    "create table record (run text, sequence integer, kind text, address text, outcome text, at real, payload blob,"
    " primary key (run, sequence)) without rowid"
)
INSERT = "insert into record values (?, ?, ?, ?, ?, ?, ?)"

Row = tuple[str, int, str, str, str, float, bytes]
Side = Callable[[], Awaitable[object]]


class Small(PipelineContext):
    payload: str = "x" * KB


class Large(PipelineContext):
    payload: str = "x" * (100 * KB)


class Huge(PipelineContext):
    payload: str = "x" * (1024 * KB)


async def same(text: str) -> str:
    return text


VALIDATE = TypeAdapter(str).validator.validate_python
CHAIN: Pipeline[Any, Any] = Pipeline(None, tuple(step(same).named(f"s{n}") for n in range(LENGTH)))


class Raw:
    """A file of SQLite, and the thread that writes it."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.connection.execute("pragma journal_mode = wal")
        self.connection.execute("pragma synchronous = full")
        self.connection.execute(TABLE)
        self._thread = ThreadPoolExecutor(1)

    async def commit(self, rows: Sequence[Row]) -> None:
        """Inserts rows in one transaction, in the thread."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self.insert, rows)

    def insert(self, rows: Sequence[Row]) -> None:
        """Inserts rows in one transaction."""
        self.connection.execute("begin immediate")
        for row in rows:
            self.connection.execute(INSERT, row)
        self.connection.execute("commit")

    def close(self) -> None:
        self._thread.shutdown()
        self.connection.close()


class Recorder(MemoryStore):
    """Remembers what was appended together."""

    def __init__(self) -> None:
        super().__init__()
        self.appended: list[Sequence[Record]] = []

    async def append(
        self, records: Sequence[Record], lease: Lease, /, *, taken: int | None = None, release: bool = False
    ) -> None:
        self.appended.append(tuple(records))
        await super().append(records, lease, taken=taken, release=release)


async def measure() -> list[Ratio]:
    appended = await _appended()
    with TemporaryDirectory() as place:
        here = Path(place)
        return [
            await _chain(here, appended),
            *await _contexts(here),
            *await _written(here, appended),
            *await _concurrent(here, appended),
            await _history(here),
        ]


async def _appended() -> list[Sequence[Record]]:
    """What a run of the chain appends, commit by commit."""
    store = Recorder()
    await Flujo(CHAIN, context=Small, store=store).run_async("a")
    return store.appended


async def _rows(run_id: str, records: Sequence[Record]) -> list[Row]:
    """What is to be inserted; as plain code would, it calls the steps, validates what they give, makes JSON of it."""
    for one in records:
        if one.kind == StepCompleted.kind:
            to_json(VALIDATE(await same("a")))
    return [(run_id, one.sequence, one.kind, one.address, one.outcome, one.at, one.payload) for one in records]


def _replay(raw: Raw, appended: Sequence[Sequence[Record]]) -> Side:
    """Inserts what a run appends, commit by commit."""
    numbers = count()

    async def replay() -> None:
        run_id = f"run{next(numbers)}"
        for records in appended:
            await raw.commit(await _rows(run_id, records))

    return replay


def _runner(
    store: SQLiteStore, kind: type[PipelineContext], chain: Step[Any, Any] | Pipeline[Any, Any] = CHAIN
) -> Side:
    flujo, begin = Flujo(chain, context=kind, store=store), kind()

    async def run() -> None:
        assert (await flujo.run_async("a", context=begin)).output == "a"

    return run


async def _chain(place: Path, appended: Sequence[Sequence[Record]]) -> Ratio:
    store = SQLiteStore(place / "ours.db")
    with closing(Raw(place / "raw.db")) as raw:
        what = f"chain of {LENGTH} durable steps, 1 KB context, per step"
        ours, plain = _runner(store, Small), _replay(raw, appended)
        ratio = await compare(what, ours, plain, per=LENGTH, limit=1.5, clock=perf_counter)
    await store.close()
    return ratio


async def _contexts(place: Path) -> list[Ratio]:
    """From the first step to the last: what the start costs, which keeps the whole context once, is not a step's."""
    marks: list[float] = []

    async def mark(text: str) -> str:
        marks.append(perf_counter())
        return text

    chain: Pipeline[Any, Any] = Pipeline(None, tuple(step(mark).named(f"s{n}") for n in range(LENGTH)))
    stores = {kind: SQLiteStore(place / f"{kind.__name__}.db") for kind in (Small, Large, Huge)}
    sides = {kind: _runner(store, kind, chain) for kind, store in stores.items()}
    times: dict[type[PipelineContext], list[float]] = {kind: [] for kind in sides}
    for _ in range(ROUNDS * 5):
        for kind in sample(list(sides), len(sides)):  # what a run leaves to the disk, the next one waits for
            marks.clear()
            await sides[kind]()
            times[kind].append((marks[-1] - marks[0]) / (LENGTH - 1))
    for store in stores.values():
        await store.close()
    small, large, huge = (median(found) for found in times.values())
    return [
        Ratio("a durable step beside a 100 KB context, against 1 KB", large, small, 1.2),
        Ratio("a durable step beside a 1 MB context, against 1 KB", huge, small, 1.2),
    ]


async def _written(place: Path, appended: Sequence[Sequence[Record]]) -> list[Ratio]:
    """What is written to files, by a run with its start and its end, for each of its steps."""
    store = SQLiteStore(place / "written.db")
    with closing(Raw(place / "raw-written.db")) as raw:
        ours, plain = [await _bytes(side) for side in (_runner(store, Small), _replay(raw, appended))]
    await store.close()
    return [
        Ratio("bytes written per durable step, 1 KB context, against 9 KB", ours / 1e6, 9 * KB / 1e6, 1, "B "),
        Ratio("the same, against the same inserts", ours / 1e6, plain / 1e6, 2, "B "),
    ]


async def _bytes(side: Side) -> float:
    await side()
    before = _bytes_written()
    for _ in range(ROUNDS):
        await side()
    return (_bytes_written() - before) / ROUNDS / LENGTH


def _bytes_written() -> int:
    """Bytes that this process has given to ``write`` since it began."""
    return int(Path("/proc/self/io").read_text("utf-8").partition("wchar:")[2].split()[0])


async def _concurrent(place: Path, appended: Sequence[Sequence[Record]]) -> list[Ratio]:
    """Steps per second; shown are seconds per step, so that the limits are the inverse of the shares."""
    store, numbers = SQLiteStore(place / "concurrent.db"), count()
    one = _runner(store, Small)

    async def ours() -> None:
        await asyncio.gather(*[one() for _ in range(RUNS)])

    with closing(Raw(place / "raw-concurrent.db")) as raw:

        async def together() -> None:
            rows: list[Row] = []
            for number in [next(numbers) for _ in range(RUNS)]:
                for records in appended:
                    rows += await _rows(f"run{number}", records)
            raw.insert(rows)

        async def synced() -> None:
            _sync(place / "synced")

        steps = RUNS * LENGTH
        what = f"{RUNS} durable runs at once, per step, against"
        limit = 1 / 0.3
        inserts = await compare(f"{what} one commit", ours, together, per=steps, limit=limit, clock=perf_counter)
        syncs = [await _seconds(synced) / SYNCS for _ in range(ROUNDS)]
    await store.close()
    return [inserts, Ratio(f"{what} one fsync", inserts.ours, median(syncs), 1 / 20)]


SYNCS = 100


def _sync(path: Path) -> None:
    """Writes a page, and waits for the disk, often."""
    file = os.open(path, os.O_CREAT | os.O_RDWR)
    for n in range(SYNCS):
        os.pwrite(file, b"x" * 4096, n * 4096)
        os.fsync(file)
    os.close(file)


async def _seconds(side: Side) -> float:
    start = perf_counter()
    await side()
    return perf_counter() - start


async def _history(place: Path) -> Ratio:
    """The last tenth of the iterations of one run against the first."""
    marks: list[float] = []

    async def body(number: int) -> int:
        marks.append(perf_counter())
        return number + 1

    store = SQLiteStore(place / "history.db")
    loop = Loop("loop", step(body), until=lambda number: number > LONG, max_iterations=LONG + 1)
    flujo = Flujo(loop, context=Small, store=store)
    early, late = [], []
    for _ in range(3):
        marks.clear()
        await flujo.run_async(0)
        spans = [after - before for before, after in pairwise(marks)]
        early += spans[100:1000]
        late += spans[LONG - 1000 : LONG - 100]
    await store.close()
    return Ratio(f"step {LONG} of a durable run against step 1", median(late), median(early), 1.1)
