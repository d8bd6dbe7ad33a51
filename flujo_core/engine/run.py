"""The interpreter: runs a pipeline from its start to its end, whatever that end is, or to where it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from flujo_core.backend.task import uninterrupted
from flujo_core.engine.again import started_state, value_later
from flujo_core.engine.ending import (
    Ending,
    end_hooks,
    end_of,
    ended_by,
    failure_of,
    replaced,
    result_of,
    stored_result,
)
from flujo_core.engine.frame import Changed, Frame, owned, run_all
from flujo_core.engine.inbox import take_in
from flujo_core.engine.journal import NULL, Journal, now
from flujo_core.engine.later import given
from flujo_core.engine.lease import keeper
from flujo_core.engine.live import LiveRun
from flujo_core.engine.past import Past, value_of
from flujo_core.engine.program import Program
from flujo_core.engine.question import Paused
from flujo_core.engine.start import begin
from flujo_core.engine.survey import Survey
from flujo_core.errors import InvalidValue, MailWaiting, StoreError
from flujo_core.hooks.call import RunEnd, RunStart
from flujo_core.hooks.listen import Listeners
from flujo_core.hooks.onion import AroundRun
from flujo_core.hooks.watchdog import watchdog
from flujo_core.log import warning
from flujo_core.model.event import RunEnded, RunPaused
from flujo_core.model.result import PipelineResult, RunFailed
from flujo_core.model.value import encoded
from flujo_core.store.protocol import Record

if TYPE_CHECKING:
    from flujo_core.model.context import PipelineContext


UNGUARDED = nullcontext()


async def execute(program: Program, journal: Journal, value: Any, context: PipelineContext) -> PipelineResult[Any, Any]:
    """Runs ``program`` once.

    Args:
        program: What to run.
        journal: The run's journal, empty.
        value: The input.
        context: The context to begin with.

    Raises:
        InvalidValue: The input does not fit; there is no run.
        RunFailed: The run failed, was refused, or cancelled by somebody; it has the result.
        StoreError: The journal could not be kept; the run's end is not recorded.
    """
    value = program.input(value)
    start = RunStart(journal.run_id, journal.tenant, program.label, value, context, False, journal.subject)
    run = LiveRun(program, journal, start)
    del context, start
    return await brought_to_end(program, run, lambda: begin(program, run))


async def brought_to_end(
    program: Program, run: LiveRun, begin: Callable[[], Coroutine[Any, Any, Any]]
) -> PipelineResult[Any, Any]:
    """Begins a run, or goes on with one, and goes on until it has ended or waits for people.

    Args:
        program: What to run.
        run: The run.
        begin: Records how it begins, and gives its input.

    Raises:
        RunFailed: The run failed, was refused, or cancelled by somebody; it has the result.
        IncompatiblePipeline: What is recorded of the run does not fit the program.
        StoreError: The journal could not be kept; the run's end is not recorded.
    """
    journal = run.journal
    if program.hooks.listeners:
        journal.listen(Listeners(program.hooks))
    if journal.store is not None:
        keeper().keep(journal)
    try:
        with watchdog().watching(run.watch) if program.on_runs else UNGUARDED:
            try:
                value = await begin()
                if run.ledger is not None:
                    run.ledger.start()
                ending = await _interpreted(program, run, value)
            except BaseException as error:
                ending = ended_by(error)
            finally:
                if run.ledger is not None:
                    run.ledger.stop()
            if ending.status == "paused":
                pass
            elif program.hooks.end is not None or journal.listeners is not None:
                ending = await end_hooks(program, run, ending)
        return await _record_end(program, run, ending)
    except asyncio.CancelledError as cancelled:
        if journal.is_called_off:
            return await _called_off(program, run)
        await _record_cancellation(program, run, cancelled)
        raise
    finally:
        try:
            if journal.store is not None:
                await uninterrupted(_let_go(journal))
        finally:
            if journal.listeners is not None:
                await uninterrupted(journal.listeners.close())


async def _interpreted(program: Program, run: LiveRun, value: Any) -> Ending:
    """Runs from the start to the end, or to where it can only wait; begins again where mail has come meanwhile."""
    while True:
        try:
            if run.cancelled:
                return Ending("cancelled")
            if program.hooks.around_run is not None:
                return await _around(program, run, program.hooks.around_run, value)
            frame = root(program, run, value)
            try:
                for part in program.parts:  # and not 'run_all': a coroutine less in every run that waits
                    value = await part.run(frame, value)
            except Changed as changed:
                value = await run_all(changed.rest, frame, changed.output)
            if run.edge is not None:
                run.edge.check()
            return Ending("completed", given(value))
        except Paused:
            if run.edge is not None:
                run.edge.check()
            if run.journal.store is None or await _paused(run):
                return Ending("paused")
        value = await go_back(program, run)


async def _paused(run: LiveRun) -> bool:
    """Records that the run waits, and gives its lease back; False if there is mail first, which is taken in then."""
    journal, last = run.journal, run.journal.sequence
    journal.stage(RunPaused(*journal.head("", now())))
    try:
        await journal.flush(release=True)
    except MailWaiting:
        journal.retract(last)
        await take_mail(run)
        return False
    return True


async def take_mail(run: LiveRun) -> None:
    """Takes in what the run's inbox has, and what follows of questions whose time is over."""
    journal, store = run.journal, run.journal.store
    assert store is not None
    await journal.flush(surely=True)
    survey = Survey(await store.read(journal.run_id))
    mail = await store.mail(journal.run_id, after=journal.taken)
    taken = take_in(journal, survey.ballots, mail, await store.time())
    run.cancelled = run.cancelled or taken.cancelled
    await journal.flush(surely=True)


