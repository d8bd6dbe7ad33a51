"""A store in memory, for tests and for runs that need not outlive the process. It keeps bytes, as any store does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from flujo_core.errors import RunExists
from flujo_core.model.event import RunEnded, RunStatus
from flujo_core.store.protocol import Record, RunSummary


class MemoryStore:
    """Keeps journals in memory, for as long as it lives itself."""

    def __init__(self) -> None:
        self._journals: dict[str, list[Record]] = {}

    async def append(self, records: Sequence[Record], /) -> None:
        run_id = records[0].run_id
        journal = self._journals.get(run_id, [])
        if records[0].sequence != len(journal) + 1:
            raise RunExists(f"run '{run_id}' is in the store already; give the new run another id")
        self._journals.setdefault(run_id, journal).extend(records)

    async def read(self, run_id: str, /, *, after: int = 0) -> Sequence[Record]:
        return self._journals.get(run_id, [])[after:]

    async def runs(
        self, *, limit: int = 50, before: RunSummary | None = None, tenant: str | None = None
    ) -> Sequence[RunSummary]:
        found = sorted((_summary(journal) for journal in self._journals.values()), key=_age, reverse=True)
        ours = (one for one in found if tenant in (None, one.tenant) and (before is None or _age(one) < _age(before)))
        return [one for one, _ in zip(ours, range(limit), strict=False)]

    async def close(self) -> None:
        """Does nothing: what is in memory stays there."""


def _summary(journal: Sequence[Record]) -> RunSummary:
    first, last = journal[0], journal[-1]
    status = last.outcome if last.kind == RunEnded.kind else "running"
    return RunSummary(first.run_id, first.tenant, cast(RunStatus, status), first.at, last.at, len(journal))


def _age(run: RunSummary) -> tuple[float, str]:
    return run.started_at, run.run_id
