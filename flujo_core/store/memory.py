"""A store in memory, for tests and for runs that need not outlive the process. It keeps bytes, as any store does."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from time import time
from typing import Any

from flujo_core.model.event import RunEnded, RunStatus
from flujo_core.model.spend import Limit, Spend, Standing
from flujo_core.store.ledger import Hold, Ledgers, Shortage
from flujo_core.store.protocol import ASKED, Lease, Mail, OpenQuestion, Record, RunSummary
from flujo_core.store.rules import check_acquire, check_append, check_post, lease_lost, status_after, unknown_run


class MemoryStore:
    """Keeps journals, leases and inboxes in memory, for as long as it lives itself."""

    def __init__(self) -> None:
        self._runs: dict[str, RunSummary] = {}
        self._journals: dict[str, list[Record]] = {}
        self._inboxes: dict[str, list[Mail]] = {}
        self._questions: dict[str, dict[int, OpenQuestion]] = {}
        self._ledgers = Ledgers()
        self._lock = Lock()

    async def append(
        self, records: Sequence[Record], lease: Lease, /, *, taken: int | None = None, release: bool = False
    ) -> None:
        with self._lock:
            run = self._runs.get(lease.run_id)
            check_append(run, records, lease, taken, release)
            run = run or _begun(records[0], lease)
            self._journals.setdefault(run.run_id, []).extend(records)
            self._note_questions(records)
            self._runs[run.run_id] = run._replace(
                status=status_after(records) or run.status,
                updated_at=records[-1].at if records else run.updated_at,
                records=run.records + len(records),
                held_until=0.0 if release else time() + lease.ttl,
                holder="" if release else run.holder,
                taken=run.taken if taken is None else taken,
            )

    def _note_questions(self, records: Sequence[Record]) -> None:
        """Opens the questions that records ask, and closes those that they end."""
        for record in records:
            if record.kind == ASKED:
                asked = OpenQuestion(
                    record.run_id, record.tenant, record.sequence, record.address, record.at, record.expires_at
                )
                self._questions.setdefault(record.run_id, {})[record.sequence] = asked
            elif record.question:
                self._questions.get(record.run_id, {}).pop(record.question, None)
            elif record.kind == RunEnded.kind:
                self._questions.pop(record.run_id, None)

    async def read(self, run_id: str, /, *, after: int = 0) -> Sequence[Record]:
        return self._journals.get(run_id, [])[after:]

    async def run(self, run_id: str, /) -> RunSummary | None:
        return self._runs.get(run_id)

    async def runs(
        self,
        *,
        limit: int = 50,
        before: RunSummary | None = None,
        tenant: str | None = None,
        status: RunStatus | None = None,
    ) -> Sequence[RunSummary]:
        with self._lock:
            found = [run for run in self._runs.values() if before is None or _age(run) < _age(before)]
        ours = [run for run in found if tenant in (None, run.tenant) and status in (None, run.status)]
        return sorted(ours, key=_age, reverse=True)[:limit]

    async def questions(
        self,
        *,
        limit: int = 50,
        after: OpenQuestion | None = None,
        tenant: str | None = None,
        run_id: str | None = None,
    ) -> Sequence[OpenQuestion]:
        with self._lock:
            found = [one for asked in self._questions.values() for one in asked.values()]
        later = [one for one in found if after is None or _turn(one) > _turn(after)]
        ours = [one for one in later if tenant in (None, one.tenant) and run_id in (None, one.run_id)]
        return sorted(ours, key=_turn)[:limit]

    async def acquire(self, run_id: str, holder: str, ttl: float, /, *, instead_of: int | None = None) -> Lease:
        with self._lock:
            now = time()
            run = check_acquire(self._runs.get(run_id), run_id, now, instead_of)
            self._runs[run_id] = run._replace(epoch=run.epoch + 1, holder=holder, held_until=now + ttl)
        return Lease(run_id, run.epoch + 1, holder, ttl)

    async def renew(self, lease: Lease, /) -> None:
        with self._lock:
            run = self._held(lease)
            if run is None:
                raise lease_lost(lease)
            self._runs[lease.run_id] = run._replace(held_until=time() + lease.ttl)

    async def release(self, lease: Lease, /) -> None:
        with self._lock:
            if run := self._held(lease):
                self._runs[lease.run_id] = run._replace(holder="", held_until=0.0)

    def _held(self, lease: Lease) -> RunSummary | None:
        """The run, if the lease is still the one that it is held by."""
        run = self._runs.get(lease.run_id)
        return run if run and run.holder and run.epoch == lease.epoch else None

    async def post(self, mail: Mail, /, *, seen: int) -> bool:
        with self._lock:
            run, now = self._runs.get(mail.run_id), time()
            if run is None:
                raise unknown_run(mail.run_id)
            question = self._questions.get(mail.run_id, {}).get(mail.question)
            check_post(mail, question is not None, question.expires_at if question else None, now)
            if run.mail != seen:
                return False
            self._inboxes.setdefault(mail.run_id, []).append(mail._replace(number=seen + 1, at=now))
            self._runs[mail.run_id] = run._replace(mail=seen + 1)
            return True

    async def mail(self, run_id: str, /, *, after: int = 0) -> Sequence[Mail]:
        return self._inboxes.get(run_id, [])[after:]

    async def delete(self, lease: Lease, /) -> None:
        with self._lock:
            if lease.run_id not in self._runs:
                raise unknown_run(lease.run_id)
            if self._held(lease) is None:
                raise lease_lost(lease)
            tables: tuple[dict[str, Any], ...] = (self._runs, self._journals, self._inboxes, self._questions)
            for table in tables:
                table.pop(lease.run_id, None)

    async def reserve(self, hold: Hold, limits: Sequence[Limit], /) -> Shortage | None:
        with self._lock:
            return self._ledgers.reserve(hold, limits, time())

    async def settle(self, account: str, name: str, used: Spend, /) -> None:
        with self._lock:
            self._ledgers.settle(account, name, used, time())

    async def forfeit(self, account: str, prefix: str, /) -> None:
        with self._lock:
            self._ledgers.forfeit(account, prefix, time())

    async def standing(self, account: str, window: float | None = None, /) -> Standing:
        with self._lock:
            return self._ledgers.standing(account, window, time())

    async def time(self) -> float:
        return time()

    async def close(self) -> None:
        """Does nothing: what is in memory stays there."""


def _begun(first: Record, lease: Lease) -> RunSummary:
    """A run that has no record yet."""
    return RunSummary(
        first.run_id, first.tenant, "running", first.at, first.at, 0, epoch=lease.epoch, holder=lease.holder
    )


def _age(run: RunSummary) -> tuple[float, str]:
    return run.started_at, run.run_id


def _turn(question: OpenQuestion) -> tuple[float, str, int]:
    return question.asked_at, question.run_id, question.sequence
