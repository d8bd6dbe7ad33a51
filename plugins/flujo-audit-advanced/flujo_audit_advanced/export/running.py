"""Running: the exports of a process that writes a log, each in a thread of its own, never on the way of a record."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from logging import getLogger
from pathlib import Path
from threading import Thread
from typing import Any, Final, NamedTuple

from flujo_audit_advanced.errors import AuditError
from flujo_audit_advanced.export.cursor import Cursor
from flujo_audit_advanced.export.exporter import PACE, Exporter, Pace
from flujo_audit_advanced.export.kinds import sink_of
from flujo_core import ConfigurationError

log: Final = getLogger("flujo.audit.export")

FOLDER: Final = "exports"
"""The folder in a log's folder that has the cursors."""


class Export(NamedTuple):
    """An export of a deployment.

    Attributes:
        name: What it is called: its cursor has that name.
        options: The kind of its sink, and the options of that.
    """

    name: str
    options: Mapping[str, Any]

    def exporter(self, path: Path, cursor: Path | None = None, pace: Pace = PACE) -> Exporter:
        """What exports a log.

        Args:
            path: The log's folder.
            cursor: The file of the cursor; None: in the log's folder.
            pace: How it goes on.

        Raises:
            ConfigurationError: There is no such sink.
        """
        place = Cursor(cursor or path / FOLDER / self.name)
        return Exporter(path, sink_of(self.options), place, name=self.name, pace=pace)


def exports_of(tables: Sequence[Mapping[str, Any]]) -> list[Export]:
    """The exports that a configuration describes, checked.

    Raises:
        ConfigurationError: One has no name, or one that another has, or its sink cannot be.
    """
    found: list[Export] = []
    for table in tables:
        name = table.get("name", table.get("kind"))
        if not isinstance(name, str) or not name.replace("-", "").replace("_", "").isalnum():
            raise ConfigurationError("an export of the audit has no 'name' of letters, digits, '-' and '_'")
        if name in {one.name for one in found}:
            raise ConfigurationError(f"two exports of the audit are called '{name}'; give each a 'name' of its own")
        export = Export(name, {key: value for key, value in table.items() if key != "name"})
        sink_of(export.options)
        found.append(export)
    return found


class RunningExports:
    """Exports that go on until they are stopped.

    Args:
        path: The log's folder.
        exports: The exports.
    """

    def __init__(self, path: Path, exports: Sequence[Export]) -> None:
        self._path, self._exports = path, exports
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None
        self._tasks: list[asyncio.Task[int]] = []

    def start(self) -> None:
        """Begins."""
        if self._exports:
            self._loop = asyncio.new_event_loop()
            self._thread = Thread(target=self._serve, name="flujo-audit-export", daemon=True)
            self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Ends; what was not sent is sent when they start again."""
        if self._loop is not None and self._thread is not None and self._thread.is_alive():
            with suppress(RuntimeError):  # all have ended by themselves
                self._loop.call_soon_threadsafe(self._cancel)
            self._thread.join(timeout)
        self._loop = self._thread = None

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _serve(self) -> None:
        assert self._loop is not None
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._export())
        finally:
            self._loop.close()

    async def _export(self) -> None:
        self._tasks = [asyncio.create_task(one.exporter(self._path).run(follow=True)) for one in self._exports]
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        for one, how in zip(self._exports, ended, strict=True):
            if isinstance(how, AuditError):
                log.error("the export '%s' has ended: %s", one.name, how)
            elif not isinstance(how, asyncio.CancelledError):
                log.error("the export '%s' has ended by a %s", one.name, type(how).__name__)
