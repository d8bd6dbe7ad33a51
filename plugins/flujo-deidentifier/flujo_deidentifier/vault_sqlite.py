"""A vault's rows in an SQLite file, which several processes may use."""

from __future__ import annotations

import os
import sqlite3
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from flujo_deidentifier.vault_row import Row

_TABLES = """
CREATE TABLE IF NOT EXISTS tokens (
    tenant TEXT NOT NULL, session TEXT NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
    sealed BLOB NOT NULL, expires REAL, PRIMARY KEY (tenant, session, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tokens_by_subject ON tokens (tenant, subject);
CREATE TABLE IF NOT EXISTS keys (
    tenant TEXT NOT NULL, subject TEXT NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (tenant, subject)) WITHOUT ROWID;
"""
_COLUMNS = "tenant, session, id, kind, subject, sealed, expires"
_MANY = 500


class SqliteVaultStore:
    """Keeps rows in a file of its own, which only its owner may read. What was deleted is overwritten.

    Args:
        path: The file; it is made if it is not there.
        timeout: Seconds to wait for another process that has it locked.
    """

    def __init__(self, path: str | os.PathLike[str], *, timeout: float = 10.0) -> None:
        self._path = Path(path)
        self._timeout = timeout
        self._lock = Lock()
        self._open: sqlite3.Connection | None = None
        self._finalizer: weakref.finalize[..., Any] | None = None

    def __repr__(self) -> str:
        return f"<SqliteVaultStore {os.fspath(self._path)!r}>"

    def close(self) -> None:
        """Close the file; it is opened again when it is used."""
        with self._lock:
            if self._finalizer is not None:
                self._finalizer()
            self._open = None

    def put(self, rows: Sequence[Row], /) -> None:
        """Keep rows, in one transaction."""
        with self._writing() as connection:
            connection.executemany(f"INSERT OR REPLACE INTO tokens ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def get(self, tenant: str, session: str, ids: Sequence[str], /) -> Mapping[str, Row]:
        """The rows of these ids that there are."""
        found: dict[str, Row] = {}
        with self._lock:
            for start in range(0, len(ids), _MANY):
                some = ids[start : start + _MANY]
                marks = ", ".join("?" * len(some))
                asked = f"SELECT {_COLUMNS} FROM tokens WHERE tenant = ? AND session = ? AND id IN ({marks})"
                with closing(self._connection().execute(asked, (tenant, session, *some))) as cursor:
                    found.update({row[2]: Row(*row) for row in cursor})
        return found

    def of_kind(self, tenant: str, session: str, kind: str, /) -> Sequence[Row]:
        """The rows of a session that are of one kind."""
        asked = f"SELECT {_COLUMNS} FROM tokens WHERE tenant = ? AND session = ? AND kind = ?"
        with self._lock, closing(self._connection().execute(asked, (tenant, session, kind))) as cursor:
            return [Row(*row) for row in cursor]

    def key(self, tenant: str, subject: str, /) -> bytes | None:
        """The sealed key of a subject."""
        with self._lock:
            return self._key(tenant, subject)

    def add_key(self, tenant: str, subject: str, sealed: bytes, /) -> bytes:
        """Keep the sealed key of a subject unless there is one."""
        with self._writing() as connection:
            connection.execute("INSERT OR IGNORE INTO keys VALUES (?, ?, ?)", (tenant, subject, sealed))
            return self._key(tenant, subject) or sealed

    def erase(self, tenant: str, subject: str, /) -> int:
        """Delete the key and the rows of a subject, and what the log of the file has of them."""
        with self._writing() as connection:
            connection.execute("DELETE FROM keys WHERE tenant = ? AND subject = ?", (tenant, subject))
            count = connection.execute(
                "DELETE FROM tokens WHERE tenant = ? AND subject = ?", (tenant, subject)
            ).rowcount
        with self._lock:
            self._connection().execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
        return count

    def expire(self, now: float, /) -> int:
        """Delete the rows whose time is over."""
        with self._writing() as connection:
            return connection.execute("DELETE FROM tokens WHERE expires <= ?", (now,)).rowcount

    def _key(self, tenant: str, subject: str) -> bytes | None:
        asked = "SELECT sealed FROM keys WHERE tenant = ? AND subject = ?"
        with closing(self._connection().execute(asked, (tenant, subject))) as cursor:
            row: tuple[bytes] | None = cursor.fetchone()
        return None if row is None else row[0]

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _connection(self) -> sqlite3.Connection:
        if self._open is None:
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
            connection = sqlite3.connect(
                self._path, timeout=self._timeout, isolation_level=None, check_same_thread=False
            )
            self._finalizer = weakref.finalize(self, connection.close)  # also if nobody closes it
            try:
                connection.execute("PRAGMA journal_mode = WAL").close()
                connection.execute("PRAGMA synchronous = FULL").close()
                connection.execute("PRAGMA secure_delete = ON").close()
                connection.executescript(_TABLES)
            except BaseException:
                self._finalizer()
                raise
            self._open = connection
        return self._open
