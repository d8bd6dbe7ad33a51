"""Cursor: how far an export has come, kept so that neither a crash nor another log goes unnoticed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

from flujo_audit_advanced.errors import AuditError, LogDamaged
from flujo_audit_advanced.files import LogFiles, numbered, sync_folder
from flujo_audit_advanced.merkle import leaf_hash


class Position(NamedTuple):
    """A place in a log.

    Attributes:
        origin: The log's name.
        next: The number of the record that is to be sent next.
        leaf: The leaf hash of the one before it, in hexadecimal; empty at the beginning.
    """

    origin: str
    next: int = 0
    leaf: str = ""

    def after(self, number: int, record: bytes) -> Position:
        """The place behind a record."""
        return Position(self.origin, number + 1, leaf_hash(record).hex())

    def check(self, files: LogFiles, origin: str, size: int) -> None:
        """Checks that a log is the one that the export has come so far in.

        Raises:
            LogDamaged: It is another one, or what was exported is not in it any more.
        """
        if self.origin != origin:
            raise LogDamaged("its checkpoint", f"it is of '{origin}', and what was exported is of '{self.origin}'")
        if self.next > size:
            raise LogDamaged("its end", f"{self.next} records were exported, and it has {size}: it was cut off")
        if self.next:
            _, record = next(numbered(files, self.next - 1, size))
            if leaf_hash(record).hex() != self.leaf:
                raise LogDamaged(f"record {self.next - 1}", "it is another one than was exported: it was rewritten")


class Cursor:
    """A file with the place that an export has come to.

    Args:
        path: The file; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Position | None:
        """The place; None if nothing was exported yet.

        Raises:
            AuditError: The file is no cursor.
        """
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise AuditError(f"the cursor '{self._path}' cannot be read: {error.strerror}") from None
        try:
            told = json.loads(data)
            return Position(str(told["origin"]), int(told["next"]), str(told["leaf"]))
        except (ValueError, KeyError, TypeError):
            raise AuditError(
                f"'{self._path}' is no cursor of an export; remove it, and all records are sent again"
            ) from None

    def write(self, position: Position) -> None:
        """Keeps a place, durably: the file has the old place or the new one.

        Raises:
            AuditError: It cannot be written.
        """
        new = self._path.with_name(f".{self._path.name}.new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(new, "wb") as file:
                file.write(json.dumps(position._asdict()).encode())
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, self._path)
            sync_folder(self._path.parent)
        except OSError as error:
            raise AuditError(f"the cursor '{self._path}' cannot be written: {error.strerror}") from None
