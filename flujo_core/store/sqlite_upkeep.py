"""What is done with the file of a SQLite store now and then: checks, vacuums, imports, the end of deletions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from flujo_core.errors import RunExists, StoreError
from flujo_core.model.event import RunEnded
from flujo_core.store.byte_codec import written_with
from flujo_core.store.codec import decode
from flujo_core.store.portable import RunCopy
from flujo_core.store.protocol import ASKED, LIFE
from flujo_core.store.sqlite_file import PATIENCE, RUN_BITS, failure, open_file
from flujo_core.store.sqlite_tables import MASK, Tables

LIVES = ", ".join(f"'{kind}'" for kind in sorted(LIFE))

QUERIES = {
    "run '{}' has no records": "select run_id from run where number not in (select run from record)",
    "record {1} of run number {0} belongs to no run": (
        "select run, sequence from record where run not in (select number from run)"
    ),
    "the records of run '{}' have a gap, or one is there twice": (
        "select run_id from record join run on number = run"
        " group by run having count(*) <> max(sequence) or min(sequence) <> 1 or count(distinct sequence) <> count(*)"
    ),
    "where record {1} of run '{0}' lies is not noted": (
        "select run_id, sequence from record join run on number = run left join place"
        f" on key = run << {RUN_BITS} | sequence where id <= (select upto from placed) and place.record is not id"
    ),
    "{} places are noted of records that there are not": (
        "select count(*) from place left join record on id = place.record where id is null having count(*) > 0"
    ),
    "run '{}' says '{}', and its records '{}'": (
        "select run_id, status, outcome from run join"
        f" (select run, max(sequence), outcome from record where kind in ({LIVES}) group by run) on run = number"
        " where status <> outcome"
    ),
    "record {1} of run '{0}' is of an epoch that the run has not come to": (
        "select run_id, sequence from record join run on number = run where record.epoch > run.epoch"
    ),
    "the inbox of run '{}' has a gap, or was taken in farther than it goes": (
        f"select run_id from run left join (select key >> {RUN_BITS} as of_run, count(*) as mails,"
        f" max(key) & {MASK} as last from mail group by 1) on of_run = number"
        " where coalesce(mails, 0) <> run.mail or coalesce(last, 0) <> run.mail or taken > run.mail"
    ),
}
"""What can be wrong, in words, and how it is found."""


def problems(path: Path) -> list[str]:
    """What is wrong with a store; nothing, as a rule.

    Args:
        path: Its file.

    Raises:
        StoreError: It cannot be opened at all.
    """
    with _opened(path) as connection:
        connection.execute("begin")
        try:
            damage = [f"the file is damaged: {text}" for (text,) in connection.execute("pragma integrity_check")]
            if damage != ["the file is damaged: ok"]:
                return damage
        except sqlite3.DatabaseError as error:
            return [f"the file is damaged: {error}"]
        wrong = [text.format(*row) for text, query in QUERIES.items() for row in connection.execute(query)]
        return [*wrong, *_questions(connection), *_unreadable(Tables(connection))]


def _questions(connection: sqlite3.Connection) -> Iterator[str]:
    """Questions that are open and not listed, or the other way round."""
    wanted: dict[int, set[int]] = {}
    rows = connection.execute(
        "select run, sequence, kind, question from record where kind in (?, ?) or question > 0 order by run, sequence",
        (ASKED, RunEnded.kind),
    )
    for run, sequence, kind, question in rows:
        asked = wanted.setdefault(run, set())
        if kind == ASKED:
            asked.add(sequence)
        elif question:
            asked.discard(question)
        else:
            asked.clear()
    opened = {run << RUN_BITS | sequence for run, asked in wanted.items() for sequence in asked}
    listed = {key for (key,) in connection.execute("select key from question")}
    for key in sorted(opened ^ listed):
        what = "is open, and not listed" if key in opened else "is listed, and not open"
        yield f"question {key & MASK} of run number {key >> RUN_BITS} {what}"


def _unreadable(tables: Tables) -> Iterator[str]:
    for (run_id,) in tables.connection.execute("select run_id from run order by number").fetchall():
        for record in tables.read(run_id, 0):
            if written_with(record.payload):
                continue  # which only who has the codecs reads
            try:
                decode(record)
            except (ValueError, KeyError, TypeError) as error:
                yield f"record {record.sequence} of run '{run_id}' cannot be read ({type(error).__name__})"


def vacuum(path: Path) -> tuple[int, int]:
    """Writes the file anew, without the room that nothing is in.

    Args:
        path: The file.

    Returns:
        How many bytes it had, and has.

    Raises:
        StoreError: It cannot be opened, or is in use.
    """
    with _opened(path) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
        before = path.stat().st_size
        connection.execute("vacuum")
        connection.execute("pragma wal_checkpoint(truncate)")
        return before, path.stat().st_size


def scrub(path: Path, patience: float = PATIENCE) -> None:
    """Empties the write-ahead log into the file, so that nothing is left in it of what was deleted.

    Args:
        path: The file.
        patience: Seconds to wait for other processes that read.

    Raises:
        StoreError: Somebody read for too long, or the file cannot be opened.
    """
    end = monotonic() + patience
    with _opened(path, patience / 2) as connection:
        # SQLite waits for who reads, and does not wait by itself for another connection that does the same
        while (is_left := connection.execute("pragma wal_checkpoint(truncate)").fetchone()[0]) and monotonic() < end:
            sleep(0.01)
    if is_left:
        what = "what was deleted is gone, and bytes of it may be left in the log, as another process reads"
        raise StoreError(f"in the store {path}, {what}; 'flujo store vacuum' takes them away")


def restore(path: Path, runs: Sequence[RunCopy]) -> None:
    """Puts runs into a store, all or none. Nobody has their leases.

    Args:
        path: Its file; made if there is none.
        runs: The runs.

    Raises:
        RunExists: One of them is there already.
        StoreError: They could not be kept.
    """
    with _opened(path) as connection:
        tables = Tables(connection)
        tables.begin(writes=True)
        try:
            for run in runs:
                if tables.run(run.run_id) is not None:
                    raise RunExists(f"run '{run.run_id}' is in the store already; nothing was imported")
                tables.restore(run.records, run.mail, run.epoch, run.taken)
            tables.commit()
        finally:
            tables.rollback()


@contextmanager
def _opened(path: Path, patience: float = PATIENCE) -> Iterator[sqlite3.Connection]:
    connection = open_file(path, patience=patience)
    try:
        yield connection
    except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
        raise failure(path, error) from error
    finally:
        connection.close()
