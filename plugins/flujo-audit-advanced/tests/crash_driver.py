"""Processes that write a log and are killed at a point: ``python crash_driver.py count|kill|power FOLDER [POINT ...]``.

A point is a call by which the process changes a file: before it, in the midst of what it writes, or after it. For each
point a child is forked, which kills itself there (SIGKILL, so nothing of it runs any more); it writes to
``FOLDER/<point>.acked`` what was acknowledged. With ``power``, the machine dies too: each file is cut off where it was
last synced, and one that never was is empty.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flujo_audit_advanced import AuditLog, FolderTarget, LocalSigner, WriteOnceCopy, encode_record

SIGNER = LocalSigner(bytes(range(32)))
CALLS = ("pwrite", "fdatasync", "fsync", "rename", "replace", "ftruncate", "unlink", "mkdir")
WRITE = os.write
EACH = 3


class Points:
    """Counts the calls, and kills the process at one of them.

    Args:
        at: At which third of which call; -1 at none.
        synced: A file to which it is written what was synced.
    """

    def __init__(self, at: int, synced: int) -> None:
        self._at, self._synced, self.count = at, synced, 0
        for name in CALLS:
            setattr(os, name, self._counted(name, getattr(os, name)))

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            mine, self.count = self.count, self.count + EACH
            if self._at == mine:
                os.kill(os.getpid(), signal.SIGKILL)
            if self._at == mine + 1 and name == "pwrite":
                file, data, place = arguments
                call(file, bytes(data)[: len(data) // 2], place)
                os.kill(os.getpid(), signal.SIGKILL)
            result = call(*arguments, **named)
            if name.endswith("sync"):
                found = os.fstat(arguments[0])
                WRITE(self._synced, f"{found.st_ino} {found.st_size}\n".encode())
            if self._at in (mine + 1, mine + 2):
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return counted


def lose(folder: Path, synced: str) -> None:
    """Cuts off what was not synced, as when the power is lost."""
    kept = dict(map(int, line.split()) for line in synced.splitlines())
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            os.truncate(path, min(kept.get(path.stat().st_ino, 0), path.stat().st_size))


async def produce(log: AuditLog, producer: int, acked: int) -> None:
    for number in range(60):
        record = encode_record(
            {"id": f"{producer}-{number}", "kind": "work.done", "at": 1_700_000_000_000_000 + number}
        )
        index = await log.append(record)
        WRITE(acked, f"{index} {record.decode()}\n".encode())


async def work(folder: Path, acked: int) -> None:
    """Two writers one after the other, with checkpoints, a rotation of segments, and a copy."""
    for turn in range(2):
        anchors = [WriteOnceCopy(FolderTarget(folder / "copy"), every=0)]
        options: dict[str, Any] = {"origin": "flujo.test/audit", "checkpoint_every": 0.003, "anchors": anchors}
        async with await AuditLog.open(folder / "log", SIGNER, **options) as log:
            await asyncio.gather(*(produce(log, 10 * turn + producer, acked) for producer in range(5)))


def run(folder: Path, name: str, at: int, *, power: bool = False) -> int:
    """Forks a child that works until the point; gives how many points there were, 0 if it was killed."""
    place = folder / name
    place.mkdir()
    acked = os.open(folder / f"{name}.acked", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    synced = os.open(folder / f"{name}.synced", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    child = os.fork()
    if child == 0:
        points = Points(at, synced)
        asyncio.run(work(place, acked))
        WRITE(acked, f"all {points.count}\n".encode())
        os._exit(0)
    _, status = os.waitpid(child, 0)
    os.close(acked)
    os.close(synced)
    if power:
        lose(place, (folder / f"{name}.synced").read_text())
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return 0
    assert os.WEXITSTATUS(status) == 0, f"the child at point {at} failed"
    return int((folder / f"{name}.acked").read_text().rsplit(None, 1)[1])


def main(what: str, folder: Path, points: list[str]) -> None:
    if what == "count":
        print(json.dumps(run(folder, "count", -1)))
    else:
        print(json.dumps({point: run(folder, point, int(point), power=what == "power") for point in points}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
