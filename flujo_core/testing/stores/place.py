"""Where a store is tried: two handles of one place, names that nobody else uses there, and how one says no."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeAlias, TypeVar
from uuid import uuid4

from flujo_core.store.protocol import ASKED, Lease, Mail, Record, RunSummary, Store

E = TypeVar("E", bound=Exception)

MakeStore: TypeAlias = Callable[[], Store]
"""Opens the place: each call gives a handle of its own, as another process has."""

LONG = 600.0
"""Seconds that no check lasts."""

SHORT = 0.25
"""Seconds that a check waits for."""


def claim(holds: object, otherwise: str) -> None:
    """Says no, if something does not hold.

    Raises:
        AssertionError: It does not.
    """
    if not holds:
        raise AssertionError(otherwise)


async def refusal(call: Awaitable[Any], kind: type[E], otherwise: str) -> E:
    """The error that a call must raise.

    Raises:
        AssertionError: It raised none, or another.
    """
    try:
        await call
    except kind as error:
        return error
    except Exception as error:
        raise AssertionError(f"{otherwise}: {kind.__name__} was to be raised, not {type(error).__name__}") from error
    raise AssertionError(f"{otherwise}: {kind.__name__} was to be raised, and nothing was")


class Place(NamedTuple):
    """A place of a store, which may hold anything else too.

    Attributes:
        one: A handle.
        other: Another, as another process has it; the same one, if the store is no more than an object.
        tag: What is in all names of this trial, and in no others.
        runs: How many runs are listed.
    """

    one: Store
    other: Store
    tag: str
    runs: int

    def name(self, run: str) -> str:
        """The id of a run of this trial."""
        return f"{run}-{self.tag}"

    async def begun(self, run: str = "run", *more: Record, ttl: float = LONG, tenant: str | None = None) -> Lease:
        """Begins a run, with these records behind its first."""
        lease = Lease(self.name(run), 1, "first", ttl)
        await self.one.append([record(lease.run_id, 1, "run_started", "running", tenant=tenant), *more], lease)
        return lease

    async def asked(self, run: str = "run", *, expires_at: float | None = None, tenant: str | None = None) -> Lease:
        """Begins a run whose second record asks a question."""
        question = record(self.name(run), 2, ASKED, address="a", expires_at=expires_at, token_hash="0" * 64)
        return await self.begun(run, question._replace(tenant=tenant), tenant=tenant)

    async def summary(self, lease: Lease) -> RunSummary:
        """The run of a lease, as the other handle sees it."""
        found = await self.other.run(lease.run_id)
        if found is None:
            raise AssertionError("'run' does not find a run that was appended")
        return found

    async def kept(self, lease: Lease) -> list[Record]:
        """The records of the run of a lease, as the other handle sees them."""
        return list(await self.other.read(lease.run_id))

    async def past(self, until: float) -> None:
        """Waits until the store's clock is past a time."""
        left = until - await self.one.time()
        if left >= 0:
            await asyncio.sleep(left + 0.001)
            await self.past(until)


def opened(make_store: MakeStore, runs: int) -> Place:
    """A place with two handles."""
    return Place(make_store(), make_store(), uuid4().hex, runs)


def record(
    run_id: str, sequence: int, kind: str = "step_started", outcome: str = "", *, epoch: int = 1, **more: Any
) -> Record:
    """A record of no particular content; ``more`` are further parts of it."""
    plain = Record(run_id, None, sequence, kind, "", outcome, 1000.0 + sequence, b"{}", epoch)
    return plain._replace(**more)


def answer(lease: Lease, question: int = 2, voter: str | None = None) -> Mail:
    """An answer to a question of a run."""
    return Mail(lease.run_id, 0, "answer", question, 0.0, b'"yes"', voter)


def cancel(lease: Lease) -> Mail:
    """A wish to cancel a run."""
    return Mail(lease.run_id, 0, "cancel", 0, 0.0, b"{}")
