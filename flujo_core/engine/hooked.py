"""One leaf with hooks: authorize, pre hooks, around hooks and the attempts within, error hooks, post hooks."""

from __future__ import annotations

import asyncio
from collections import ChainMap
from collections.abc import Awaitable, Callable
from functools import partial, reduce
from typing import Any

from flujo_core.engine.attempt import Execution, Yield
from flujo_core.engine.failure import PASSING, Stopped
from flujo_core.engine.journal import now
from flujo_core.errors import InvalidValue, StepError, StepTimeout
from flujo_core.hooks.call import AuthorizationRequest, StepCall
from flujo_core.model.agent import Usage
from flujo_core.model.draft import Drafting, State, take
from flujo_core.model.event import StepStarted
from flujo_core.model.outcome import Skip, Stop
from flujo_core.model.run import StepResult, StepStatus
from flujo_core.model.value import validated

NOTHING: State = {}
"""What was looked at where nothing was; never changed."""


async def hooked(work: Execution) -> Yield:
    """Runs a leaf with the hooks around it; gives what there is to commit.

    Raises:
        StepError: The step failed, or what hooks made of it is not valid.
        Veto: A hook refused it.
        PluginError: A hook failed.
        Stopped: The step or a hook ends the run.
    """
    run, plan, watch = work.run, work.plan, work.frame.watch
    hooks, journal = run.hooks, run.journal
    if hooks.authorize is not None:
        who = (journal.run_id, journal.tenant, run.pipeline, work.address, plan.model)
        await hooks.authorize(watch, AuthorizationRequest("run_step", *who))
    drafting: Drafting = [run.context_type, work.frame.state, None]
    # tuple.__new__ takes half the time of a NamedTuple's own, which counts at each step
    facts = (journal.run_id, journal.tenant, work.address, plan.name, work.value, plan.model, drafting)
    call: StepCall = tuple.__new__(StepCall, facts)
    before: StepCall | Stop | Skip[Any] = call if hooks.pre is None else await hooks.pre(watch, call)
    looked_at = NOTHING if drafting[2] is None else take(drafting)
    if isinstance(before, Stop):
        raise Stopped(before)
    if isinstance(before, Skip):
        made = work.remade(before.output, looked_at, 0, None)
    else:
        if before.step_input is not work.value:
            work.value = _changed_input(work, before.step_input)
            call = call._replace(step_input=work.value)
        made = await _attempted(work, call, looked_at)
        if watch.is_cancelled:
            await watch.forgive()
    if hooks.post is None:
        return made
    if made.touched:
        drafting[1] = _after(made, work)
    result = _result(work, made)
    try:
        after = await hooks.post(watch, call, result)
        if isinstance(after, Stop):
            raise Stopped(after)
    except (*PASSING, Stopped) as error:
        work.record_spent(error, made.attempt, made.usage)
        raise
    changed = NOTHING if drafting[2] is None else take(drafting)
    if after is result and not changed:
        return made
    return work.remade(after.output, made.touched | changed, made.attempt, made.usage, made.source)


async def _attempted(work: Execution, call: StepCall, looked_at: State) -> Yield:
    """The attempts with the hooks around them, the cache before and the fallback after."""
    hooks, plan = work.run.hooks, work.plan
    attempts: Callable[[], Awaitable[Yield]]
    if hooks.around_step is None and hooks.step_error is None:
        attempts = partial(work.attempts, looked_at)
    else:
        attempts = Guarded(work, call, looked_at).run
    if plan.cache is None and plan.fallback is None:
        return await attempts()
    return await work.result_of(attempts, looked_at)


