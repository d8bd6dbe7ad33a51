"""The file of a SQLite store: its tables, how it is made, opened and brought up to date, and what is refused."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from time import monotonic, sleep
from typing import Literal, TypeAlias

from flujo_core.errors import StoreError, StoreFull, StoreRefused
from flujo_core.store.sqlite_ledger import LEDGER

Synchronous: TypeAlias = Literal["full", "normal"]
"""When the disk is waited for: at each commit, or only when the log is written back."""

APPLICATION_ID = 0x464C554A  # "FLUJ", in the file's header
SCHEMA_VERSION = 3
PATIENCE = 30.0
"""Seconds to wait for another process that has the file locked."""

HEADER_SIZE = 100
"""Bytes of the header of every SQLite database that is not empty."""

RUN_BITS = 32
"""In keys, a run's number stands above this many bits, which are a sequence of its journal or inbox."""

RUNS = """
create table run (
    number integer primary key,
    run_id text not null unique,
    tenant text,
    status text not null,
    started_at real not null,
    epoch integer not null,
    holder text not null,
    held_until real not null,
    mail integer not null,
    taken integer not null
);
create index run_by_age on run (started_at, run_id);
create index run_by_status on run (status, started_at, run_id);
create index run_by_tenant on run (tenant, started_at, run_id) where tenant is not null;
create table record (
    id integer primary key,
    run integer not null,
    sequence integer not null,
    kind text not null,
    address text not null,
    outcome text not null,
    at real not null,
    epoch integer not null,
    expires_at real,
    token_hash text,
    question integer not null,
    payload blob not null
);
create table place (
    key integer primary key,
    record integer not null
);
create table placed (
    upto integer not null
);
insert into placed values (0);
create table question (
    key integer primary key,
    run_id text not null,
    tenant text,
    address text not null,
    asked_at real not null,
    expires_at real
);
create index question_by_age on question (asked_at, run_id, key);
create table mail (
    key integer primary key,
    kind text not null,
    question integer not null,
    at real not null,
    voter text,
    token_hash text,
    payload blob not null
)
"""
"""The tables. Records lie in the order in which they were written, of all runs, so that an append touches one page as a
rule, and a hundred appends of a hundred runs not many more. Where those of a run are, ``place`` tells (its key is the
run's number and the sequence), for the records up to ``placed``; the few behind that are looked through. What changes
with each append is not kept in the run's row, but read from its last record."""

SCHEMA = f"{RUNS};{LEDGER}"

FROM_1 = f"""
alter table run rename to run_1;
alter table record rename to record_1;
drop index run_by_age;
{SCHEMA};
insert into run
    select row_number() over (order by started_at, run_id), run_id, tenant, status, started_at, 1, '', 0.0, 0, 0
    from run_1;
insert into record
    select null, number, sequence, kind, address, iif(kind = 'run_started', 'running', outcome), at, 1, null, null, 0,
        payload
    from record_1 join run using (run_id) order by number, sequence;
drop table record_1;
drop table run_1
"""
"""From version 1, whose records had the run's id in their keys, and whose runs had no leases."""

MIGRATIONS = {1: FROM_1, 2: LEDGER}
"""What brings a file of an earlier version up to date; before version 3 there were no ledgers."""

FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE})
"""What SQLite says where nothing more can be written: no space, a quota, a limit of the file's size."""

DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def open_file(path: Path, synchronous: Synchronous = "full", patience: float = PATIENCE) -> sqlite3.Connection:
    """Opens the file, or makes it; one that is not ours is left as it is.

    Args:
        path: The file.
        synchronous: When the disk is waited for.
        patience: Seconds to wait for another process that has it locked.

    Raises:
        StoreRefused: It is damaged, or no store, or one of a later version.
        StoreFull: There is no space to make it.
        StoreError: It cannot be opened, or stays locked.
    """
    try:
        if path.is_file() and 0 < path.stat().st_size < HEADER_SIZE:
            raise StoreRefused(f"{path} is no SQLite database; it was left as it is")  # SQLite would write over it
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=patience)
    except (OSError, ValueError, sqlite3.Error) as error:
        raise StoreError(f"the store {path} cannot be opened ({type(error).__name__}: {error})") from error
    try:
        _prepare(connection, path, patience)
        connection.execute(f"pragma synchronous = {synchronous}")
        connection.execute("pragma secure_delete = on")  # what is deleted is written over
    except sqlite3.Error as error:
        connection.close()
        raise _not_opened(path, error) from error
    except StoreRefused:
        connection.close()
        raise
    return connection


