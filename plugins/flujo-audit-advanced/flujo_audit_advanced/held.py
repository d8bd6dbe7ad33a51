"""Held: the log of a folder, which all of a process write together, and which is opened again after a failure."""

from __future__ import annotations

import asyncio
import atexit
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread
from typing import Any, Final, TypeVar

from flujo_audit_advanced.errors import AuditError, LogFailed, LogFull
from flujo_audit_advanced.export.running import Export, RunningExports
from flujo_audit_advanced.log import AuditLog
from flujo_audit_advanced.losses import Losses
from flujo_core import ConfigurationError

T = TypeVar("T")

AGAIN: Final = 1.0
"""Seconds between two tries to open a log that has failed."""

_held: dict[Path, HeldLog] = {}
_lock = Lock()


class HeldLog:
    """A log that is open while somebody has it.

    Args:
        path: Its folder.
        opened: Opens it.
        terms: With what it is opened: who has it with something else is refused.
        exports: Where its records are carried to while it is open.

    Attributes:
        losses: What it did not take, and does not say yet.
    """

    def __init__(
        self, path: Path, opened: Callable[[], Awaitable[AuditLog]], terms: object, exports: Sequence[Export] = ()
    ) -> None:
        self._path, self._opened, self.terms = path, opened, terms
        self._exports = RunningExports(path, exports)
        self.losses = Losses()
        self._users = 0
        self._log: AuditLog | None = None
        self._opening = Lock()
        self._tried = 0.0

    def log(self) -> AuditLog:
        """The log.

        Raises:
            LogFailed: It could not be opened again; ``NotOpen`` if nobody has opened it.
        """
        if (log := self._log) is not None:
            return log
        if self._users:
            raise LogFailed(f"the audit log in '{self._path}' could not be opened again")
        raise NotOpen(f"the audit log in '{self._path}' is not open: the plugin was not started")

    def open(self) -> None:
        """Takes part in it; opens it for the first one. Not on an event loop.

        Raises:
            AuditError: It cannot be opened; see ``AuditLog.open``.
        """
        with self._opening:
            if self._log is None:
                self._log = self._made()
            if not self._users:
                self._exports.start()
            self._users += 1

    def renew(self) -> None:
        """Opens it again after a failure; does nothing if that was tried a moment ago. Not on an event loop.

        Raises:
            AuditError: It cannot be opened.
        """
        with self._opening:
            if not self._users or time.monotonic() - self._tried < AGAIN:
                return
            self._renew()

    def close(self, *, at_exit: bool = False) -> None:
        """Takes no part any more; closes it after the last one, or for all as the process ends. Not on an event loop.

        Raises:
            AuditError: What was posted could not be written, or its last checkpoint not signed.
        """
        with self._opening:
            if not self._users:
                return
            self._users = 0 if at_exit else self._users - 1
            if not self._users:
                self._close(at_exit)

    def _renew(self) -> None:
        self._tried = time.monotonic()
        self._let_go()
        self._log = self._made()
        self.losses.tell(self._log)

    def _let_go(self) -> None:
        log, self._log = self._log, None
        if log is not None:
            with suppress(AuditError):  # it has failed already, and said so
                log.close_now()
            self.losses.add(log.lost, str(log.trouble))

    def _close(self, at_exit: bool) -> None:
        if at_exit and self._log is not None:  # no thread can be started any more, so it cannot be opened again
            self.losses.tell(self._log)
        elif not at_exit and (self.losses or (self._log is not None and self._log.lost)):
            with suppress(AuditError):  # the last moment to say what was lost
                self._renew()
        log, self._log = self._log, None
        try:
            if log is not None:
                log.close_now()
        finally:
            self.losses.add(log.lost if log is not None else {}, "it was closed")
            self.losses.give_up()
            self._exports.stop()

    def _made(self) -> AuditLog:
        async def main() -> AuditLog:
            return await self._opened()

        try:
            return asyncio.run(main())
        except OSError as error:
            raise LogFailed(f"the audit log in '{self._path}' cannot be opened ({error.strerror})") from None


class NotOpen(AuditError):
    """Nobody has opened the log."""


def held(
    path: Path, opened: Callable[[], Awaitable[AuditLog]], terms: object, exports: Sequence[Export] = ()
) -> HeldLog:
    """The log of a folder, the same for all of this process.

    Raises:
        ConfigurationError: Somebody of this process has it on other terms.
    """
    place = path.absolute()
    with _lock:
        if not _held:
            atexit.register(_close_all)
        found = _held.setdefault(place, HeldLog(place, opened, terms, exports))
        if found.terms != terms and found._users:
            raise ConfigurationError(
                f"the audit log in '{place}' is open in this process with another key, origin or anchors; give the same"
            )
        if found.terms != terms:
            found = _held[place] = HeldLog(place, opened, terms, exports)
        return found


async def beside(work: Callable[[], T], timeout: float) -> T:
    """Does something in a thread of its own; one that hangs keeps neither the event loop nor the process waiting.

    Raises:
        TimeoutError: It was not done in time.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(how: Callable[[Any], None], what: Any) -> None:
        if not done.done():
            how(what)

    def run() -> None:
        try:
            told: tuple[Callable[[Any], None], Any] = (done.set_result, work())
        except BaseException as error:
            told = (done.set_exception, error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, *told)

    Thread(target=run, name="flujo-audit-beside", daemon=True).start()
    async with asyncio.timeout(timeout):
        return await done


def has_failed(error: AuditError) -> bool:
    """Whether a log has to be opened again before it takes anything."""
    return isinstance(error, LogFailed) and not isinstance(error, LogFull)


def _close_all() -> None:
    for one in list(_held.values()):
        with suppress(AuditError):
            one.close(at_exit=True)
