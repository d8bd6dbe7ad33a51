"""Rows of a vault, and what a store of them must do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable


class Row(NamedTuple):
    """What a store keeps of one token. Nothing of it tells the value without the key.

    Attributes:
        tenant: The scope's tenant.
        session: A keyed digest of the scope's session.
        id: The token's id.
        kind: The token's kind.
        subject: A keyed digest of the scope's subject.
        sealed: The value, encrypted with the key of the subject.
        expires: When it may be forgotten, in seconds since 1970; None: never.
    """

    tenant: str
    session: str
    id: str
    kind: str
    subject: str
    sealed: bytes
    expires: float | None


def is_sound(row: Iterable[object]) -> bool:
    """Whether a row is what was put: a file may have come to have anything in its place."""
    *texts, sealed, expires = row
    return (
        all(isinstance(one, str) for one in texts)
        and isinstance(sealed, bytes)
        and (expires is None or isinstance(expires, int | float))
    )


@runtime_checkable
class VaultStore(Protocol):
    """Keeps rows and keys. It may be used from several threads at once; what it has taken is durable on return."""

    def put(self, rows: Sequence[Row], /) -> None:
        """Keep rows; of one with the same tenant, session and id, the later one stays."""
        ...

    def get(self, tenant: str, session: str, ids: Sequence[str], /) -> Mapping[str, Row]:
        """The rows of these ids that there are."""
        ...

    def of_kind(self, tenant: str, session: str, kind: str, /) -> Sequence[Row]:
        """The rows of a session that are of one kind."""
        ...

    def key(self, tenant: str, subject: str, /) -> bytes | None:
        """The sealed key of a subject."""
        ...

    def add_key(self, tenant: str, subject: str, sealed: bytes, /) -> bytes:
        """Keep the sealed key of a subject unless there is one; gives the one that there is now."""
        ...

    def erase(self, tenant: str, subject: str, /) -> int:
        """Delete the key and the rows of a subject; gives how many rows there were."""
        ...

    def expire(self, now: float, /) -> int:
        """Delete the rows whose time is over; gives how many there were."""
        ...
