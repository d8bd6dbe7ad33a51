"""The SQLite store in several processes at once: who begins, who writes, who answers, who replaces a dead holder."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from flujo_core.store.protocol import ASKED, Lease, Record
from flujo_core.store.sqlite import SQLiteStore

WORKER = """
    import asyncio, sys, time
    from flujo_core.errors import FlujoError
    from flujo_core.store.protocol import Lease, Mail, Record
    from flujo_core.store.sqlite import SQLiteStore

    async def begin(store, name):
        lease = Lease("new", 1, name, 60.0)
        await store.append([Record("new", None, 1, "run_started", "", "running", 1.0, b"{}")], lease)
        return True

    async def write(store, name):
        lease = Lease("run", 1, "first", 60.0)
        await store.append([Record("run", None, 3, "step_started", name, "", 1.0, b"{}")], lease)
        return True

    async def answer(store, name):
        return await store.post(Mail("run", 0, "answer", 2, 0.0, b"1", name), seen=0)

    async def replace(store, name):
        await store.acquire("run", name, 60.0, instead_of=1)
        return True

    async def main(path, what, name, start):
        store = SQLiteStore(path)
        await store.runs()
        await asyncio.sleep(max(0, start - time.time()))
        wins = []
        for one in range(10):
            try:
                wins.append(await globals()[what](store, f"{name}.{one}"))
            except FlujoError as error:
                wins.append(type(error).__name__)
        print(*wins)
        await store.close()

    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])))
"""


@pytest.mark.parametrize(
    ("what", "late"), [("begin", "RunExists"), ("write", "StoreError"), ("answer", "False"), ("replace", "RunBusy")]
)
def test_of_many_processes_one_wins(tmp_path: Path, what: str, late: str) -> None:
    path = tmp_path / "runs.db"

    async def prepare() -> None:
        store = SQLiteStore(path)
        begun = Record("run", None, 1, "run_started", "", "running", 1.0, b"{}")
        await store.append([begun, begun._replace(sequence=2, kind=ASKED, outcome="")], Lease("run", 1, "first", 60.0))
        await store.close()

    asyncio.run(prepare())
    start = time.time() + 1.5
    workers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(WORKER), str(path), what, f"p{n}", str(start)],
            stdout=subprocess.PIPE, text=True,
        )
        for n in range(5)
    ]  # fmt: skip
    words = [word for worker in workers for word in worker.communicate(timeout=60)[0].split()]
    assert sorted(words) == sorted(["True", *[late] * 49])
