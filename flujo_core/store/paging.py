"""Everything that a store lists, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from flujo_core.model.event import RunStatus
from flujo_core.store.protocol import OpenQuestion, RunSummary, Store

PAGE = 200
"""How many are listed at once."""


async def every_run(
    store: Store, *, tenant: str | None = None, status: RunStatus | None = None
) -> AsyncIterator[RunSummary]:
    """Runs, the latest first.

    Args:
        store: Where they are.
        tenant: Only this tenant's; None: all.
        status: Only of this status; None: all.
    """
    page: Sequence[RunSummary] = ()
    while page := await store.runs(limit=PAGE, before=page[-1] if page else None, tenant=tenant, status=status):
        for run in page:
            yield run


async def every_question(
    store: Store, *, tenant: str | None = None, run_id: str | None = None
) -> AsyncIterator[OpenQuestion]:
    """Open questions, the oldest first.

    Args:
        store: Where they are.
        tenant: Only this tenant's; None: all.
        run_id: Only this run's; None: all.
    """
    page: Sequence[OpenQuestion] = ()
    while page := await store.questions(limit=PAGE, after=page[-1] if page else None, tenant=tenant, run_id=run_id):
        for question in page:
            yield question
