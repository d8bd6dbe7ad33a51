"""The log of one writer: records go in, and come back with their numbers when they are durable."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from flujo_audit_advanced.errors import RecordRejected
from flujo_audit_advanced.record import MOST_BYTES
from flujo_audit_advanced.signer import Signer


class AuditLog:
    """A log that is open for writing; make one with ``await AuditLog.open(...)``.

    Attributes:
        origin: The log's name, the first line of its checkpoints.
        size: How many records are durable.
    """

    def __init__(self, path: Path, signer: Signer, origin: str) -> None:
        self.origin = origin
        self._path, self._signer = path, signer
        self._file = os.open(path / "append.log", os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
        self._lock = asyncio.Lock()
        self.size = sum(1 for _ in self.read(0))

    @classmethod
    async def open(cls, path: Path | str, signer: Signer, *, origin: str = "flujo.local/audit") -> AuditLog:
        """Opens a log for writing, recovers it if its writer was killed; makes it if the folder is not there.

        Raises:
            LogBusy: Somebody else writes it.
            LogDamaged: Its files are not what was written.
        """
        Path(path).mkdir(parents=True, exist_ok=True)
        return cls(Path(path), signer, origin)

    async def append(self, record: bytes, /) -> int:
        """Adds a record (of ``encode_record``), and returns its number, from 0, when it is durable.

        Raises:
            RecordRejected: It is larger than 65,535 bytes.
            LogFailed: It could not be written, as ``LogFull``.
        """
        if len(record) > MOST_BYTES:
            raise RecordRejected("a record is too large")
        async with self._lock:
            os.write(self._file, len(record).to_bytes(2, "big") + record)
            await asyncio.to_thread(os.fdatasync, self._file)
            self.size += 1
            return self.size - 1

    def post(self, record: bytes, /) -> None:
        """Gives a record to the next group commit and does not wait; safe from any thread.

        Raises:
            LogFailed: The log has failed, or more waits to be written than it may hold.
        """
        os.write(self._file, len(record).to_bytes(2, "big") + record)
        self.size += 1

    async def flush(self) -> int:
        """Waits until everything that was posted is durable; gives the number of durable records."""
        await asyncio.to_thread(os.fdatasync, self._file)
        return self.size

    def read(self, after: int, /) -> Iterator[tuple[int, bytes]]:
        """The durable records from number ``after`` on, with their numbers."""
        data = (self._path / "append.log").read_bytes()
        place = number = 0
        while place < len(data):
            length = int.from_bytes(data[place : place + 2], "big")
            if number >= after:
                yield number, data[place + 2 : place + 2 + length]
            place, number = place + 2 + length, number + 1

    async def checkpoint(self) -> bytes:
        """Signs a checkpoint over everything durable; gives the signed note."""
        raise NotImplementedError

    async def close(self) -> None:
        """Writes what was posted, signs a last checkpoint, lets go of the folder."""
        os.close(self._file)

    async def __aenter__(self) -> AuditLog:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
