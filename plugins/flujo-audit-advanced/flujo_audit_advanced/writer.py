"""The one thread that writes a log: batches into the segment, then tiles and bundles from what is durable."""

from __future__ import annotations

import asyncio
import errno
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from itertools import islice
from pathlib import Path
from threading import Lock, Thread
from typing import Final, NamedTuple

from flujo_audit_advanced.errors import AuditError, LogFailed, LogFull
from flujo_audit_advanced.files import LogFiles, sync_folder
from flujo_audit_advanced.inbox import Closed, Inbox, Item, Job
from flujo_audit_advanced.layout import ENTRIES, tile_path
from flujo_audit_advanced.merkle import WIDTH, Tree, leaf_hash
from flujo_audit_advanced.record import Value, own_record, parse_record
from flujo_audit_advanced.segment import MOST_BATCH, SegmentWriter

MOST_SEGMENT: Final = 16 << 20
"""Bytes after which another segment begins."""

PATIENCE: Final = 0.001
"""The most seconds in which more is waited for, when fewer records wait than were written together before."""

LEISURE: Final = 0.01
"""The most seconds in which more is waited for while nobody waits for a record: fewer batches, and the program has the
interpreter to itself in between."""

MOST_KINDS: Final = 100
"""The most kinds that a record names of those that were lost."""

FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class State(NamedTuple):
    """What a writer begins with.

    Attributes:
        tree: The tree over all records, whose full tiles go to ``tiles``.
        tiles: Full tiles that are to be written: level, number, bytes.
        tail: The records that are in no full bundle.
        segment: The segment that is written on; synced.
    """

    tree: Tree
    tiles: list[tuple[int, int, bytes]]
    tail: list[bytes]
    segment: SegmentWriter


class Snapshot(NamedTuple):
    """The tree at some moment, with its partial tiles in files.

    Attributes:
        size: How many records it has.
        root: Its root.
        written: The files that were written since the last snapshot, and are not synced.
        finished: Segments whose records are all in full bundles.
    """

    size: int
    root: bytes
    written: list[Path]
    finished: list[Path]


