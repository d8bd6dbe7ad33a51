"""What a store is: a place that keeps the records of runs, in order, and gives them back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from flujo_core.model.event import RunStatus


class Record(NamedTuple):
    """One event as a store keeps it: a clear header, and a payload.

    Attributes:
        run_id: The run.
        tenant: Whose run it is, or None.
        sequence: Its place in the run's journal, from 1, without gaps.
        kind: The event's kind: ``step_completed``.
        address: The step's address, or empty.
        outcome: How a step or run ended: ``completed``; empty for events that end nothing.
        at: When it happened, in seconds since the epoch.
        payload: The rest, as JSON lines: facts, then the value, then the context's values or changes.
    """

    run_id: str
    tenant: str | None
    sequence: int
    kind: str
    address: str
    outcome: str
    at: float
    payload: bytes

    def __repr__(self) -> str:
        return f"<Record '{self.run_id}' #{self.sequence} {self.kind}>"


class RunSummary(NamedTuple):
    """A run, as its headers tell it.

    Attributes:
        run_id: The run.
        tenant: Whose it is, or None.
        status: Where it is.
        started_at: When it began, in seconds since the epoch.
        updated_at: When its last event happened.
        records: How many records it has.
    """

    run_id: str
    tenant: str | None
    status: RunStatus
    started_at: float
    updated_at: float
    records: int


class Store(Protocol):
    """A place that keeps journals."""

    async def append(self, records: Sequence[Record], /) -> None:
        """Keeps the records of one run, all or none; they are durable when this returns.

        Raises:
            RunExists: A record's place is taken: another run has that id.
            StoreError: They could not be kept.
        """
        ...

    async def read(self, run_id: str, /, *, after: int = 0) -> Sequence[Record]:
        """The records of a run, in order, from the one after ``after``; empty if there is no such run."""
        ...

    async def runs(
        self, *, limit: int = 50, before: RunSummary | None = None, tenant: str | None = None
    ) -> Sequence[RunSummary]:
        """Runs, the latest first.

        Args:
            limit: How many at most.
            before: The last run of the page before this one.
            tenant: Only this tenant's.
        """
        ...

    async def close(self) -> None:
        """Lets go of what the store holds; it may be used again, and opens then by itself."""
        ...


StoreFactory: TypeAlias = Callable[[str], Store]
"""Makes a store from its URL."""
