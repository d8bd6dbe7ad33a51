"""What the runs of a store wait for, and which of them could go on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from flujo_core.engine.lease import is_dead
from flujo_core.engine.survey import Survey
from flujo_core.log import warning
from flujo_core.model.question import Question
from flujo_core.model.result import question_of
from flujo_core.model.run import QuestionState
from flujo_core.store.protocol import OpenQuestion, RunSummary, Store

PAGE = 200


async def pending(store: Store, tenant: str | None, run_id: str | None) -> Sequence[Question]:
    """The questions that are open, the oldest first; without their tokens.

    Args:
        store: Where the runs are.
        tenant: Only this tenant's; None: all.
        run_id: Only this run's; None: all.
    """
    surveys: dict[str, Survey] = {}
    found = []
    async for one in _questions(store, tenant, run_id):
        if one.run_id not in surveys:
            surveys[one.run_id] = await _survey(store, one.run_id)
        ballot = surveys[one.run_id].ballots.get(one.sequence)
        if ballot is not None and not ballot.is_answered:
            found.append(question_of(QuestionState(ballot.asked))._replace(votes=len(ballot.votes)))
    return found


async def recoverable(store: Store, pipeline: str, tenant: str | None) -> Sequence[str]:
    """The runs of a pipeline that nobody goes on with, and that could: the oldest first.

    Args:
        store: Where they are.
        pipeline: The pipeline's name.
        tenant: Only this tenant's; None: all.
    """
    time = await store.time()
    late = {one.run_id async for one in _questions(store, tenant, None) if one.expires_at and one.expires_at <= time}
    found = []
    for status in ("running", "paused"):
        async for run in _runs(store, tenant, status):
            is_free = run.held_until <= time or is_dead(run.holder)
            waits = status == "paused" and run.mail <= run.taken and run.run_id not in late
            if not is_free or waits:
                continue
            if (of := await _pipeline(store, run.run_id)) == pipeline:
                found.append(run)
            else:  # a pipeline without a name is called after its steps, and has another name when these change
                warning("run.of_another_pipeline", run_id=run.run_id, pipeline=of)
    return [one.run_id for one in sorted(found, key=lambda one: one.started_at)]


async def _survey(store: Store, run_id: str) -> Survey:
    """What a journal and its inbox say."""
    summary = await store.run(run_id)
    mail = await store.mail(run_id, after=0 if summary is None else summary.taken)
    return Survey(await store.read(run_id)).with_mail(mail)


async def _pipeline(store: Store, run_id: str) -> str:
    return Survey((await store.read(run_id))[:1]).pipeline


async def _questions(store: Store, tenant: str | None, run_id: str | None) -> AsyncIterator[OpenQuestion]:
    last: OpenQuestion | None = None
    while page := await store.questions(limit=PAGE, after=last, tenant=tenant, run_id=run_id):
        for last in page:
            yield last


async def _runs(store: Store, tenant: str | None, status: str) -> AsyncIterator[RunSummary]:
    last: RunSummary | None = None
    while page := await store.runs(limit=PAGE, before=last, tenant=tenant, status=status):  # type: ignore[arg-type]
        for last in page:
            yield last