def _not_opened(path: Path, error: sqlite3.Error) -> StoreError:
    if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
        return StoreError(f"the store {path} is locked by another process")
    if error.sqlite_errorcode in FULL:
        return failure(path, error)
    return StoreRefused(f"{path} cannot be read as a Flujo store ({error}); it was left as it is")


def failure(path: Path, error: Exception) -> StoreError:
    """What an error that came up in the work with a file is called; its text is told only if it is SQLite's."""
    code = error.sqlite_errorcode if isinstance(error, sqlite3.Error) else None
    text = f"{type(error).__name__}: {error}" if isinstance(error, sqlite3.Error) else type(error).__name__
    if code in FULL:
        made: StoreError = StoreFull(f"the store {path} has no space left ({text}); resume the run when there is")
    elif code in DAMAGED:
        made = StoreRefused(f"the store {path} is damaged ({text})")
    else:
        made = StoreError(f"the store {path} could not do its work ({text})")
    made.__cause__ = error
    return made


def _prepare(connection: sqlite3.Connection, path: Path, patience: float) -> None:
    owner = connection.execute("pragma application_id").fetchone()[0]
    if owner == 0:
        _create(connection, path)
    elif owner != APPLICATION_ID:
        raise StoreRefused(f"{path} is a database of another application; give the store a file of its own")
    if _version(connection) in MIGRATIONS:
        _migrate(connection)
    if (version := _version(connection)) != SCHEMA_VERSION:
        raise StoreRefused(
            f"{path} has a store of version {version}, and this Flujo reads version {SCHEMA_VERSION};"
            " use the Flujo that wrote it; it was left as it is"
        )
    use_write_ahead_log(connection, patience)


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("pragma user_version").fetchone()[0])


def use_write_ahead_log(connection: sqlite3.Connection, patience: float) -> None:
    """Switches the file over; SQLite does not wait by itself for another process that does the same."""
    end = monotonic() + patience
    while True:
        try:
            connection.execute("pragma journal_mode = wal")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or monotonic() > end:
                raise
            sleep(0.01)


def _create(connection: sqlite3.Connection, path: Path) -> None:
    """Makes the tables, unless another process just has; the file must be empty."""
    connection.execute("begin immediate")
    try:
        if connection.execute("pragma application_id").fetchone()[0] == APPLICATION_ID:
            return
        if connection.execute("select count(*) from sqlite_master").fetchone()[0]:
            raise StoreRefused(f"{path} is a database of something else; give the store a file of its own")
        _execute(connection, SCHEMA)
        connection.execute(f"pragma application_id = {APPLICATION_ID}")
        connection.execute(f"pragma user_version = {SCHEMA_VERSION}")
        connection.execute("commit")
    finally:
        if connection.in_transaction:
            connection.execute("rollback")


def _migrate(connection: sqlite3.Connection) -> None:
    """Brings a file of an earlier version up to date, unless another process just has."""
    connection.execute("begin immediate")
    try:
        version = _version(connection)
        if version not in MIGRATIONS:
            return
        _execute(connection, MIGRATIONS[version])
        connection.execute(f"pragma user_version = {SCHEMA_VERSION}")
        connection.execute("commit")
    finally:
        if connection.in_transaction:
            connection.execute("rollback")


def _execute(connection: sqlite3.Connection, statements: str) -> None:
    """Executes statements within the transaction that is open, which ``executescript`` would end."""
    for statement in statements.split(";\n"):
        connection.execute(statement)
