"""A segment: neighbouring steps of which each streams into the next; they run side by side and commit together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import dropwhile, product
from typing import Any, NamedTuple

from flujo_core.engine.again import failure_of
from flujo_core.engine.attempt import Execution
from flujo_core.engine.call import Leaf, record_failure
from flujo_core.engine.channel import Channel, Inlet
from flujo_core.engine.crew import Crew
from flujo_core.engine.frame import Frame
from flujo_core.engine.hooked import hooked
from flujo_core.engine.journal import now
from flujo_core.engine.later import given
from flujo_core.engine.past import Edge, StepPast
from flujo_core.engine.pieces import Pieces, pieces_of
from flujo_core.engine.plan import Yield
from flujo_core.engine.question import Asking
from flujo_core.engine.resumption import begun_again
from flujo_core.errors import ContextConflict, PausedWhileStreaming, StepError
from flujo_core.hooks.watchdog import Watch, watchdog
from flujo_core.model.event import SegmentRestarted, StepStarted
from flujo_core.model.patch import go_together

NO_WATCH = nullcontext()


class Segment:
    """Steps that are joined, ready to run.

    Args:
        leaves: The steps, in order; at least two.
    """

    def __init__(self, leaves: Sequence[Leaf]) -> None:
        self._leaves = leaves

    async def run(self, frame: Frame, value: Any, /) -> Any:
        """Runs the steps side by side, and commits them together.

        Returns:
            The output of the last one.

        Raises:
            StepError: One failed; or two have changed the same field of the context.
            Veto: A hook refused one.
            PluginError: A hook failed.
            Stopped: A hook ends the run.
        """
        if frame.is_over():
            raise asyncio.CancelledError  # of a task that has not heeded its cancellation
        edge = frame.run.edge
        if edge is None:
            return await _Flow(frame, self._leaves, {}).run(value)
        known = {leaf: past for leaf in self._leaves if (past := edge.step(leaf.address(frame))) is not None}
        value, left = self._recorded(frame, edge, value, known)
        if not left:
            return value
        value = given(value)
        await edge.reach()
        flow = _Flow(frame, left, known)
        flow.begin_again()
        before = self._leaves[-len(left) - 1].plan if len(left) < len(self._leaves) else None
        return await flow.run(value if before is None else pieces_of(value, before.gives_item))

    def _recorded(
        self, frame: Frame, edge: Edge, value: Any, known: dict[Leaf, StepPast]
    ) -> tuple[Any, Sequence[Leaf]]:
        """What the journal has of the steps that are committed, and the others; nothing is called.

        Raises:
            StepError: One has failed.
        """
        outcomes = {leaf: past.outcome for leaf, past in known.items() if past.outcome is not None}
        for record in outcomes.values():
            if record.outcome == "failed":
                for leaf in self._leaves:
                    edge.seal(leaf.address(frame))
                raise failure_of(record)
        left = list(dropwhile(lambda leaf: leaf in outcomes, self._leaves))
        for leaf in self._leaves[: len(self._leaves) - len(left)]:
            value = leaf.recorded(frame, outcomes[leaf])
        return value, left


class _Worker(NamedTuple):
    """One step of a segment while it streams."""

    leaf: Leaf
    work: Execution
    takes_from: Channel | None


class _Flow:
    """The steps of a segment, while they stream.

    Args:
        frame: The scope that they run in.
        leaves: The steps.
        known: What is known of those that have begun before the run was resumed.
    """

    def __init__(self, frame: Frame, leaves: Sequence[Leaf], known: dict[Leaf, StepPast]) -> None:
        self._frame = frame
        self._leaves = leaves
        self._known = {leaf: past for leaf, past in known.items() if leaf in leaves}
        self._made: dict[Leaf, Yield] = {}
        self._started = now()

    def begin_again(self) -> None:
        """Records that it was begun before, and is begun again, if so."""
        if self._known:
            journal, attempt = self._frame.run.journal, max(past.attempt for past in self._known.values())
            names = tuple(leaf.plan.name for leaf in self._leaves)
            head = journal.head(self._leaves[0].address(self._frame), now())
            journal.stage(SegmentRestarted(*head, attempt, names))

    async def run(self, value: Any) -> Any:
        """Runs them, and commits them.

        Args:
            value: The input of the first; the pieces, where that one takes a stream.
        """
        journal, crew = self._frame.run.journal, Crew(None, collects=False)
        workers = self._workers(value, crew)
        for _, work, _ in workers:
            attempt = 1 if work.again is None else work.again.attempt
            journal.stage(StepStarted(*journal.head(work.address, self._started), attempt))
        if journal.live:
            await journal.flush()
        async with crew.at_work(journal):
            source = workers[0].takes_from
            if source is not None:  # what streams into the first of them has run before
                crew.start(_feed(source, value))
            for worker in workers:
                crew.start(self._one(worker))
        self._check(workers)
        for leaf, work, _ in workers:
            leaf.commit(self._frame, work.address, self._made[leaf], self._started)
        return self._made[self._leaves[-1]].restored

    def _workers(self, value: Any, crew: Crew) -> list[_Worker]:
        run, made = self._frame.run, list[_Worker]()
        before = Channel() if self._leaves[0].plan.takes_item is not None else None
        for leaf in self._leaves:
            frame = self._frame.beside(crew)
            work = Execution(
                leaf.plan, frame, leaf.address(self._frame), value if before is None else Inlet(before), self._started
            )
            if leaf in self._known:
                work.again = begun_again(run, work.address, self._known[leaf])
            takes_from, before = before, None if leaf is self._leaves[-1] else Channel()
            if work.pieces is not None:
                collects = before is None or leaf.keeps or run.hooked or bool(leaf.plan.validators)
                work.pieces = Pieces(work, before, collects=collects)
            made.append(_Worker(leaf, work, takes_from))
        return made

    async def _one(self, worker: _Worker) -> None:
        """Runs one step, and says so to those that it streams with."""
        leaf, work, takes_from = worker
        run, watch = work.run, work.frame.watch
        if run.watched:
            watch = work.frame.watch = Watch(asyncio.current_task(), run.hooks.timeout)
        try:
            with watchdog().watching(watch) if run.watched else NO_WATCH:
                made = await (hooked(work) if run.hooked or work.again is not None else work.result())
                if work.pieces is not None:
                    await work.pieces.finish(made)
        except StepError as failure:
            record_failure(run.journal, work.address, failure, work.started)
            raise
        except Asking as asking:
            raise self._failed(work, PausedWhileStreaming(PAUSED), asking.attempt) from None
        finally:
            if takes_from is not None:
                takes_from.leave()
        self._made[leaf] = made

    def _check(self, workers: Sequence[_Worker]) -> None:
        """Checks that no two steps have changed the same field: each began with what was there before both.

        Raises:
            StepError: Two have.
        """
        before: list[_Worker] = []
        for worker in workers:
            made = self._made[worker.leaf]
            for other, (name, change) in product(before, made.patch.items()):
                theirs = self._made[other.leaf].patch.get(name)
                if theirs is None or go_together(theirs, change):
                    continue
                conflict = ContextConflict(
                    f"'{other.work.address}' and '{worker.work.address}', which stream side by side, have both changed"
                    f" '{name}' of the context; let one of them do it, or let both only add to it"
                )
                raise self._failed(worker.work, conflict, made.attempt) from conflict
            before.append(worker)

    def _failed(self, work: Execution, error: Exception, attempt: int) -> StepError:
        """Records that a step failed; gives the error that says so."""
        failure = work.failure(error, attempt)
        failure.__cause__ = error
        record_failure(work.run.journal, work.address, failure, work.started)
        return failure


PAUSED = "nobody can be asked while steps stream; ask before the stream, or behind it"


async def _feed(channel: Channel, pieces: Sequence[Any]) -> None:
    for piece in pieces:
        if not await channel.put(piece):
            break
    channel.end()
