"""assert_store_conforms: our stores pass, and for each check there is a bad store that only that check refuses."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from flujo_core.errors import LeaseLost, QuestionExpired, RunBusy, UnknownQuestion
from flujo_core.model.spend import Limit, Spend
from flujo_core.store.ledger import Hold, Shortage, shortage
from flujo_core.store.memory import MemoryStore
from flujo_core.store.protocol import Lease, Mail, OpenQuestion, Record, RunSummary
from flujo_core.store.sqlite import SQLiteStore
from flujo_core.testing.stores import STORE_CHECKS, assert_store_conforms

FULL = "full" in os.environ.get("FLUJO_STORES", "")
RUNS = 100_000 if FULL else 300


@pytest.mark.parametrize("check", STORE_CHECKS)
def test_the_memory_store_conforms(check: str) -> None:
    store = MemoryStore()
    asyncio.run(assert_store_conforms(lambda: store, only=[check], runs=300))


@pytest.mark.parametrize("synchronous", ["full", "normal"])
@pytest.mark.parametrize("check", STORE_CHECKS)
def test_the_sqlite_store_conforms(check: str, synchronous: Any, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    asyncio.run(assert_store_conforms(lambda: SQLiteStore(path, synchronous=synchronous), only=[check], runs=RUNS))


def test_a_place_that_holds_other_runs_conforms_too(tmp_path: Path) -> None:
    for _ in range(2):
        asyncio.run(assert_store_conforms(lambda: SQLiteStore(tmp_path / "runs.db"), runs=20))


class Lossy(MemoryStore):
    """Takes payloads for text."""

    async def read(self, run_id: str, /, *, after: int = 0) -> Sequence[Record]:
        found = await super().read(run_id, after=after)
        return [one._replace(payload=one.payload.decode(errors="replace").encode()) for one in found]


class Forward(MemoryStore):
    """Reads no further than a page from the end."""

    async def read(self, run_id: str, /, *, after: int = 0) -> Sequence[Record]:
        return await super().read(run_id, after=min(after, 400))


class Obliging(MemoryStore):
    """Numbers records anew where they would leave a gap."""

    async def append(self, records: Sequence[Record], lease: Lease, /, **more: Any) -> None:
        run = await self.run(lease.run_id)
        if run and records and records[0].sequence > run.records + 1:
            records = [one._replace(sequence=run.records + number) for number, one in enumerate(records, 1)]
        await super().append(records, lease, **more)


class OneByOne(MemoryStore):
    """Writes each record for itself."""

    async def append(self, records: Sequence[Record], lease: Lease, /, **more: Any) -> None:
        for record in records[:-1]:
            await super().append([record], lease)
            await asyncio.sleep(0)
        await super().append(records[-1:], lease, **more)


class LookThenLeap(MemoryStore):
    """Looks whether there is a run, and makes it a moment later."""

    async def append(self, records: Sequence[Record], lease: Lease, /, **more: Any) -> None:
        if await self.run(lease.run_id) is None and records[0].sequence == 1:
            await asyncio.sleep(0)
            self._runs.pop(lease.run_id, None)
            self._journals.pop(lease.run_id, None)
        await super().append(records, lease, **more)


class OneDesk(MemoryStore):
    """Puts what it works on where the next one puts theirs."""

    desk = ""

    async def append(self, records: Sequence[Record], lease: Lease, /, **more: Any) -> None:
        if records and records[0].sequence > 1:
            self.desk = records[0].address
            await asyncio.sleep(0)
            records = [one._replace(address=self.desk or one.address) for one in records]
        await super().append(records, lease, **more)


class Forgetful(MemoryStore):
    """Forgets all when it is closed."""

    async def close(self) -> None:
        self.__init__()  # type: ignore[misc]


class Secretive(MemoryStore):
    """Does not tell how long it is busy."""

    async def acquire(self, run_id: str, holder: str, ttl: float, /, *, instead_of: int | None = None) -> Lease:
        try:
            return await super().acquire(run_id, holder, ttl, instead_of=instead_of)
        except RunBusy as busy:
            raise RunBusy(str(busy)) from busy


class Trusting(MemoryStore):
    """Believes all who renew."""

    async def renew(self, lease: Lease, /) -> None:
        try:
            await super().renew(lease)
        except LeaseLost:
            return


class Lazy(MemoryStore):
    """Does not make a lease last again."""

    async def renew(self, lease: Lease, /) -> None:
        before = self._runs[lease.run_id]
        await super().renew(lease)
        self._runs[lease.run_id] = before


class Punctual(MemoryStore):
    """Lets nobody come late."""

    async def append(self, records: Sequence[Record], lease: Lease, /, **more: Any) -> None:
        run = await self.run(lease.run_id)
        if run and 0 < run.held_until <= await self.time():
            raise LeaseLost("too late")
        await super().append(records, lease, **more)


class Violent(MemoryStore):
    """Takes any lease, when told that some holder is dead."""

    async def acquire(self, run_id: str, holder: str, ttl: float, /, *, instead_of: int | None = None) -> Lease:
        run = await self.run(run_id)
        epoch = run.epoch if run and instead_of is not None else None
        return await super().acquire(run_id, holder, ttl, instead_of=epoch)


class Heedless(MemoryStore):
    """Does not ask what the sender has seen."""

    async def post(self, mail: Mail, /, *, seen: int) -> bool:
        run = await self.run(mail.run_id)
        return await super().post(mail, seen=run.mail if run else seen)


class Timeless(MemoryStore):
    """Does not say when mail was posted."""

    async def mail(self, run_id: str, /, *, after: int = 0) -> Sequence[Mail]:
        return [one._replace(at=0.0) for one in await super().mail(run_id, after=after)]


class Hasty(MemoryStore):
    """Counts mail as taken in when it comes."""

    async def run(self, run_id: str, /) -> RunSummary | None:
        run = await super().run(run_id)
        return run and run._replace(taken=run.mail)


class Careless(MemoryStore):
    """Lets go though there is mail."""

    async def append(self, records: Sequence[Record], lease: Lease, /, **more: Any) -> None:
        run = await self.run(lease.run_id)
        if more.get("release") and run:
            more["taken"] = run.mail
        await super().append(records, lease, **more)


class Patient(MemoryStore):
    """Takes answers when it is too late."""

    async def post(self, mail: Mail, /, *, seen: int) -> bool:
        try:
            return await super().post(mail, seen=seen)
        except QuestionExpired:
            return True


class Curious(MemoryStore):
    """Takes answers that nobody asked for."""

    async def post(self, mail: Mail, /, *, seen: int) -> bool:
        try:
            return await super().post(mail, seen=seen)
        except UnknownQuestion:
            return True


class Pessimist(MemoryStore):
    """Takes a step's failure for the run's."""

    async def run(self, run_id: str, /) -> RunSummary | None:
        run = await super().run(run_id)
        return run._replace(status="failed") if run and self._journals[run_id][-1].outcome == "failed" else run


class Skipping(MemoryStore):
    """Goes on behind all runs of the same time."""

    async def runs(self, *, limit: int = 50, before: RunSummary | None = None, **more: Any) -> Sequence[RunSummary]:
        found = await super().runs(limit=10**6, before=before, **more)
        return [one for one in found if before is None or one.started_at < before.started_at][:limit]


class SkippingQuestions(MemoryStore):
    """Goes on behind all questions of the same time."""

    async def questions(
        self, *, limit: int = 50, after: OpenQuestion | None = None, **more: Any
    ) -> Sequence[OpenQuestion]:
        found = await super().questions(limit=10**6, after=after, **more)
        return [one for one in found if after is None or one.asked_at > after.asked_at][:limit]


class Indifferent(MemoryStore):
    """Takes tenants whose names differ in case only for one."""

    async def questions(self, *, tenant: str | None = None, **more: Any) -> Sequence[OpenQuestion]:
        found = await super().questions(**more)
        return [one for one in found if tenant is None or (one.tenant or "").lower() == tenant.lower()]


class Hoarding(MemoryStore):
    """Keeps the mail of runs that were deleted."""

    async def delete(self, lease: Lease, /) -> None:
        mail = self._inboxes.get(lease.run_id, [])
        await super().delete(lease)
        self._inboxes[lease.run_id] = mail


class Rounding(MemoryStore):
    """Spends whole cents."""

    async def settle(self, account: str, name: str, used: Spend, /) -> None:
        await super().settle(account, name, used._replace(cost_usd=round(used.cost_usd, 2)))


class Optimist(MemoryStore):
    """Holds what there was room for a moment ago."""

    async def reserve(self, hold: Hold, limits: Sequence[Limit], /) -> Shortage | None:
        standings = [await self.standing(hold.account, one.window) for one in limits]
        if (found := shortage(standings, limits, hold.most)) is not None:
            return found
        await asyncio.sleep(0)
        return await super().reserve(hold, [])


class Lenient(MemoryStore):
    """Lets the dead off."""

    async def forfeit(self, account: str, prefix: str, /) -> None:
        return None


class Hopeful(MemoryStore):
    """Waits for the dead."""

    async def reserve(self, hold: Hold, limits: Sequence[Limit], /) -> Shortage | None:
        return await super().reserve(hold._replace(ttl=3600.0), limits)


BAD: dict[str, type[MemoryStore]] = {
    "records": Lossy,
    "order": Forward,
    "gaps": Obliging,
    "torn_writes": OneByOne,
    "two_writers": LookThenLeap,
    "many_runs": OneDesk,
    "closing": Forgetful,
    "leases": Secretive,
    "stale_epochs": Trusting,
    "leases_end": Lazy,
    "late_holders": Punctual,
    "dead_holders": Violent,
    "redemption": Heedless,
    "mail": Timeless,
    "answers_while_held": Hasty,
    "mail_waiting": Careless,
    "expiry": Patient,
    "questions": Curious,
    "status": Pessimist,
    "paging": Skipping,
    "question_paging": SkippingQuestions,
    "tenants": Indifferent,
    "deletion": Hoarding,
    "ledgers": Rounding,
    "ledgers_at_once": Optimist,
    "dead_holds": Hopeful,
    "forfeits": Lenient,
}


def refusal(store: MemoryStore, **keywords: Any) -> str:
    with pytest.raises(AssertionError) as refused:
        asyncio.run(assert_store_conforms(lambda: store, runs=60, **keywords))
    return str(refused.value)


@pytest.mark.parametrize("check", STORE_CHECKS)
def test_each_check_refuses_a_store_that_no_other_one_refuses(check: str) -> None:
    message = refusal(BAD[check]())
    assert re.findall(r"^- (\w+):", message, re.MULTILINE) == [check], message


def test_what_a_store_raises_is_a_finding_that_shows_no_text_of_it() -> None:
    class Broken(MemoryStore):
        async def mail(self, run_id: str, /, *, after: int = 0) -> Sequence[Mail]:
            raise LookupError("a value")

    assert refusal(Broken(), only=["mail"]) == (
        "the store does not conform:\n- mail: it raised LookupError where nothing was wrong"
    )


def test_a_wrong_kind_of_error_is_a_finding() -> None:
    class Wrong(MemoryStore):
        async def acquire(self, run_id: str, holder: str, ttl: float, /, *, instead_of: int | None = None) -> Lease:
            raise LookupError

    message = refusal(Wrong(), only=["leases"])
    assert "a run that is held is acquired: RunBusy was to be raised, not LookupError" in message


def test_a_store_that_hangs_is_a_finding() -> None:
    class Hanging(MemoryStore):
        async def mail(self, run_id: str, /, *, after: int = 0) -> Sequence[Mail]:
            await asyncio.sleep(3600)
            return []

    assert "- mail: it was not done after" in refusal(Hanging(), only=["mail"], patience=0.1)


def test_a_store_that_does_not_find_what_it_was_given_is_refused() -> None:
    class Blind(MemoryStore):
        async def run(self, run_id: str, /) -> RunSummary | None:
            return None

    assert "'run' does not find a run that was appended" in refusal(Blind(), only=["leases"])
