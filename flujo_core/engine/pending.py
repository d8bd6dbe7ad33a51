"""What the runs of a store wait for, and which of them could go on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from flujo_core.engine.lease import is_dead
from flujo_core.engine.survey import Survey
from flujo_core.errors import CodecError
from flujo_core.log import warning
from flujo_core.model.event import RunStatus
from flujo_core.model.question import Question
from flujo_core.model.result import question_of
from flujo_core.model.run import QuestionState
from flujo_core.store.paging import every_question, every_run
from flujo_core.store.protocol import Store

T = TypeVar("T")

UNENDED: Sequence[RunStatus] = ("running", "paused")
"""The statuses of runs that have not ended."""


async def pending(store: Store, tenant: str | None, run_id: str | None) -> Sequence[Question]:
    """The questions that are open, the oldest first; without their tokens.

    Of a run whose journal cannot be read here, as a codec or a key is missing, they have what headers say: no text, no
    schema, no approvers.

    Args:
        store: Where the runs are.
        tenant: Only this tenant's; None: all.
        run_id: Only this run's; None: all.
    """
    surveys: dict[str, Survey | None] = {}
    found = []
    async for one in every_question(store, tenant=tenant, run_id=run_id):
        if one.run_id not in surveys:
            surveys[one.run_id] = await _readable(store, one.run_id, _survey)
        survey = surveys[one.run_id]
        if survey is None:
            found.append(Question(one.run_id, one.address, "", {}, None, one.tenant, one.asked_at, one.expires_at))
            continue
        ballot = survey.ballots.get(one.sequence)
        if ballot is not None and not ballot.is_answered:
            found.append(question_of(QuestionState(ballot.asked))._replace(votes=len(ballot.votes)))
    return found


async def recoverable(store: Store, pipeline: str, tenant: str | None) -> Sequence[str]:
    """The runs of a pipeline that nobody goes on with, and that could: the oldest first.

    One whose journal cannot be read here is left out, with a warning.

    Args:
        store: Where they are.
        pipeline: The pipeline's name.
        tenant: Only this tenant's; None: all.
    """
    time = await store.time()
    asked = every_question(store, tenant=tenant)
    late = {one.run_id async for one in asked if one.expires_at and one.expires_at <= time}
    found = []
    for status in UNENDED:
        async for run in every_run(store, tenant=tenant, status=status):
            is_free = run.held_until <= time or is_dead(run.holder)
            waits = status == "paused" and run.mail <= run.taken and run.run_id not in late
            if not is_free or waits:
                continue
            of = await _readable(store, run.run_id, pipeline_of)
            if of == pipeline:
                found.append(run)
            elif (
                of is not None
            ):  # a pipeline without a name is called after its steps, and has another name when these change
                warning("run.of_another_pipeline", run_id=run.run_id, pipeline=of)
    return [one.run_id for one in sorted(found, key=lambda one: one.started_at)]


async def _readable(store: Store, run_id: str, read: Callable[[Store, str], Awaitable[T]]) -> T | None:
    """What is read of a run; None, with a warning, if a codec or a key is missing for that."""
    try:
        return await read(store, run_id)
    except CodecError as error:
        warning("run.not_readable", run_id=run_id, failure=str(error))
        return None


async def _survey(store: Store, run_id: str) -> Survey:
    """What a journal and its inbox say."""
    summary = await store.run(run_id)
    mail = await store.mail(run_id, after=0 if summary is None else summary.taken)
    return Survey(await store.read(run_id)).with_mail(mail)


async def pipeline_of(store: Store, run_id: str) -> str:
    """The name of the pipeline that a run began with; empty if there is no such run."""
    return Survey((await store.read(run_id))[:1]).pipeline
