"""The thread that signs checkpoints."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from threading import Event, RLock, Thread
from typing import Final

from flujo_audit_advanced.anchor import Anchor, Sealed
from flujo_audit_advanced.anchoring import Anchoring
from flujo_audit_advanced.checkpoint import Checkpoint
from flujo_audit_advanced.errors import AuditError
from flujo_audit_advanced.files import LogFiles
from flujo_audit_advanced.keys import rotation
from flujo_audit_advanced.layout import CHECKPOINT
from flujo_audit_advanced.lock import WriterLock
from flujo_audit_advanced.note import Note
from flujo_audit_advanced.record import own_record
from flujo_audit_advanced.signer import Signer
from flujo_audit_advanced.writer import Writer

JUMP: Final = 2.0
"""Seconds by which the clock may move against the time that passes before it is put on record."""


class Sealer:
    """Signs a checkpoint when there is something new and some time has passed, and has it anchored.

    Args:
        files: The log's folder.
        writer: Its writer.
        lock: The lock that the writer holds.
        origin: Its name.
        signer: Who signs.
        anchors: Who keeps checkpoints.
        every: Seconds between two checkpoints.

    Attributes:
        trouble: Why the last checkpoint was not signed; None when it was.
    """

    def __init__(
        self,
        files: LogFiles,
        writer: Writer,
        lock: WriterLock,
        *,
        origin: str,
        signer: Signer,
        anchors: Sequence[Anchor],
        every: float,
    ) -> None:
        self._files, self._writer, self._origin, self._every = files, writer, origin, every
        self._lock, self._signers = lock, [signer]
        self._sealing = RLock()
        self._sealed: Sealed | None = None
        self._written: list[Path] = []
        self._finished: list[Path] = []
        self._unsynced: AuditError | None = None
        self._clock = time.time() - time.monotonic()
        self._stop = Event()
        self.trouble: Exception | None = None
        self.anchoring = Anchoring(files, writer, anchors)
        self._thread = Thread(target=self._serve, name="flujo-audit-sealer", daemon=True)

    @property
    def sealed(self) -> int:
        """How many records the newest checkpoint of this writer is of."""
        return self._sealed.checkpoint.size if self._sealed else 0

    def start(self) -> None:
        """Begins."""
        self._thread.start()
        self.anchoring.start()

    def seal(self) -> Sealed:
        """Signs a checkpoint over all that is acknowledged now, unless the last one is.

        Raises:
            LogFailed: The log could not be written.
            SignerUnavailable: The key cannot be had.
        """
        with self._sealing:
            if not self._stop.is_set() and not self._lock.held():
                raise self._writer.stop("its file 'lock' was deleted, and somebody else may write it")
            self._watch_clock()
            snapshot = self._writer.snapshot()
            self._written += snapshot.written
            self._finished += snapshot.finished
            if self._sealed is None or snapshot.size != self.sealed or len(self._signers) > 1:
                self._sealed = self._signed(Checkpoint(self._origin, snapshot.size, snapshot.root))
                self.anchoring.give(self._sealed)
            self._retire()
            return self._sealed

    def rotate(self, signer: Signer) -> Sealed:
        """Makes another key the log's: the old one signs it, and both sign the next checkpoint.

        Raises:
            LogFailed: The log could not be written.
            SignerUnavailable: A key cannot be had.
        """
        with self._sealing:
            old = self._signers[-1]
            fields = rotation(self._origin, old, signer)
            self._writer.give(own_record("key_rotated", fields))
            self._signers = [old, signer]
            sealed = self.seal()
            self._signers = [signer]
            return sealed

    def close(self) -> None:
        """Ends; what was acknowledged since the last checkpoint is not sealed by it."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        self.anchoring.close()

    def _signed(self, checkpoint: Checkpoint) -> Sealed:
        note = Note(checkpoint.text, ())
        for signer in self._signers:
            note = note.signed(self._origin, signer)
        try:
            self._files.replace(CHECKPOINT, bytes(note), sync=True)
        except OSError as error:
            raise AuditError(f"the checkpoint could not be written ({error.strerror})") from None
        return Sealed(checkpoint, note, self._files)

    def _retire(self) -> None:
        """Deletes segments whose records are in bundles, when these are on the disk."""
        if self._unsynced is not None:
            raise self._unsynced.with_traceback(None)
        if self._finished:
            try:
                self._files.sync(self._written)
            except OSError as error:  # a second try would not tell: the kernel forgets what it could not write
                self._unsynced = AuditError(
                    f"the audit log's tiles could not be synced ({error.strerror}); open it again when its disk works"
                )
                raise self._unsynced from None
            self._files.remove(self._finished)
            self._written, self._finished = [], []

    def _watch_clock(self) -> None:
        moved = time.time() - time.monotonic() - self._clock
        if abs(moved) > JUMP:
            self._clock += moved
            self._writer.give(own_record("clock_moved", {"by_us": round(moved * 1e6)}))

    def _serve(self) -> None:
        while not self._stop.wait(self._every):
            if self._writer.size == self.sealed:
                continue
            try:
                self.seal()
                self.trouble = None
            except Exception as error:  # whatever it is, who asks for a checkpoint hears of it, and the log goes on
                self.trouble = error