async def go_back(program: Program, run: LiveRun) -> Any:
    """Goes back to the run's start, with all that is recorded as its past; gives its input."""
    journal, store = run.journal, run.journal.store
    assert store is not None
    return past_of(program, run, await store.read(journal.run_id))


def past_of(program: Program, run: LiveRun, records: Sequence[Record]) -> Any:
    """Gives a run its past; gives its input.

    Raises:
        IncompatiblePipeline: Its input, or its context, does not fit the program any more.
    """
    first = records[0]
    state = started_state(first, program.context_type)
    run.begin_again(Past(first.run_id, records), state)
    return value_later(first.run_id, program.label, value_of(first), program.takes)


async def _called_off(program: Program, run: LiveRun) -> PipelineResult[Any, Any]:
    """The end of a run whose lease was taken, or that somebody wants to be cancelled.

    Raises:
        LeaseLost: Somebody else has taken the run over.
        RunCancelled: It was cancelled.
        BudgetExceeded: Its time is over.
    """
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()
    if run.journal.failure is not None:
        raise run.journal.failure from None
    if not run.journal.is_held and run.journal.store is not None:  # it had paused or ended before
        return stored_result(program, await run.journal.store.read(run.journal.run_id))
    if run.ledger is not None and run.ledger.overdue is not None:
        return await _record_end(program, run, Ending("failed", cause=run.ledger.overdue))
    await take_mail(run)
    run.cancelled = True
    return await _record_end(program, run, Ending("cancelled"))


async def _let_go(journal: Journal) -> None:
    """Gives the lease back of a run that goes on no more here, unless its end has."""
    keeper().let_go(journal)
    if journal.is_held and journal.store is not None:
        try:
            await journal.store.release(journal.lease)
        except StoreError as error:
            warning("lease.not_released", run_id=journal.run_id, failure=str(error))


def root(program: Program, run: LiveRun, value: Any) -> Frame:
    """The scope of the whole run."""
    if program.keeps_input:
        run.input = owned(given(value), "the input of the run")
    return Frame(run, "", run.state, run.watch)


async def _around(program: Program, run: LiveRun, around: AroundRun, value: Any) -> Ending:
    """Runs from the start to the end, with the plugins that go around it."""
    within = Ending("completed")

    async def proceed() -> RunEnd:
        nonlocal within
        try:
            output = await run_all(program.parts, root(program, run, value), value)
            if run.edge is not None:
                run.edge.check()
            within = Ending("completed", given(output))
            await run.journal.flush()
        except BaseException as error:
            within = ended_by(error)
        return end_of(run, within)

    end = await around(run.watch, run.start, proceed)
    return replaced(program, within, end, "around_run")


async def _record_end(program: Program, run: LiveRun, ending: Ending) -> PipelineResult[Any, Any]:
    """Records the end; an output that cannot be recorded makes it a failure.

    Returns:
        The result of a run that completed, was stopped or waits; or was cancelled with its task.

    Raises:
        RunFailed: The run failed, was refused, or cancelled by somebody.
    """
    journal, last = run.journal, run.journal.sequence
    if ending.status == "paused":
        return result_of(run, ending, None if journal.portable is None else await journal.portable.ahead(journal))
    asked = dict(journal.asked)
    if journal.asked:
        journal.withdraw()
    value = NULL
    if journal.store is not None and ending.status == "completed":
        try:
            value, _ = encoded(ending.output, program.gives, "the output of the run")
        except InvalidValue as error:
            ending = Ending("failed", cause=error)
    result = result_of(run, ending)
    journal.next()
    journal.stage(result.end, value)
    if journal.live:
        try:
            await journal.flush(release=journal.store is not None)
        except MailWaiting:
            journal.retract(last)
            journal.asked.update(asked)
            await take_mail(run)
            return await _record_end(program, run, Ending("cancelled") if run.cancelled else ending)
    if ending.cause is None and not run.cancelled:
        return result
    raise failure_of(result) from ending.cause


async def _record_cancellation(program: Program, run: LiveRun, cancelled: asyncio.CancelledError) -> None:
    """Records that the run was cancelled, unless it had ended; the stream, if there was one, has gone."""
    journal = run.journal
    journal.listener = None
    try:
        if journal.events and isinstance(journal.events[-1], RunEnded | RunPaused):
            await uninterrupted(journal.flush(surely=True))
        else:
            await uninterrupted(_record_end(program, run, Ending("cancelled")))
    except (StoreError, RunFailed) as error:
        cancelled.add_note(f"that the run '{journal.run_id}' was cancelled could not be recorded: {error}")
