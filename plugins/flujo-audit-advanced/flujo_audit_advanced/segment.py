"""Segments: files of batches in the order in which they came, each with a checksum, so that a torn end is seen.

A segment is a header (magic, nonce, number of the first record) and batches. A batch is a head (nonce, number of its
first record, count, length), a SHA-256 of head and payload, and the payload, framed as a bundle. A batch is written
only when the one before it is durable; so a bad batch before a good one is no torn write.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from flujo_audit_advanced.errors import LogDamaged
from flujo_audit_advanced.layout import bundled, unbundled

MAGIC: Final = b"flujo-audit/seg1"
HEADER: Final = struct.Struct(">16s16sQ")
HEAD: Final = struct.Struct(">16sQII")
SUM: Final = sha256().digest_size

MOST_BATCH: Final = 4 << 20
"""Bytes of records that a batch has before another begins; it may be larger by its last record."""

LONGEST: Final = HEAD.size + SUM + MOST_BATCH + (1 << 16) + 2


class SegmentWriter:
    """A segment that is being written.

    Args:
        path: The file; there must be none.
        first: The number of its first record.

    Attributes:
        end: Bytes up to the end of the last good batch.
        next: The number of the next record.
    """

    def __init__(self, path: Path, first: int) -> None:
        self.path, self.first, self.next = path, first, first
        self._nonce = os.urandom(16)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self.end = 0
        try:
            self._write(HEADER.pack(MAGIC, self._nonce, first))
        except OSError:
            self.close()
            raise

    def write(self, records: Sequence[bytes]) -> None:
        """Writes a batch; it is durable after ``sync``.

        Raises:
            OSError: It could not be written; ``cut`` takes off what was.
        """
        payload = bundled(records)
        head = HEAD.pack(self._nonce, self.next, len(records), len(payload))
        self._write(head + sha256(head + payload).digest() + payload)
        self.next += len(records)

    def sync(self) -> None:
        """Waits until everything written is on the disk."""
        os.fdatasync(self._file)

    def cut(self) -> None:
        """Takes off what a failed ``write`` has left, durably."""
        os.ftruncate(self._file, self.end)
        os.fsync(self._file)

    def close(self) -> None:
        """Lets go of the file."""
        os.close(self._file)

    def _write(self, data: bytes) -> None:
        view, place = memoryview(data), self.end
        while view:
            written = os.pwrite(self._file, view, place)
            view, place = view[written:], place + written
        self.end = place


class Segment(NamedTuple):
    """What is in a segment.

    Attributes:
        first: The number of its first record.
        records: The records of its good batches.
        end: Bytes up to the end of the last good batch.
        rest: The bytes after that: what a dying process left.
    """

    first: int
    records: list[bytes]
    end: int
    rest: bytes


def read_segment(path: Path) -> Segment | None:
    """Reads a segment; None if even its header is torn.

    Raises:
        LogDamaged: It is no segment, or a bad batch stands before a good one.
    """
    data, name = path.read_bytes(), f"'append/{path.name}'"
    if len(data) < HEADER.size:
        return None
    magic, nonce, first = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise LogDamaged(name, "its first bytes are not those of a segment")
    records: list[bytes] = []
    place = HEADER.size
    while (found := _batch(data, place, nonce, first + len(records))) is not None:
        batch, place = found
        records += batch
    rest = data[place:]
    if len(rest) > LONGEST or _later_batch(rest, nonce):
        raise LogDamaged(
            name, f"the batch at byte {place:,}, of record {first + len(records)}, is bad and good ones follow it"
        )
    return Segment(first, records, place, rest)


def _batch(data: bytes, place: int, nonce: bytes, number: int) -> tuple[list[bytes], int] | None:
    """The records of the good batch at a place, and where it ends."""
    body = place + HEAD.size + SUM
    if body > len(data):
        return None
    found, first, count, length = HEAD.unpack_from(data, place)
    if found != nonce or first != number or body + length > len(data):
        return None
    head, payload = data[place : place + HEAD.size], data[body : body + length]
    if sha256(head + payload).digest() != data[place + HEAD.size : body]:
        return None
    records = unbundled(payload)
    return (records, body + length) if len(records) == count else None


def _later_batch(rest: bytes, nonce: bytes) -> bool:
    """Whether a good batch, of whatever number, stands somewhere after the beginning."""
    place = rest.find(nonce, 1)
    while place >= 0:
        if place + HEAD.size <= len(rest):
            number: int = HEAD.unpack_from(rest, place)[1]
            if _batch(rest, place, nonce, number) is not None:
                return True
        place = rest.find(nonce, place + 1)
    return False
