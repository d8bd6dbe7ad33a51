"""One leaf of a pipeline, from its start to its one commit, or to its failure."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from flujo_core.engine.again import failure_of, output_later, recorded_patch
from flujo_core.engine.attempt import Execution, thread_ended
from flujo_core.engine.failure import FAILING, PASSING, failed, told
from flujo_core.engine.frame import Changed, Frame
from flujo_core.engine.hooked import hooked
from flujo_core.engine.journal import NULL, Journal, now
from flujo_core.engine.later import given
from flujo_core.engine.past import StepPast
from flujo_core.engine.plan import Plan, Yield
from flujo_core.engine.question import Asking, Paused, publish
from flujo_core.engine.resumption import resumed
from flujo_core.errors import StepError
from flujo_core.model.event import SegmentRestarted, StepCompleted, StepFailed, StepStarted
from flujo_core.model.patch import NO_PATCH, Patch, apply
from flujo_core.model.value import encoded
from flujo_core.store.protocol import Record


class Leaf:
    """A step, ready to run.

    Args:
        plan: What can be worked out of it before.
        static: Its address as ``walk`` gives it.
        keeps: Whether other steps name its output.
        is_own: Whether it is of the pipeline, and was not put in by a run.
    """

    __slots__ = ("_direct", "_is_own", "_segment", "keeps", "plan", "static")

    def __init__(self, plan: Plan, static: str = "", *, keeps: bool, is_own: bool = True) -> None:
        self.plan = plan
        self.static = static
        self.keeps = keeps
        self._is_own = is_own
        self._direct = plan.direct
        self._segment = plan.segment

    def run(self, frame: Frame, value: Any, /) -> Coroutine[Any, Any, Any]:
        """Runs the step and commits it.

        Returns:
            What gives its output.

        Raises:
            StepError: It failed.
            Veto: A hook refused it.
            PluginError: A hook failed.
            Stopped: The step or a hook ends the run.
        """
        if frame.is_over():
            raise asyncio.CancelledError  # of a task that has not heeded its cancellation
        run = frame.run
        if self._direct is None or run.hooked or run.edge is not None or run.threads:
            return self._run(frame, value)
        return self._call(frame, value)  # of which a coroutine less waits than of the long way

    async def _run(self, frame: Frame, value: Any) -> Any:
        """The long way."""
        run, address = frame.run, frame.prefix + self._segment
        if run.edge is not None:
            known = run.edge.step(address)
            if known is not None:
                return await self._again(frame, address, value, known)
            value = given(value)  # before anything goes on: it may not fit any more
            await run.edge.reach()
        if run.threads:
            await thread_ended(frame, address)
        started = self._start(run.journal, address)
        if run.journal.live:
            await run.journal.flush()
        return await self._finish(Execution(self.plan, frame, address, value, started))

    def _start(self, journal: Journal, address: str) -> float:
        """Records that the first attempt begins; gives when."""
        started = now()
        journal.sequence = sequence = journal.sequence + 1
        journal.stage(StepStarted(journal.run_id, journal.tenant, sequence, started, address, 1))
        return started

    async def _call(self, frame: Frame, value: Any) -> Any:
        """The short way of a step that only calls an async function, where no hooks have a say."""
        assert self._direct is not None
        address, journal, data = frame.prefix + self._segment, frame.run.journal, NULL
        started = self._start(journal, address)
        if journal.live:
            await journal.flush()
        try:
            output = restored = self.plan.checked(await self._direct(value))
            if journal.store is not None:
                data, restored = encoded(output, self.plan.gives, "its output")
        except PASSING:
            raise
        except FAILING as error:
            failure = failed(error, address)
            failure.__cause__ = error
            record_failure(journal, address, failure, started)
            raise failure from error
        except Asking as asking:
            publish(journal, address, asking, started)
            if journal.live:
                await journal.flush(surely=True)
            raise Paused from None
        journal.stage(_completed(journal, address, started, 1, output, NO_PATCH), data)
        if self.keeps:
            frame.keep(self.plan.name, restored)
        return restored

    async def _finish(self, work: Execution) -> Any:
        """Does what there is to do, and commits it; or records that it failed, or what it asks."""
        journal, address = work.run.journal, work.address
        try:
            made = await (hooked(work) if work.run.hooked or work.again is not None else work.result())
            if work.pieces is not None:
                await work.pieces.finish(made)
        except StepError as failure:
            record_failure(journal, address, failure, work.started)
            journal.withdraw(address)
            raise
        except Asking as asking:
            publish(journal, address, asking, work.started)
            await journal.flush(surely=True)
            raise Paused from None
        if made.change is None:
            self.commit(work.frame, address, made, work.started)
            return made.restored
        from flujo_core.engine.change import decided  # noqa: PLC0415 - few runs change their pipeline

        decision = await decided(work, self.static, made.change)
        self.commit(work.frame, address, made, work.started)
        decision.record(journal, address, made.attempt)
        if decision.rest is not None:
            raise Changed(decision.rest, made.restored)
        return made.restored

    async def _again(self, frame: Frame, address: str, value: Any, known: StepPast) -> Any:
        """Goes on where the step was when the run was left."""
        if known.outcome is not None:
            output = self.recorded(frame, known.outcome)
            if known.change is not None:
                from flujo_core.engine.change import remade  # noqa: PLC0415 - few runs change their pipeline

                raise Changed(remade(frame, address, self.static, known.change), output)
            return output
        value = given(value)
        again = await resumed(frame.run, address, known)
        await thread_ended(frame, address)
        journal = frame.run.journal
        if again.begins:
            if self.plan.item is not None and known.deaths:
                journal.stage(SegmentRestarted(*journal.head(address, now()), again.attempt, (self.plan.name,)))
            journal.stage(StepStarted(*journal.head(address, now()), again.attempt))
            await journal.flush()
        work = Execution(self.plan, frame, address, value, again.started)
        work.again = again
        return await self._finish(work)

    def recorded(self, frame: Frame, record: Record) -> Any:
        """What the journal has of a step that was committed, or has failed: nothing is called.

        Raises:
            StepError: It has failed.
            IncompatiblePipeline: What is recorded does not fit any more.
        """
        run = frame.run
        assert run.edge is not None
        run.edge.seal(frame.prefix + self._segment)
        if record.outcome == "failed":
            raise failure_of(record)
        patch = recorded_patch(record.run_id, record, run.context_type)
        if patch:
            apply(frame.state, patch)
        migrate = run.migrations.of(self.static, record.sequence) if self._is_own else None
        output = output_later(record.run_id, record, self.plan.gives, migrate)
        if self.keeps:
            frame.keep(self.plan.name, output)
        return output

    def address(self, frame: Frame) -> str:
        """Its address in a scope."""
        return frame.prefix + self._segment

    def commit(self, frame: Frame, address: str, made: Yield, started: float) -> None:
        journal = frame.run.journal
        event = _completed(journal, address, started, made.attempt, made.output, made.patch)
        event.usage, event.source = made.usage, made.source
        journal.stage(event, made.value, made.state)
        if made.patch:
            apply(frame.state, made.patch)
        if self.keeps:
            frame.keep(self.plan.name, made.restored)


def _completed(
    journal: Journal, address: str, started: float, attempt: int, output: Any, patch: Patch
) -> StepCompleted:
    ended = now()
    journal.sequence = sequence = journal.sequence + 1
    return StepCompleted(
        journal.run_id, journal.tenant, sequence, ended, address, attempt, output, patch, ended - started, None
    )


def record_failure(journal: Journal, address: str, failure: StepError, started: float) -> None:
    """Records that the step failed for good."""
    at, cause = now(), failure.__cause__
    of_another = isinstance(cause, StepError) and cause.address is not None  # its fallback's: both are told then
    why = told(failure if cause is None or of_another else cause)
    journal.stage(
        StepFailed(
            journal.run_id, journal.tenant, journal.next(), at, address,
            failure.attempts, why, at - started, failure.usage,
        )
    )  # fmt: skip
