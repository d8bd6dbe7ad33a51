"""One leaf of a pipeline, from its start to its one commit, or to its failure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from flujo_core.engine.attempt import FAILING, PASSING, Attempts, Run, Yield, told
from flujo_core.engine.hooked import hooked
from flujo_core.engine.journal import Journal, now
from flujo_core.errors import StepError
from flujo_core.model.event import StepCompleted, StepFailed, StepStarted
from flujo_core.model.patch import NO_PATCH, Patch, apply
from flujo_core.model.step import Step


class Leaf:
    """A step, ready to run.

    Args:
        step: The step; an agent that it names is resolved.
        address: Its address.
    """

    __slots__ = ("_attempts", "_direct", "address")

    def __init__(self, step: Step[Any, Any], address: str) -> None:
        self.address = address
        self._attempts = Attempts(step, address)
        self._direct = self._attempts.direct

    async def run(self, run: Run, value: Any) -> Any:
        """Runs the step and commits it.

        Returns:
            Its output.

        Raises:
            StepError: It failed.
            Veto: A hook refused it.
            PluginError: A hook failed.
            Stopped: The step or a hook ends the run.
        """
        journal = run.journal
        started = now()
        journal.sequence = sequence = journal.sequence + 1
        journal.stage(StepStarted(journal.run_id, journal.tenant, sequence, started, self.address, 1))
        if journal.live:
            await journal.flush()
        try:
            if run.bare and self._direct is not None:
                return await self._run_direct(run, self._direct, value, started)
            made = await (
                hooked(self._attempts, run, value, started) if run.hooked else self._attempts.run(run, value, {})
            )
        except StepError as failure:
            self._record_failure(run, failure, started)
            raise
        self._commit(run, made, started)
        return made.restored

    async def _run_direct(self, run: Run, function: Callable[[Any], Awaitable[Any]], value: Any, started: float) -> Any:
        """The short way of a step that only calls an async function, in a run that only keeps its events in memory."""
        try:
            output = self._attempts.checked(await function(value))
        except PASSING:
            raise
        except FAILING as error:
            raise self._attempts.failure(error, 1) from error
        run.journal.stage(self._completed(run.journal, started, 1, output, NO_PATCH))
        return output

    def _commit(self, run: Run, made: Yield, started: float) -> None:
        event = self._completed(run.journal, started, made.attempt, made.output, made.patch)
        event.usage = made.usage
        run.journal.stage(event, made.value, made.state)
        if made.patch:
            apply(run.state, made.patch)

    def _completed(self, journal: Journal, started: float, attempt: int, output: Any, patch: Patch) -> StepCompleted:
        ended = now()
        journal.sequence = sequence = journal.sequence + 1
        duration = ended - started
        return StepCompleted(
            journal.run_id, journal.tenant, sequence, ended, self.address, attempt, output, patch, duration, None
        )

    def _record_failure(self, run: Run, failure: StepError, started: float) -> None:
        """Records that the step failed for good."""
        journal, at = run.journal, now()
        why = told(failure.__cause__ or failure)
        journal.stage(
            StepFailed(
                journal.run_id, journal.tenant, journal.next(), at, self.address,
                failure.attempts, why, at - started, failure.usage,
            )
        )  # fmt: skip
