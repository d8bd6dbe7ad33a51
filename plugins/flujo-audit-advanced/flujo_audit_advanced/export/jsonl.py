"""JSON lines: records in a file, one on each line, which begins anew when it is large or was moved away."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from flujo_audit_advanced.export.format import Format, lines_of
from flujo_audit_advanced.export.sink import Exported, Options, SinkFailed
from flujo_audit_advanced.files import sync_folder


class JsonLinesOptions(Options):
    """Options of the sink ``jsonl``.

    Attributes:
        path: The file.
        format: What stands on a line: the record with its log and number, or an event of OCSF.
        most_bytes: Bytes after which it is renamed to ``NAME.NUMBER``, by its last record; None: never.
    """

    kind: Literal["jsonl"] = "jsonl"
    path: Path
    format: Format = "record"
    most_bytes: int | None = 100 << 20


class JsonLinesSink:
    """Appends records to a file, and syncs it: ``{"origin": ..., "number": ..., "record": ...}``.

    Args:
        options: Where.
    """

    def __init__(self, options: JsonLinesOptions) -> None:
        self._path, self._most = options.path, options.most_bytes
        self._format: Format = options.format

    async def send(self, records: Sequence[Exported], /) -> None:
        """Appends records."""
        await asyncio.to_thread(self._append, records)

    async def aclose(self) -> None:
        """Nothing is open between two batches, so the file may be moved away at any time."""

    def _append(self, records: Sequence[Exported]) -> None:
        lines = lines_of(records, self._format)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+b", buffering=0) as file:
                _end_line(file.fileno())
                _write(file.fileno(), lines)
                os.fsync(file.fileno())
                size = os.fstat(file.fileno()).st_size
            if self._most is not None and size > self._most:
                self._path.rename(f"{self._path}.{records[-1].number:020}")
            sync_folder(self._path.parent)
        except OSError as error:
            raise SinkFailed(f"'{self._path}' cannot be written: {error.strerror}") from None


def _end_line(file: int) -> None:
    """Ends the line that a crash has cut off: its record is sent again."""
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
        os.write(file, b"\n")


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
