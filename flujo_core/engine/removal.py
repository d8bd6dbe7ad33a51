"""How runs are taken out of a store: one, or all that ended long ago."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256

from flujo_core.engine.lease import acquired, let_go
from flujo_core.engine.survey import Survey
from flujo_core.errors import RunBusy, RunUnfinished, UnknownRun
from flujo_core.log import warning
from flujo_core.model.event import RunStatus
from flujo_core.model.retention import ENDED
from flujo_core.store.coded import CodedStore
from flujo_core.store.paging import every_run
from flujo_core.store.protocol import RunSummary, Store


async def delete(store: Store, run_id: str, *, force: bool = False, as_of: RunSummary | None = None) -> None:
    """Deletes a run. Whoever deletes it takes its lease first, so that nobody goes on with it meanwhile.

    Args:
        store: Where it is.
        run_id: The run.
        force: Whether it is deleted though it has not ended.
        as_of: As what it was chosen: it is not deleted if it has gone on since; None: whatever it is.

    Raises:
        RunUnfinished: It has not ended, and ``force`` does not say so; or it has gone on.
        RunBusy: Somebody goes on with it.
        UnknownRun: There is no such run.
    """
    lease = await acquired(store, run_id)
    try:
        found = await store.run(run_id)
        if found is not None and found.status not in ENDED and not force:
            await store.release(lease)
            raise RunUnfinished(
                f"run '{run_id}' is {found.status}, and only runs that have ended are deleted; cancel it, or force it"
            )
        if found is not None and as_of is not None and found.records != as_of.records:
            await store.release(lease)
            raise RunUnfinished(f"run '{run_id}' has gone on since it was chosen; look at it again")
        await store.delete(lease)
    finally:
        let_go(lease.holder)


async def prunable(store: Store, ages: Mapping[RunStatus, float], *, tenant: str | None = None) -> Sequence[RunSummary]:
    """The runs that ended longer ago than so many seconds, by the store's clock; the latest first.

    Args:
        store: Where they are.
        ages: How long ago, at least, by what they ended as; one that is not there: none of those.
        tenant: Only this tenant's.
    """
    now = await store.time()
    found = [
        run
        for status in ENDED
        if status in ages
        async for run in every_run(store, tenant=tenant, status=status)
        if run.updated_at <= now - ages[status]
    ]
    return sorted(found, key=lambda run: run.updated_at, reverse=True)


async def prune(store: Store, runs: Sequence[RunSummary]) -> Sequence[str]:
    """Deletes runs that have ended; one that somebody has, has gone on with or has deleted meanwhile is left out.

    Returns:
        The ids of those that were deleted.
    """
    deleted = []
    for run in runs:
        try:
            await delete(store, run.run_id, as_of=run)
            deleted.append(run.run_id)
        except (RunBusy, RunUnfinished, UnknownRun) as error:
            warning("run.not_deleted", run_id=run.run_id, failure=str(error))
    return deleted


def subject_digest(subject: str) -> str:
    """The digest by which runs are found whose data is about somebody.

    It needs no key: it is kept in the payload of a run's first record, so whoever can read it can read the data too.
    """
    return sha256(b"flujo subject " + subject.encode()).hexdigest()


async def about(store: Store, digest: str, *, tenant: str | None = None) -> Sequence[RunSummary]:
    """The runs whose data is about somebody.

    Args:
        store: Where they are.
        digest: The digest of whom it is about.
        tenant: Only this tenant's.
    """
    return [run async for run in every_run(store, tenant=tenant) if await _is_about(store, run, digest)]


async def erase(store: Store, runs: Sequence[RunSummary], digest: str, *, tenant: str | None = None) -> Sequence[str]:
    """Deletes runs about somebody, ended or not, and what codecs keep of them; one that is gone is passed over.

    Args:
        store: Where they are.
        runs: The runs, as ``about`` found them.
        digest: The digest of whom they are about.
        tenant: Whose runs were looked for; what is kept for those whose runs were found is forgotten too.

    Returns:
        The ids of those that were deleted.

    Raises:
        RunBusy: Somebody goes on with one of them; all others are deleted.
        CodecError: A codec cannot forget.
    """
    deleted, busy = [], []
    for run in runs:
        try:
            await delete(store, run.run_id, force=True)
            deleted.append(run.run_id)
        except RunBusy as error:
            busy.append(error)
        except UnknownRun:
            pass
    if busy:
        raise busy[0]
    await _forget(store, digest, {tenant, *(run.tenant for run in runs)})
    return deleted


async def _forget(store: Store, digest: str, tenants: Collection[str | None]) -> None:
    """Lets codecs forget, when all that they would be needed to read is gone."""
    from flujo_core.store.valued import ValuedStore  # noqa: PLC0415 - few programs have value codecs

    if isinstance(store, ValuedStore):
        for tenant in sorted(tenants, key=str):
            await store.forget_subject(digest, tenant)


async def _is_about(store: Store, run: RunSummary, digest: str) -> bool:
    if isinstance(store, CodedStore):  # which need not read the values of the run
        return (await store.origin(run.run_id)).subject == digest
    records = await store.read(run.run_id)
    return bool(records) and Survey(records[:1]).origin.subject == digest
