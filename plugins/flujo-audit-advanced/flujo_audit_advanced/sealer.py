"""The thread that signs checkpoints, and the one that has them anchored."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Condition, Event, RLock, Thread
from typing import Final
from uuid import uuid4

from flujo_audit_advanced.anchor import Anchor, Sealed
from flujo_audit_advanced.checkpoint import Checkpoint
from flujo_audit_advanced.errors import AuditError, NotAnchored
from flujo_audit_advanced.files import LogFiles
from flujo_audit_advanced.keys import rotation
from flujo_audit_advanced.layout import CHECKPOINT
from flujo_audit_advanced.note import Note, Signature
from flujo_audit_advanced.record import Value, encoded
from flujo_audit_advanced.signer import Signer
from flujo_audit_advanced.writer import Writer

JUMP: Final = 2.0
"""Seconds by which the clock may move against the time that passes before it is put on record."""


def own_record(kind: str, fields: Mapping[str, Value]) -> bytes:
    """A record of the log's own."""
    return encoded({"id": uuid4().hex, "kind": f"log.{kind}", "at": time.time_ns() // 1000, **fields})


class Sealer:
    """Signs a checkpoint when there is something new and some time has passed, and has it anchored.

    Args:
        files: The log's folder.
        writer: Its writer.
        origin: Its name.
        signer: Who signs.
        anchors: Who keeps checkpoints.
        every: Seconds between two checkpoints.

    Attributes:
        trouble: Why the last checkpoint was not signed; None when it was.
    """

    def __init__(
        self, files: LogFiles, writer: Writer, *, origin: str, signer: Signer, anchors: Sequence[Anchor], every: float
    ) -> None:
        self._files, self._writer, self._origin, self._every = files, writer, origin, every
        self._signers = [signer]
        self._sealing = RLock()
        self._sealed: Sealed | None = None
        self._written: list[Path] = []
        self._finished: list[Path] = []
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
        if self._finished:
            try:
                self._files.sync(self._written)
            except OSError as error:
                raise AuditError(
                    f"the log's tiles could not be synced ({error.strerror}); open the log again"
                ) from None
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


class Anchoring:
    """Gives checkpoints to anchors, the newest there is, in a thread of its own.

    Args:
        files: The log's folder.
        writer: Its writer, which is told what was not anchored.
        anchors: Who keeps checkpoints.

    Attributes:
        size: For each anchor, up to which record it has been given the log.
        troubles: Why an anchor did not take what it was last given.
    """

    def __init__(self, files: LogFiles, writer: Writer, anchors: Sequence[Anchor]) -> None:
        self._files, self._writer, self._anchors = files, writer, anchors
        self._changed = Condition()
        self._waiting: Sealed | None = None
        self._last = {one.name: -float("inf") for one in anchors}
        self._stopped = False
        self.size = {one.name: 0 for one in anchors}
        self.troubles: dict[str, Exception] = {}
        self._tries = {one.name: 0 for one in anchors}
        self._thread = Thread(target=self._serve, name="flujo-audit-anchors", daemon=True)

    def start(self) -> None:
        """Begins, if there is anybody to give something to."""
        if self._anchors:
            self._thread.start()

    def give(self, sealed: Sealed) -> None:
        """Takes a checkpoint on, in the place of one that waits still."""
        with self._changed:
            self._waiting = sealed
            self._changed.notify_all()

    def wait(self, sealed: Sealed) -> None:
        """Has a checkpoint anchored by everybody now, however short ago they were given one.

        Raises:
            NotAnchored: Somebody did not take it.
        """
        if not self._anchors:
            raise NotAnchored("the audit log has no anchors; give it witnesses, an authority for timestamps, or a copy")
        with self._changed:
            before = dict(self._tries)
            self._last = dict.fromkeys(self._last, -float("inf"))
            self._waiting = sealed
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._stopped or all(self._heard(one, before, sealed) for one in self.size))
            for name, size in self.size.items():
                if size < sealed.checkpoint.size:
                    raise self.troubles.get(name) or NotAnchored(f"the log was closed before '{name}' had answered")

    def _heard(self, name: str, before: Mapping[str, int], sealed: Sealed) -> bool:
        return self.size[name] >= sealed.checkpoint.size or self._tries[name] > before[name]

    def close(self) -> None:
        """Ends when the anchors that are being asked have answered."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def _serve(self) -> None:
        while (sealed := self._next()) is not None:
            for one in self._anchors:
                if time.monotonic() - self._last[one.name] >= one.every:
                    self._last[one.name] = time.monotonic()
                    self._give(one, sealed)

    def _next(self) -> Sealed | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._waiting is not None)
            sealed, self._waiting = self._waiting, None
            return None if self._stopped else sealed

    def _give(self, anchor: Anchor, sealed: Sealed) -> None:
        failed: Exception | None = None
        try:
            evidence = anchor.anchor(sealed)
            self._keep(sealed, evidence.signatures, evidence.files)
        except Exception as error:  # whatever it is, who waits for the anchor hears of it, and the others go on
            failed = error
        with self._changed:
            known = self.troubles.pop(anchor.name, None)
            if failed is not None:
                self.troubles[anchor.name] = failed
            else:
                self.size[anchor.name] = sealed.checkpoint.size
            self._tries[anchor.name] += 1
            self._changed.notify_all()
        if (failed is None) != (known is None):
            self._put_on_record(anchor.name, failed)

    def _put_on_record(self, name: str, failed: Exception | None) -> None:
        """Says in the log when an anchor begins to fail, and when it takes checkpoints again."""
        kind, why = ("anchored_again", "") if failed is None else ("not_anchored", type(failed).__name__)
        with suppress(AuditError):  # the log has failed or is closed, which is said elsewhere
            self._writer.give(own_record(kind, {"anchor": name, "error": why}))

    def _keep(self, sealed: Sealed, signatures: Sequence[Signature], more: Mapping[str, bytes]) -> None:
        """Keeps what an anchor gave in the folder of the checkpoint."""
        folder = f"anchors/{sealed.checkpoint.size:020}"
        known = self._files.read(f"{folder}/checkpoint")
        note = Note.parse(known) if known else sealed.note
        if known and note.text != sealed.note.text:
            note = sealed.note
        self._files.replace(f"{folder}/checkpoint", bytes(note.adding(signatures)), sync=True)
        for name, data in more.items():
            self._files.replace(f"{folder}/{name}", data, sync=True)
