"""The thread that has checkpoints anchored, so that nobody else waits for who keeps them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from threading import Condition, Thread
from typing import Final

from flujo_audit_advanced.anchor import Anchor, Sealed
from flujo_audit_advanced.errors import AuditError, NotAnchored
from flujo_audit_advanced.files import LogFiles
from flujo_audit_advanced.note import Note, Signature
from flujo_audit_advanced.record import own_record
from flujo_audit_advanced.writer import Writer

MOST_KEPT: Final = 500
"""Anchored checkpoints that are kept."""

RETRY: Final = 2.0
"""Seconds after which an anchor that has failed is asked again, if its own interval is not longer."""


class Course:
    """How far one anchor has come.

    Args:
        anchor: The anchor.

    Attributes:
        size: Up to which record it has taken the log.
        due: When it may be asked again, by the monotonic clock.
        answered: The newest wish that it has answered, whether it took the checkpoint or not.
        trouble: Why it did not take what it was last given.
    """

    def __init__(self, anchor: Anchor) -> None:
        self.anchor = anchor
        self.size, self.answered, self.due = 0, 0, -float("inf")
        self.trouble: Exception | None = None


class Anchoring:
    """Gives anchors the newest checkpoint: when one is due, when somebody wishes it, and a last time at closing.

    Args:
        files: The log's folder.
        writer: Its writer, which is told what was not anchored.
        anchors: Who keeps checkpoints.
    """

    def __init__(self, files: LogFiles, writer: Writer, anchors: Sequence[Anchor]) -> None:
        self._files, self._writer = files, writer
        self._courses = [Course(one) for one in anchors]
        self._changed = Condition()
        self._newest: Sealed | None = None
        self._wishes, self._stopped = 0, False
        self._thread = Thread(target=self._serve, name="flujo-audit-anchors", daemon=True)

    @property
    def trouble(self) -> Exception | None:
        """Why some anchor did not take what it was last given; None if all did."""
        return next((one.trouble for one in self._courses if one.trouble is not None), None)

    def start(self) -> None:
        """Begins, if there is anybody to give something to."""
        if self._courses:
            self._thread.start()

    def give(self, sealed: Sealed) -> None:
        """Takes a checkpoint on, in the place of the one before."""
        with self._changed:
            self._newest = sealed
            self._changed.notify_all()

    def wait(self, sealed: Sealed) -> None:
        """Has a checkpoint, or a newer one, anchored by everybody now, however short ago they were given one.

        Raises:
            NotAnchored: Somebody did not take it.
        """
        if not self._courses:
            raise NotAnchored("the audit log has no anchors; give it witnesses, an authority for timestamps, or a copy")
        with self._changed:
            self._wishes += 1
            mine = self._wishes
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._stopped or all(one.answered >= mine for one in self._courses))
            for one in self._courses:
                if one.size < sealed.checkpoint.size:
                    raise one.trouble or NotAnchored(f"the log was closed before '{one.anchor.name}' had answered")

    def close(self) -> None:
        """Ends when each anchor was given the newest checkpoint a last time."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def _serve(self) -> None:
        stopped = False
        while not stopped:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or bool(self._due()), self._pause())
                stopped, wish, newest, due = self._stopped, self._wishes, self._newest, self._due()
            for course in due:
                if newest is not None:
                    self._ask(course, newest, wish)

    def _due(self) -> list[Course]:
        """Who is to be given the newest checkpoint now."""
        if self._newest is None:
            return []
        size, now = self._newest.checkpoint.size, time.monotonic()
        return [
            one
            for one in self._courses
            if one.answered < self._wishes or (one.size < size and (self._stopped or one.due <= now))
        ]

    def _pause(self) -> float | None:
        """Seconds until somebody is due who has not the newest checkpoint; None if everybody has it."""
        size = self._newest.checkpoint.size if self._newest else 0
        times = [one.due for one in self._courses if one.size < size]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _ask(self, course: Course, sealed: Sealed, wish: int) -> None:
        failed: Exception | None = None
        try:
            evidence = course.anchor.anchor(sealed)
            self._keep(sealed, evidence.signatures, evidence.files)
        except Exception as error:  # whatever it is, who waits for the anchor hears of it, and the others go on
            failed = error
        if (failed is None) != (course.trouble is None):
            self._put_on_record(course.anchor.name, failed)
        with self._changed:
            course.trouble = failed
            if failed is None:
                course.size = sealed.checkpoint.size
            course.answered = wish
            course.due = time.monotonic() + (course.anchor.every if failed is None else max(course.anchor.every, RETRY))
            self._changed.notify_all()

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
        self._prune()

    def _prune(self) -> None:
        """Deletes the oldest anchored checkpoints that have no stamp, if there are many: the newer ones imply them."""
        folders = self._files.anchors()
        for folder in folders[: max(0, len(folders) - MOST_KEPT)]:
            if not any(folder.glob("stamp-*")):
                self._files.remove([folder / "checkpoint"])
                folder.rmdir()
