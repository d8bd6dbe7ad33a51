"""What it takes to go on with a run that waits: a new process against one that only has sqlite3, and a long journal."""

from __future__ import annotations

import gc
import os
import sqlite3
import subprocess
import sys
import sysconfig
from contextlib import closing
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from measure import Ratio

import flujo_core
from flujo_core import Flujo, HumanInput, Pipeline, step

ROUNDS = 21
LONG = 1000
ROUNDS_OF_LONG = 5

RAW = """
import asyncio, json, sqlite3, sys
from pydantic import BaseModel, TypeAdapter

class Message(BaseModel):
    text: str

TEXT = TypeAdapter(str).validator.validate_python

async def same(text):
    return text

async def main():
    connection = sqlite3.connect(sys.argv[1], isolation_level=None)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    assert connection.execute("select count(*) from record").fetchone()[0] == 3
    for sequence in range(3, 6):
        text = TEXT(await same("yes"))
        connection.execute("insert into record values (?, ?, ?)", ("run", sequence, json.dumps(text)))

asyncio.run(main())
"""

OURS = """
import sys
from flujo_core import Flujo, HumanInput, step

async def same(text: str) -> str:
    return text

def chain(first):
    return step(same).named(f"s{first}") >> step(same).named(f"s{first + 1}") >> step(same).named(f"s{first + 2}")

flujo = Flujo(chain(0) >> HumanInput("ask", str, ask="Go on?") >> chain(3), store=f"sqlite:///{sys.argv[1]}")
if sys.argv[2:]:
    assert flujo.run("a", run_id="run").status == "paused"
else:
    import asyncio
    assert asyncio.run(flujo.resume_async("run", "yes")).output == "yes"
"""


async def measure() -> list[Ratio]:
    return [_processes(), await _long()]


def _processes() -> Ratio:
    """Wall time from the start of the process to its end, where no plugins are installed."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        _link_libraries(place / "libraries")
        times: dict[str, list[float]] = {OURS: [], RAW: []}
        for number in range(ROUNDS + 1):
            for code, prepare in ((OURS, _pause), (RAW, _insert)):
                path = place / f"{number}-{len(code)}.db"
                prepare(path)
                start = perf_counter()
                _process(code, path)
                times[code].append(perf_counter() - start)
    ours, raw = (median(found[1:]) for found in times.values())  # the first has written the bytecode
    return Ratio("resume in a new process, against sqlite3, asyncio and pydantic", ours, raw, 1.15)


def _link_libraries(folder: Path) -> None:
    """Links what is installed here, but for distributions that have plugins."""
    folder.mkdir()
    for one in Path(sysconfig.get_paths()["purelib"]).iterdir():
        points = one / "entry_points.txt"
        if one.suffix != ".pth" and not (points.is_file() and "flujo.plugins" in points.read_text("utf-8")):
            (folder / one.name).symlink_to(one)


def _pause(path: Path) -> None:
    """Leaves a run that waits."""
    _process(OURS, path, "begin")


def _insert(path: Path) -> None:
    """Leaves what a raw script would have of such a run."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute(
            "create table record (run text, sequence integer, payload blob, primary key (run, sequence)) without rowid"
        )
        connection.executemany("insert into record values ('run', ?, '\"a\"')", [(n,) for n in range(3)])


def _process(code: str, path: Path, *arguments: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    ours = Path(flujo_core.__file__).parents[1]
    environment["PYTHONPATH"] = f"{path.parent / 'libraries'}{os.pathsep}{ours}"
    command = [sys.executable, "-S", "-c", code, path, *arguments]
    subprocess.run(command, env=environment, cwd=path.parent, check=True)  # there, no configuration is found


async def _long() -> Ratio:
    """From the call to the first step behind the question, of a run of a thousand steps."""
    reached: list[float] = []

    async def same(text: str) -> str:
        return text

    async def last(text: str) -> str:
        reached.append(perf_counter())
        return text

    parts = [*(step(same).named(f"s{n}") for n in range(LONG)), HumanInput("ask", str, ask="Go on?"), step(last)]
    chain: Pipeline[Any, Any] = Pipeline(None, tuple(parts))
    times = []
    with TemporaryDirectory() as place:
        store = f"sqlite:///{place}/long.db"
        for number in range(ROUNDS_OF_LONG):
            async with Flujo(chain, store=store) as flujo:
                assert (await flujo.run_async("a", run_id=f"run{number}", durability="exit")).status == "paused"
            gc.collect()
            async with Flujo(chain, store=store) as flujo:
                start = perf_counter()
                await flujo.resume_async(f"run{number}", "yes")
                times.append(reached[-1] - start)
    return Ratio(f"resume of a run of {LONG} steps, against 50 ms", median(times), 0.05, 1)
