"""What is checked of a store's listings: runs and questions, by page, tenant and status."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from flujo_core.model.event import RunStatus
from flujo_core.store.protocol import Lease, OpenQuestion, RunSummary, Store
from flujo_core.testing.stores.place import LONG, Place, claim, record

AT_ONCE = 100
"""How many runs are begun at once."""


async def folds(place: Place) -> None:
    """A run's summary is that of its headers: the last of those that tell of its life has its status."""
    lease = await place.begun()
    lives: tuple[tuple[str, str, RunStatus], ...] = (
        ("run_paused", "paused", "paused"),
        ("run_resumed", "running", "running"),
        ("step_failed", "failed", "running"),
        ("run_ended", "stopped", "stopped"),
    )
    for sequence, (kind, outcome, status) in enumerate(lives, 2):
        await place.one.append([record(lease.run_id, sequence, kind, outcome)], lease)
        run = await place.summary(lease)
        claim(run.status == status, f"the status after '{kind}' is '{run.status}', and not '{status}'")
        facts = (run.run_id, run.tenant, run.started_at, run.updated_at, run.records)
        wanted = (lease.run_id, None, 1001.0, 1000.0 + sequence, sequence)
        claim(facts == wanted, f"'run' does not tell the first and the last record after '{kind}'")
        listed = [one for one in await place.other.runs(limit=10_000, status=status) if one.run_id == lease.run_id]
        claim(listed == [run], f"'runs' does not show the run as 'run' does after '{kind}'")


async def pages_runs(place: Place) -> None:
    """Runs are listed page by page, the latest first, each once."""
    wanted = [f"{number:07}-{place.tag}" for number in range(place.runs)]
    for first in range(0, place.runs, AT_ONCE):
        await asyncio.gather(
            *(_begin(place, number, wanted[number]) for number in range(first, min(first + AT_ONCE, place.runs)))
        )
    every = [one async for one in _runs(place.other, place.runs // 60 * 3 + 4, place.tag)]
    claim(
        [one.run_id for one in every] == wanted[::-1], f"{place.runs} runs are not listed the latest first, each once"
    )
    ended = [one async for one in _runs(place.one, 7, place.tag, "stopped")]
    claim(ended == [one for one in every if one.status == "stopped"], "runs of one status are not listed page by page")
    claim(not await place.other.runs(limit=0), "'runs' with a limit of 0 gives something")


async def _begin(place: Place, number: int, run_id: str) -> None:
    lease = Lease(run_id, 1, "first", LONG)
    begun = record(run_id, 1, "run_started", "running", tenant=place.tag, at=float(number // 3))
    ended = record(run_id, 2, "run_ended", "stopped", tenant=place.tag)
    await place.one.append([begun, ended] if number % 50 == 0 else [begun], lease)


async def _runs(store: Store, limit: int, tenant: str, status: RunStatus | None = None) -> AsyncIterator[RunSummary]:
    last: RunSummary | None = None
    while page := await store.runs(limit=limit, before=last, tenant=tenant, status=status):
        claim(len(page) <= limit, "'runs' gives more than its limit")
        for one in page:
            yield one
        claim(page[-1] != last, "'runs' gives the same page again")
        last = page[-1]


async def pages_questions(place: Place) -> None:
    """Questions are listed page by page, the oldest first, each once."""
    for number in range(30):
        run_id = place.name(f"{number:02}")
        asked = [
            record(run_id, sequence, "question_asked", tenant=place.tag, at=float(number // 4)) for sequence in (2, 3)
        ]
        await place.begun(f"{number:02}", *asked, tenant=place.tag)
    found = [one async for one in _questions(place)]
    wanted = [(place.name(f"{number:02}"), sequence) for number in range(30) for sequence in (2, 3)]
    claim(
        [(one.run_id, one.sequence) for one in found] == wanted, "questions are not listed the oldest first, each once"
    )


async def _questions(place: Place) -> AsyncIterator[OpenQuestion]:
    last: OpenQuestion | None = None
    while page := await place.other.questions(limit=7, after=last, tenant=place.tag):
        claim(len(page) <= 7, "'questions' gives more than its limit")
        for one in page:
            yield one
        claim(page[-1] != last, "'questions' gives the same page again")
        last = page[-1]


async def keeps_tenants_apart(place: Place) -> None:
    """What is listed of one tenant is of no other."""
    tenants = [f"{name}-{place.tag}" for name in ("acme", "acm", "ACME", "é")]
    for tenant in tenants:
        await place.asked(tenant, tenant=tenant)
    for tenant in tenants:
        runs = [(one.run_id, one.tenant) for one in await place.other.runs(tenant=tenant)]
        asked = [(one.run_id, one.tenant) for one in await place.other.questions(tenant=tenant)]
        wanted = [(place.name(tenant), tenant)]
        claim(runs == wanted, "'runs' of a tenant gives runs of another, or not its own")
        claim(asked == wanted, "'questions' of a tenant gives questions of another, or not its own")
    claim(not await place.other.runs(tenant=place.tag), "'runs' of a tenant that has none gives something")
