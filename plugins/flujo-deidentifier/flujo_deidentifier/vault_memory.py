"""A vault's rows in memory: gone with the process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Lock

from flujo_deidentifier.vault_row import Row


class MemoryVaultStore:
    """Keeps rows in memory; for tests, and for what is restored in the same process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._rows: dict[tuple[str, str, str], Row] = {}
        self._keys: dict[tuple[str, str], bytes] = {}

    def put(self, rows: Sequence[Row], /) -> None:
        """Keep rows."""
        with self._lock:
            self._rows.update({(row.tenant, row.session, row.id): row for row in rows})

    def get(self, tenant: str, session: str, ids: Sequence[str], /) -> Mapping[str, Row]:
        """The rows of these ids that there are."""
        with self._lock:
            return {one: row for one in ids if (row := self._rows.get((tenant, session, one))) is not None}

    def of_kind(self, tenant: str, session: str, kind: str, /) -> Sequence[Row]:
        """The rows of a session that are of one kind."""
        with self._lock:
            return [row for (*at, _), row in self._rows.items() if at == [tenant, session] and row.kind == kind]

    def key(self, tenant: str, subject: str, /) -> bytes | None:
        """The sealed key of a subject."""
        return self._keys.get((tenant, subject))

    def add_key(self, tenant: str, subject: str, sealed: bytes, /) -> bytes:
        """Keep the sealed key of a subject unless there is one."""
        with self._lock:
            return self._keys.setdefault((tenant, subject), sealed)

    def erase(self, tenant: str, subject: str, /) -> int:
        """Delete the key and the rows of a subject."""
        with self._lock:
            self._keys.pop((tenant, subject), None)
            return self._drop([at for at, row in self._rows.items() if (row.tenant, row.subject) == (tenant, subject)])

    def expire(self, now: float, /) -> int:
        """Delete the rows whose time is over."""
        with self._lock:
            return self._drop([at for at, row in self._rows.items() if row.expires is not None and row.expires <= now])

    def _drop(self, places: Sequence[tuple[str, str, str]]) -> int:
        for place in places:
            del self._rows[place]
        return len(places)