class Writer:
    """Writes a log, from ``start`` to ``close``.

    Args:
        files: The log's folder.
        state: What there is already.
        durable: Whether a record is acknowledged only when it is on the disk.
        most_waiting: Bytes of records that may wait to be written.

    Attributes:
        size: How many records were acknowledged.
        lost: Of records that nobody waited for and that could not be written: how many of each kind no record tells of.
        failed: Why nothing more is taken; None while all is well.
    """

    def __init__(self, files: LogFiles, state: State, *, durable: bool, most_waiting: int) -> None:
        self._files, self._durable = files, durable
        self._tree, self._tiles, self._tail, self._segment = state
        self._inbox = Inbox(most_waiting)
        self._lock = Lock()
        self.size = self._tree.size
        self._bundled = self.size - len(self._tail)
        self._written: list[Path] = []
        self._old: list[tuple[int, Path]] = []
        self._last_count, self._last_sync, self._last_waited = 0, 0.0, True
        self.lost: Counter[str] = Counter()
        self._untold = 0
        self.failed: LogFailed | None = None
        self._thread = Thread(target=self._serve, name="flujo-audit-writer", daemon=True)

    def start(self) -> None:
        """Begins to write."""
        self._thread.start()

    def give(self, record: bytes, done: asyncio.Future[int] | None = None) -> None:
        """Takes a record on; see ``Inbox.give``."""
        self._inbox.give(Item(record, done))

    def snapshot(self) -> Snapshot:
        """Writes the partial tiles of the tree as it is now, and syncs the segment if nobody has.

        Raises:
            LogFailed: They could not be written.
        """
        found: Snapshot = self._inbox.ask(self._snapshot).result()
        return found

    def flushed(self) -> Future[int]:
        """When all is written that was given: how many records there are."""
        return self._inbox.ask(self._flushed)

    def close(self) -> None:
        """Writes what was given, and ends."""
        closed = Closed("the audit log is closed; open it again to go on")
        self._inbox.close(closed, self._stop)
        if self._thread.ident is not None:
            self._thread.join()
        self._segment.close()

    def records(self, after: int) -> Iterator[tuple[int, bytes]]:
        """The acknowledged records from a number on, with their numbers."""
        with self._lock:
            bundled, tail = self._bundled, list(self._tail)
        for number in range(after // WIDTH, bundled // WIDTH):
            for place, record in enumerate(self._files.records(number, WIDTH), number * WIDTH):
                if place >= after:
                    yield place, record
        yield from islice(enumerate(tail, bundled), max(0, after - bundled), None)

    def _serve(self) -> None:
        with suppress(_Stopped):
            while True:
                self._gather()
                items, jobs = self._inbox.take()
                try:
                    for batch in batches(items):
                        self._commit(batch)
                except Exception as error:  # a mistake of ours must leave nobody waiting
                    self._break(error, items)
                for job in jobs:
                    _do(job)

    def stop(self, why: str) -> LogFailed:
        """Takes nothing more; gives the error that says why. May be called from any thread."""
        self.failed = LogFailed(f"the audit log in '{self._files.path}' has failed: {why}; open it again")
        self._inbox.close(self.failed)
        return self.failed

    def _break(self, error: Exception, items: Sequence[Item]) -> None:
        self._lose(items)
        _tell_all(items, self.stop(f"an unexpected {type(error).__name__}"), None)

    def _lose(self, items: Sequence[Item]) -> None:
        kinds = Counter(_kind(item.record) for item in items if item.done is None)
        self._untold += kinds.total()
        self.lost = self.lost + kinds

    def _gather(self) -> None:
        """Waits a moment for more: for those who have just heard of the last batch, or who wait for nothing."""
        if self._last_count > 1 and not self._last_waited:
            self._inbox.idle(LEISURE)
        elif self._durable and 1 < self._last_count > 2 * len(self._inbox):
            self._inbox.linger(min(PATIENCE, self._last_sync / 8))

    def _commit(self, batch: Sequence[Item]) -> None:
        gap = [own_record("records_lost", _told(self.lost))] if self.lost else []
        records = [*gap, *(item.record for item in batch)]
        try:
            self._write(records)
        except AuditError as error:
            self._lose(batch)
            _tell_all(batch, error, None)
            return
        with self._lock:
            self._tail += records
            first, self.size = self.size + len(gap), self.size + len(records)
        self.lost = Counter()
        self._last_waited = _tell_all(batch, None, first)
        self._tree.add([leaf_hash(record) for record in records])
        with suppress(LogFailed):  # the segment has them; a snapshot tries again and says so
            self._write_tiles()

    def _write(self, records: Sequence[bytes]) -> None:
        if self.failed is not None:
            raise self.failed.with_traceback(None)
        if self._segment.end > MOST_SEGMENT:
            self._turn()
        try:
            self._segment.write(records)
        except OSError as error:
            raise self._cut(error) from None
        if self._durable:
            self._sync()
        self._last_count = len(records)

    def _sync(self) -> None:
        begin = time.perf_counter()
        try:
            self._segment.sync()
        except OSError as error:
            raise self._fail(error) from None
        self._last_sync = time.perf_counter() - begin

    def _turn(self) -> None:
        """Begins another segment."""
        if not self._durable:
            self._sync()
        path = self._segment.path
        following = path.with_name(f"{int(path.name) + 1:020}")
        try:
            new = SegmentWriter(following, self.size)
            new.sync()
            sync_folder(following.parent)
        except OSError as error:
            with suppress(OSError):
                following.unlink(missing_ok=True)
            raise self._named(error) from None
        self._old.append((self.size, path))
        self._segment.close()
        self._segment = new

    def _cut(self, error: OSError) -> LogFailed:
        """After a write that has failed: the log goes on if the segment can be made what it was."""
        if error.errno not in FULL:
            return self._fail(error)
        try:
            self._segment.cut()
        except OSError as worse:
            return self._fail(worse)
        return self._named(error)

    def _fail(self, error: OSError) -> LogFailed:
        self.failed = self._named(error)
        self._inbox.close(self.failed)
        return self.failed

    def _named(self, error: OSError) -> LogFailed:
        where = f"the audit log in '{self._files.path}'"
        if error.errno in FULL:
            return LogFull(f"{where} has no space left ({error.strerror}); the record was not taken")
        return LogFailed(f"{where} could not be written ({error.strerror}); open it again when its disk works")

    def _write_tiles(self) -> None:
        """Writes the bundles and tiles that are full."""
        try:
            while len(self._tail) >= WIDTH:
                number = self._bundled // WIDTH
                self._add(ENTRIES, number, self._files.add_bundle(number, self._tail[:WIDTH]))
                with self._lock:
                    self._bundled += WIDTH
                    del self._tail[:WIDTH]
            while self._tiles:
                level, number, data = self._tiles[0]
                self._add(level, number, self._files.add_tile(level, number, data))
                del self._tiles[0]
        except OSError as error:
            raise self._named(error) from None

    def _add(self, level: int | str, number: int, path: Path) -> None:
        """Notes that a full tile was written, which takes the place of its partial ones."""
        self._written.append(path)
        partial = (self._files.path / tile_path(level, number)).with_name(f"{path.name}.p")
        if partial.is_dir():
            self._files.remove(list(partial.iterdir()))

    def _snapshot(self) -> Snapshot:
        if self.failed is not None:
            raise self.failed.with_traceback(None)
        if not self._durable:
            self._sync()
        self._write_tiles()
        try:
            partial = [
                self._files.add_tile(level, number, data, len(data) // 32)
                for level, number, data in self._tree.partial()
            ]
            if self._tail:
                partial.append(self._files.add_bundle(self._bundled // WIDTH, self._tail, len(self._tail)))
        except OSError as error:
            raise self._named(error) from None
        written, self._written = self._written + partial, []
        finished = [path for end, path in self._old if end <= self._bundled]
        self._old = [(end, path) for end, path in self._old if end > self._bundled]
        return Snapshot(self._tree.size, self._tree.root(), written, finished)

    def _flushed(self) -> int:
        if self.failed is not None:
            raise self.failed.with_traceback(None)
        lost, self._untold = self._untold, 0
        if lost:
            raise LogFull(f"{lost} records that were posted could not be written; the log's next record says so")
        if not self._durable:
            self._sync()
        return self.size

    def _stop(self) -> None:
        raise _Stopped


def _kind(record: bytes) -> str:
    """The kind of a record, as the key of a record may be."""
    kind = str(parse_record(record)["kind"])
    return kind if kind.isascii() else "other"


def _told(lost: Counter[str]) -> dict[str, Value]:
    """What a record says of those that were lost; of many kinds, it names the most frequent ones."""
    return {"count": lost.total(), "kinds": dict(lost.most_common(MOST_KINDS))}


class _Stopped(BaseException):
    """The writer is to end."""


def _do(job: Job) -> None:
    try:
        job.done.set_result(job.work())
    except Exception as error:  # whatever it is, it belongs to who asked
        job.done.set_exception(error)


def batches(items: list[Item]) -> Iterator[list[Item]]:
    """Items in batches of at most about ``MOST_BATCH`` bytes."""
    batch: list[Item] = []
    room = MOST_BATCH
    for item in items:
        batch.append(item)
        room -= len(item.record) + 2
        if room <= 0:
            yield batch
            batch, room = [], MOST_BATCH
    if batch:
        yield batch


def _tell_all(batch: Sequence[Item], error: AuditError | None, first: int | None) -> bool:
    """Tells who waits, each on its own loop; gives whether anybody does."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[int], int]]] = {}
    for place, item in enumerate(batch):
        if item.done is not None:
            loops.setdefault(item.done.get_loop(), []).append((item.done, place))
    for loop, waiting in loops.items():
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle, waiting, error, first)
    return bool(loops)


def _settle(waiting: Sequence[tuple[asyncio.Future[int], int]], error: AuditError | None, first: int | None) -> None:
    for done, place in waiting:
        if done.done():  # who waited was cancelled
            continue
        if first is not None:
            done.set_result(first + place)
        else:
            done.set_exception(error or LogFailed("the record was not taken"))
