"""Exporter: carries a log's sealed records to a sink, from a durable cursor, at least once and in order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from itertools import islice
from logging import getLogger
from pathlib import Path
from typing import Final, NamedTuple

from flujo_audit_advanced.checkpoint import parse_checkpoint
from flujo_audit_advanced.errors import AuditError
from flujo_audit_advanced.export.cursor import Cursor, Position
from flujo_audit_advanced.export.sink import Exported, Sink, SinkFailed, SinkRefused
from flujo_audit_advanced.files import LogFiles, numbered

log: Final = getLogger("flujo.audit.export")


class Pace(NamedTuple):
    """How an export goes on.

    Attributes:
        records: The most records that are sent at once.
        size: About the most bytes that are sent at once.
        timeout: Seconds in which a sink has to have taken them.
        poll: Seconds between two looks at the log.
        first_wait: Seconds before the second try; each further wait is twice as long.
        longest_wait: The longest wait, in seconds.
        patience: Seconds for which one that does not follow tries again.
    """

    records: int = 500
    size: int = 1 << 20
    timeout: float = 30.0
    poll: float = 0.25
    first_wait: float = 0.5
    longest_wait: float = 30.0
    patience: float = 60.0


PACE: Final = Pace()


class Exporter:
    """Exports one log to one sink.

    Only what a checkpoint covers is sent: that is durable, and stays. The cursor moves when the sink has taken records,
    so that after a crash the last ones are sent again, with the same ids.

    Args:
        path: The log's folder.
        sink: Where records go.
        cursor: Keeps how far it has come.
        name: What the export is called in messages.
        pace: How it goes on.

    Attributes:
        trouble: Why the sink takes nothing now; None while all is well.
    """

    def __init__(self, path: Path, sink: Sink, cursor: Cursor, *, name: str, pace: Pace = PACE) -> None:
        self._files, self._sink, self._cursor, self._name, self._pace = LogFiles(path), sink, cursor, name, pace
        self._position: Position | None = None
        self.trouble: AuditError | None = None

    async def run(self, *, follow: bool) -> int:
        """Sends what there is, and what comes.

        Args:
            follow: Whether to go on with what comes, until it is cancelled; else it ends when the sink has everything.

        Returns:
            The number of the record that would be sent next.

        Raises:
            AuditError: The log or the cursor cannot be read.
            LogDamaged: The log is not the one that was exported before.
            SinkFailed: The sink is away; only if it does not ``follow``, and when its patience ends.
            SinkRefused: The sink will never take a record; nothing behind it is sent.
        """
        try:
            while True:
                await self._catch_up(follow)
                if not follow:
                    return self._position.next if self._position else 0
                await asyncio.sleep(self._pace.poll)
        finally:
            await self._sink.aclose()

    async def _catch_up(self, follow: bool) -> None:
        data = await asyncio.to_thread(self._files.checkpoint)
        if data is None:
            if not follow:
                raise AuditError(f"there is no sealed audit log in '{self._files.path}'")
            return
        checkpoint, _ = parse_checkpoint(data)
        if self._position is None:
            self._position = await asyncio.to_thread(self._cursor.read) or Position(checkpoint.origin)
        await asyncio.to_thread(self._position.check, self._files, checkpoint.origin, checkpoint.size)
        while (position := self._position).next < checkpoint.size:
            batch = await asyncio.to_thread(self._batch, position, checkpoint.size)
            await self._delivered(batch, follow)
            last = batch[-1]
            self._position = position.after(last.number, last.data)
            await asyncio.to_thread(self._cursor.write, self._position)

    def _batch(self, position: Position, size: int) -> list[Exported]:
        batch: list[Exported] = []
        room = self._pace.size
        for number, data in islice(numbered(self._files, position.next, size), self._pace.records):
            room -= len(data)
            if batch and room < 0:
                break
            batch.append(Exported(position.origin, number, data))
        return batch

    async def _delivered(self, batch: Sequence[Exported], follow: bool) -> None:
        """Sends records until the sink has them."""
        waited = 0.0
        for wait in self._waits():
            try:
                await self._sent(batch)
                break
            except SinkFailed as error:
                self._failing(error)
                if not follow and waited > self._pace.patience:
                    raise
            await asyncio.sleep(wait)
            waited += wait
        self._working()

    async def _sent(self, batch: Sequence[Exported]) -> None:
        """Sends records; if they are refused, in halves, so that only what is refused is not sent.

        Raises:
            SinkFailed: They were not taken.
            SinkRefused: The first of those that are left will never be taken.
        """
        try:
            async with asyncio.timeout(self._pace.timeout):
                await self._sink.send(batch)
        except TimeoutError:
            raise SinkFailed(f"the sink '{self._name}' took longer than {self._pace.timeout:g} s") from None
        except SinkRefused as error:
            if len(batch) == 1:
                raise SinkRefused(
                    f"the export '{self._name}' stops before record {batch[0].number}: {error}"
                ) from error
            middle = len(batch) // 2
            await self._sent(batch[:middle])
            await self._sent(batch[middle:])

    def _waits(self) -> Iterator[float]:
        wait = self._pace.first_wait
        while True:
            yield wait * random.uniform(0.75, 1.25)
            wait = min(2 * wait, self._pace.longest_wait)

    def _failing(self, error: SinkFailed) -> None:
        if self.trouble is None:
            log.warning("the export '%s' has stopped, and tries again: %s", self._name, error)
        self.trouble = error

    def _working(self) -> None:
        if self.trouble is not None:
            log.warning("the export '%s' goes on", self._name)
        self.trouble = None
