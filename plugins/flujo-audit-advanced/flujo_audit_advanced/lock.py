"""The lock that a log's one writer holds."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from flujo_audit_advanced.errors import AuditError, LogBusy


class WriterLock:
    """An exclusive lock on a log's folder; the kernel lets go of it when the process dies.

    Args:
        folder: The log's folder.

    Raises:
        LogBusy: Somebody else holds it.
        AuditError: The folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        try:
            self._file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise AuditError(f"the audit log in '{folder}' cannot be opened for writing: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(self._file, 20).decode(errors="replace").strip()
            os.close(self._file)
            raise LogBusy(
                f"the audit log in '{folder}' is written by process {holder or 'unknown'}; a log has one writer"
            ) from None
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            self.release()  # else nobody could open the log again while this process lives
            raise AuditError(f"the audit log in '{folder}' cannot be opened for writing: {error.strerror}") from error

    def held(self) -> bool:
        """Whether it is still the lock: False if somebody has deleted the file, so that another may hold a new one."""
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._file))
        except OSError:
            return False

    def release(self) -> None:
        """Lets go of it."""
        os.close(self._file)
