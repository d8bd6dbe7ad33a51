"""The log of one writer: records go in, and come back with their numbers when they are durable."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from flujo_audit_advanced.anchor import Anchor, Sealed
from flujo_audit_advanced.checkpoint import Checkpoint, parse_checkpoint
from flujo_audit_advanced.errors import LogDamaged, NotSigned
from flujo_audit_advanced.files import LogFiles
from flujo_audit_advanced.keys import ROTATED, Rotation, key_of
from flujo_audit_advanced.layout import CHECKPOINT
from flujo_audit_advanced.lock import WriterLock
from flujo_audit_advanced.note import Note, VerifierKey, proper_name
from flujo_audit_advanced.record import EncodedRecord, checked_record, own_record, parse_record
from flujo_audit_advanced.recovery import Kept, read_segments, recovered
from flujo_audit_advanced.sealer import JUMP, Sealer
from flujo_audit_advanced.signer import Signer
from flujo_audit_advanced.writer import Writer
from flujo_core import ConfigurationError

MOST_WAITING: Final = 64 << 20


class AuditLog:
    """A log that is open for writing; make one with ``await AuditLog.open(...)``, and use it as a context manager.

    Its methods may be called from any event loop; ``post`` and ``read`` from any thread.

    Attributes:
        origin: The log's name, the first line of its checkpoints.
        path: Its folder.
    """

    def __init__(self, path: Path, origin: str, lock: WriterLock, writer: Writer, sealer: Sealer) -> None:
        self.path, self.origin = path, origin
        self._lock, self._writer, self._sealer = lock, writer, sealer

    @classmethod
    async def open(
        cls,
        path: Path | str,
        signer: Signer,
        *,
        origin: str = "flujo.local/audit",
        anchors: Sequence[Anchor] = (),
        checkpoint_every: float = 1.0,
        durable: bool = True,
        most_waiting: int = MOST_WAITING,
    ) -> AuditLog:
        """Opens a log for writing; recovers it if its writer died; makes it if the folder is not there.

        Args:
            path: The log's folder.
            signer: Whose key signs checkpoints: the key that is in effect.
            origin: The log's name, best as a URL without scheme: ``example.com/audit``.
            anchors: Who keeps checkpoints: witnesses, authorities for timestamps, copies.
            checkpoint_every: Seconds between checkpoints, while records come.
            durable: Whether a record is acknowledged when it is on the disk; else when it is written, and checkpoints
                sync.
            most_waiting: Bytes of records that may wait to be written.

        Raises:
            LogBusy: Somebody else writes it.
            LogDamaged: Its files are not what was written.
            NotSigned: Its newest checkpoint is not signed by this signer's key.
            SignerUnavailable: The key cannot be had.
            LogFailed: The disk does not work; ``LogFull`` if there is no space.
        """
        if not proper_name(origin):
            raise ConfigurationError("the origin of an audit log may not be empty, nor have spaces or '+' in it")
        opening = Opening(LogFiles(Path(path)), signer, origin, durable, most_waiting)
        lock, writer = await asyncio.to_thread(opening.run)
        sealer = Sealer(
            opening.files, writer, lock, origin=origin, signer=signer, anchors=anchors, every=checkpoint_every
        )
        log = cls(Path(path), origin, lock, writer, sealer)
        try:
            await asyncio.to_thread(sealer.seal)
        except BaseException:
            await asyncio.to_thread(log._let_go)
            raise
        sealer.start()
        return log

    @property
    def size(self) -> int:
        """How many records are acknowledged."""
        return self._writer.size

    @property
    def sealed(self) -> int:
        """How many records the newest checkpoint of this handle is of."""
        return self._sealer.sealed

    @property
    def trouble(self) -> Exception | None:
        """What is wrong with the log now: with its disk, with signing, or with an anchor; None if nothing is."""
        return self._writer.failed or self._sealer.trouble or self._sealer.anchoring.trouble

    @property
    def lost(self) -> Mapping[str, int]:
        """How many records of each kind were posted and not acknowledged, and no record says so."""
        return self._writer.lost

    async def append(self, record: bytes, /) -> int:
        """Adds a record, and returns its number, from 0, when it is durable.

        If it is cancelled, the record may be there all the same.

        Args:
            record: What ``encode_record`` gave; other bytes are checked first.

        Raises:
            RecordRejected: They are no record.
            LogOverloaded: More waits than may wait.
            LogFailed: It could not be written; ``LogFull`` if there is no space.
        """
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._writer.give(record if type(record) is EncodedRecord else checked_record(record), done)
        return await done

    def post(self, record: bytes, /) -> None:
        """Gives a record to the next group commit and does not wait; safe from any thread.

        What cannot be written is not told here: the next ``flush`` raises. If there is no space, the first record that
        can be written again is one of the log's own, ``log.records_lost``, with their count.

        Raises:
            RecordRejected: The bytes are no record.
            LogOverloaded: More waits than may wait.
            LogFailed: The log has failed, or is closed.
        """
        self._writer.give(record if type(record) is EncodedRecord else checked_record(record))

    async def flush(self) -> int:
        """Waits until everything that was posted is durable; gives the number of durable records.

        Raises:
            LogFailed: Something could not be written.
        """
        return await asyncio.wrap_future(self._writer.flushed())

    def read(self, after: int, /) -> Iterator[tuple[int, bytes]]:
        """The acknowledged records from a number on, with their numbers; those that there are now.

        Raises:
            LogDamaged: A bundle is missing.
        """
        return self._writer.records(after)

    async def checkpoint(self, *, anchored: bool = False) -> bytes:
        """Signs a checkpoint over everything that is acknowledged; gives the signed note.

        Args:
            anchored: Whether to wait until every anchor has taken it. The note then has the cosignatures.

        Raises:
            LogFailed: The log could not be written.
            SignerUnavailable: The key cannot be had.
            NotAnchored: An anchor did not take it.
        """
        return await asyncio.to_thread(self._checkpoint, anchored)

    async def rotate(self, signer: Signer) -> bytes:
        """Makes another key the log's, from now on; gives the checkpoint that both keys have signed.

        Raises:
            LogFailed: The log could not be written.
            SignerUnavailable: One of the keys cannot be had.
        """
        return bytes((await asyncio.to_thread(self._sealer.rotate, signer)).note)

    async def close(self) -> None:
        """Writes what was posted, signs a last checkpoint, lets go of the folder.

        Raises:
            LogFailed: The last records could not be written.
            SignerUnavailable: The last checkpoint was not signed; the next writer signs one.
        """
        await asyncio.to_thread(self.close_now)

    def close_now(self) -> None:
        """As ``close``, on this thread; also while the interpreter ends."""
        try:
            self._sealer.seal()
        finally:
            self._let_go()

    async def __aenter__(self) -> AuditLog:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _checkpoint(self, anchored: bool) -> bytes:
        sealed = self._sealer.seal()
        if anchored:
            self._sealer.anchoring.wait(sealed)
            return self._with_cosignatures(sealed)
        return bytes(sealed.note)

    def _with_cosignatures(self, sealed: Sealed) -> bytes:
        kept = LogFiles(self.path).read(f"anchors/{sealed.checkpoint.size:020}/checkpoint")
        return kept or bytes(sealed.note)

    def _let_go(self) -> None:
        self._sealer.close()
        self._writer.close()
        self._lock.release()


class Opening:
    """What is done once, when a log is opened.

    Args:
        files: The log's folder.
        signer: Who is to sign.
        origin: The log's name.
        durable: See ``AuditLog.open``.
        most_waiting: See ``AuditLog.open``.
    """

    def __init__(self, files: LogFiles, signer: Signer, origin: str, durable: bool, most_waiting: int) -> None:
        self.files = files
        self._key, self._origin = key_of(origin, signer), origin
        self._durable, self._most_waiting = durable, most_waiting

    def run(self) -> tuple[WriterLock, Writer]:
        """Takes the lock, recovers, and starts the writer with the records that say so."""
        self.files.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = WriterLock(self.files.path)
        try:
            return lock, self._started()
        except BaseException:
            lock.release()
            raise

    def _started(self) -> Writer:
        self.files.make()
        checkpoint, note = self._newest()
        kept = read_segments(self.files)
        if checkpoint is not None and note is not None:
            self._check_key(checkpoint, note, kept)
        state = recovered(self.files, checkpoint, kept)
        writer = Writer(self.files, state, durable=self._durable, most_waiting=self._most_waiting)
        try:
            for record in self._first_records(kept, state.tail):
                writer.give(record)
            writer.start()
            writer.flushed().result()
        except BaseException:
            writer.close()
            raise
        return writer

    def _newest(self) -> tuple[Checkpoint | None, Note | None]:
        data = self.files.checkpoint()
        if data is None:
            return None, None
        checkpoint, note = parse_checkpoint(data)
        if checkpoint.origin != self._origin:
            raise LogDamaged(f"'{CHECKPOINT}'", f"it is of the log '{checkpoint.origin}', and not '{self._origin}'")
        return checkpoint, note

    def _check_key(self, checkpoint: Checkpoint, note: Note, kept: Kept) -> None:
        """The checkpoint's key is the signer's, or was before rotations that no checkpoint covers yet."""
        key: VerifierKey | None = None
        for index, data in enumerate(kept.records, kept.first):
            if index >= checkpoint.size and b'"log.key_rotated"' in data:
                record = parse_record(data)
                if record["kind"] == ROTATED:
                    found = Rotation.of(index, record, self._origin)
                    note.check(found.old if key is None else key)
                    key = found.new
        if key is None:
            note.check(self._key)
        elif key != self._key:
            raise NotSigned(f"the log's key is {key.id.hex()} since its rotation; open it with the signer of that key")

    def _first_records(self, kept: Kept, tail: Sequence[bytes]) -> Iterator[bytes]:
        for one in kept.trimmed:
            yield own_record("recovered", one.as_fields())
        last = parse_record(tail[-1])["at"] if tail else 0
        ahead = last - time.time_ns() // 1000
        if ahead > JUMP * 1e6:
            yield own_record("clock_moved", {"by_us": -ahead})
        yield own_record("opened", {"origin": self._origin, "key": str(self._key), "format": 1})