class Guarded:
    """The attempts of a leaf, with around hooks or error hooks.

    Args:
        work: The leaf's execution.
        call: The call, as the pre hooks left it.
        looked_at: The context's fields that they looked at or set.
    """

    def __init__(self, work: Execution, call: StepCall, looked_at: State) -> None:
        self._work = work
        self._call = call
        self._looked_at = looked_at
        self._tried = 0
        self._failure: StepError | None = None
        self._made: list[tuple[StepResult, Yield]] = []
        take(call.drafting, self._before())

    async def run(self) -> Yield:
        """What the hooks make of the attempts.

        Raises:
            StepError: The step failed, and no hook had an answer to that.
        """
        around, watch = self._work.run.hooks.around_step, self._work.frame.watch
        try:
            answer = await (self._proceed() if around is None else around(watch, self._call, self._proceed))
        except StepError as failure:
            return await self._recovered(failure)
        except (*PASSING, Stopped) as error:
            self._work.record_spent(error, self._tried, self._used())
            raise
        return self._given(answer, take(self._call.drafting))

    def _given(self, answer: StepResult, changed: State) -> Yield:
        """What a result stands for: the output goes with the context of the try that it is of."""
        last = self._made[-1] if self._made and self._failure is None else None
        found = next((one for one in self._made if one[0].attempts == answer.attempts), last)
        if found is not last:
            changed = NOTHING  # it was made of the last try's context
        if found is None:
            return self._stand_in(answer, changed)
        if self._failure is not None:
            self._record(self._failure)
        result, made = found
        if answer is result and not changed:
            return made._replace(usage=self._used())
        return self._work.remade(answer.output, made.touched | changed, made.attempt, self._used())

    def _used(self) -> Usage | None:
        """What agents used in the tries that succeeded; that of a failed one is recorded with its failure."""
        used = [made.usage for _, made in self._made if made.usage is not None]
        return reduce(Usage.plus, used) if used else None

    def _stand_in(self, answer: StepResult, changed: State) -> Yield:
        """What a hook's own result stands for, of a step that has failed, or was not tried."""
        if self._failure is not None:
            self._record(self._failure)
        return self._work.remade(answer.output, self._looked_at | changed, self._tried, self._used())

    async def _proceed(self) -> StepResult:
        """Tries the step; called again, tries it again, from what it began with."""
        drafting = self._call.drafting
        if self._tried:
            await self._begin_again()
        else:
            self._looked_at = self._looked_at | take(drafting)
        self._failure = None
        try:
            made = await self._work.attempts(self._looked_at, self._tried + 1)
        except (StepError, asyncio.CancelledError) as error:
            self._failure = error if isinstance(error, StepError) else self._cut_off()
            self._tried = self._failure.attempts
            take(drafting, self._before())
            raise
        self._tried = made.attempt
        take(drafting, _after(made, self._work))
        result = _result(self._work, made)
        self._made.append((result, made))
        return result

    def _cut_off(self) -> StepError:
        """The failure of an attempt that a plugin has cut off, if it goes on after that."""
        events, address = self._work.run.journal.events, self._work.address
        attempts = (one.attempt for one in events if isinstance(one, StepStarted) and one.address == address)
        cause = StepTimeout("a plugin cut it off")
        failure = self._work.failure(cause, max(attempts))
        failure.__cause__ = cause
        return failure

    async def _begin_again(self) -> None:
        if self._failure is not None:
            self._record(self._failure)
        await self._work.begin(self._tried + 1)

    async def _recovered(self, failure: StepError) -> Yield:
        """What error hooks put in the place of a failed step's result; without any, the failure."""
        hook = self._work.run.hooks.step_error
        answer = None if hook is None else await hook(self._work.frame.watch, self._call, failure)
        if answer is None:
            raise failure
        return self._stand_in(answer, take(self._call.drafting))

    def _record(self, failure: StepError) -> None:
        self._work.record_failed_attempt(failure.__cause__ or failure, failure.attempts)

    def _before(self) -> Any:
        """What the context is to a hook before the step has succeeded."""
        return ChainMap(self._looked_at, self._work.frame.state)


def _changed_input(work: Execution, value: Any) -> Any:
    try:
        return validated(value, work.plan.takes, "the input that a hook gave it")
    except InvalidValue as wrong:
        raise work.failure(wrong, 0) from wrong


def _after(made: Yield, work: Execution) -> Any:
    """What the context is to a hook after the step."""
    return ChainMap(made.touched, work.frame.state) if made.touched else work.frame.state


def _result(work: Execution, made: Yield) -> StepResult:
    status: StepStatus = "completed" if made.attempt or made.source == "cache" else "skipped"
    duration = now() - work.started
    return StepResult(
        work.address, status, made.attempt, work.started, duration, made.usage, None, made.output, made.source
    )
