"""One leaf with hooks: authorize, pre hooks, around hooks and the attempts within, error hooks, post hooks."""

from __future__ import annotations

import asyncio
from collections import ChainMap
from functools import reduce
from typing import Any

from pydantic import ValidationError

from flujo_core.engine.attempt import (
    FAILING,
    PASSING,
    Attempts,
    Run,
    Stopped,
    Yield,
    record_failed_attempt,
    record_spent,
)
from flujo_core.engine.journal import now
from flujo_core.errors import InvalidValue, StepError, StepTimeout
from flujo_core.hooks.call import AuthorizationRequest, StepCall
from flujo_core.model.agent import Usage
from flujo_core.model.check import type_name
from flujo_core.model.draft import Drafting, State, take
from flujo_core.model.event import StepStarted
from flujo_core.model.outcome import Skip, Stop
from flujo_core.model.run import StepResult, StepStatus
from flujo_core.model.value import adapter, flaws

NOTHING: State = {}
"""What was looked at where nothing was; never changed."""


async def hooked(leaf: Attempts, run: Run, value: Any, started: float) -> Yield:
    """Runs a leaf with the hooks around it; gives what there is to commit.

    Args:
        leaf: The leaf's attempts.
        run: The run.
        value: Its input.
        started: When it began.

    Raises:
        StepError: The step failed, or what hooks made of it is not valid.
        Veto: A hook refused it.
        PluginError: A hook failed.
        Stopped: The step or a hook ends the run.
    """
    hooks, journal, watch = run.hooks, run.journal, run.watch
    if hooks.authorize is not None:
        who = (journal.run_id, journal.tenant, run.pipeline, leaf.address, leaf.model)
        await hooks.authorize(watch, AuthorizationRequest("run_step", *who))
    drafting: Drafting = [run.context_type, run.state, None]
    # tuple.__new__ takes half the time of a NamedTuple's own, which counts at each step
    facts = (journal.run_id, journal.tenant, leaf.address, leaf.name, value, leaf.model, drafting)
    call: StepCall = tuple.__new__(StepCall, facts)
    before: StepCall | Stop | Skip[Any] = call if hooks.pre is None else await hooks.pre(watch, call)
    looked_at = NOTHING if drafting[2] is None else take(drafting)
    if isinstance(before, Stop):
        raise Stopped(before)
    if isinstance(before, Skip):
        made = remade(leaf, run, before.output, looked_at, 0, None)
    else:
        if before.step_input is not value:
            value = _changed_input(leaf, before.step_input)
            call = call._replace(step_input=value)
        if hooks.around_step is None and hooks.step_error is None:
            made = await leaf.run(run, value, looked_at)
            if watch.is_cancelled:
                await watch.forgive()
        else:
            made = await Guarded(leaf, run, call, looked_at, started).run()
    if hooks.post is None:
        return made
    if made.touched:
        drafting[1] = _after(made, run)
    result = _result(leaf, made, started)
    try:
        after = await hooks.post(watch, call, result)
        if isinstance(after, Stop):
            raise Stopped(after)
    except (*PASSING, Stopped) as error:
        record_spent(run, leaf.address, error, made.attempt, made.usage)
        raise
    changed = NOTHING if drafting[2] is None else take(drafting)
    if after is result and not changed:
        return made
    return remade(leaf, run, after.output, made.touched | changed, made.attempt, made.usage)


class Guarded:
    """The attempts of a leaf, with around hooks or error hooks.

    Args:
        leaf: The leaf's attempts.
        run: The run.
        call: The call, as the pre hooks left it.
        looked_at: The context's fields that they looked at or set.
        started: When the leaf began.
    """

    def __init__(self, leaf: Attempts, run: Run, call: StepCall, looked_at: State, started: float) -> None:
        self._leaf = leaf
        self._run = run
        self._call = call
        self._looked_at = looked_at
        self._started = started
        self._tried = 0
        self._failure: StepError | None = None
        self._made: list[tuple[StepResult, Yield]] = []
        take(call.drafting, self._before())

    async def run(self) -> Yield:
        """What the hooks make of the attempts.

        Raises:
            StepError: The step failed, and no hook had an answer to that.
        """
        around, watch = self._run.hooks.around_step, self._run.watch
        try:
            answer = await (self._proceed() if around is None else around(watch, self._call, self._proceed))
        except StepError as failure:
            return await self._recovered(failure)
        except (*PASSING, Stopped) as error:
            record_spent(self._run, self._leaf.address, error, self._tried, self._used())
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
        return remade(self._leaf, self._run, answer.output, made.touched | changed, made.attempt, self._used())

    def _used(self) -> Usage | None:
        """What agents used in the tries that succeeded; that of a failed one is recorded with its failure."""
        used = [made.usage for _, made in self._made if made.usage is not None]
        return reduce(Usage.plus, used) if used else None

    def _stand_in(self, answer: StepResult, changed: State) -> Yield:
        """What a hook's own result stands for, of a step that has failed, or was not tried."""
        if self._failure is not None:
            self._record(self._failure)
        return remade(self._leaf, self._run, answer.output, self._looked_at | changed, self._tried, self._used())

    async def _proceed(self) -> StepResult:
        """Tries the step; called again, tries it again, from what it began with."""
        drafting = self._call.drafting
        if self._tried:
            await self._begin_again()
        else:
            self._looked_at = self._looked_at | take(drafting)
        self._failure = None
        try:
            made = await self._leaf.run(self._run, self._call.step_input, self._looked_at, self._tried + 1)
        except (StepError, asyncio.CancelledError) as error:
            self._failure = error if isinstance(error, StepError) else self._cut_off()
            self._tried = self._failure.attempts
            take(drafting, self._before())
            raise
        self._tried = made.attempt
        take(drafting, _after(made, self._run))
        result = _result(self._leaf, made, self._started)
        self._made.append((result, made))
        return result

    def _cut_off(self) -> StepError:
        """The failure of an attempt that a plugin has cut off, if it goes on after that."""
        events = self._run.journal.events
        attempts = (one.attempt for one in events if isinstance(one, StepStarted) and one.address == self._leaf.address)
        cause = StepTimeout("a plugin cut it off")
        failure = self._leaf.failure(cause, max(attempts))
        failure.__cause__ = cause
        return failure

    async def _begin_again(self) -> None:
        if self._failure is not None:
            self._record(self._failure)
        await self._leaf.begin(self._run, self._tried + 1)

    async def _recovered(self, failure: StepError) -> Yield:
        """What error hooks put in the place of a failed step's result; without any, the failure."""
        hook = self._run.hooks.step_error
        answer = None if hook is None else await hook(self._run.watch, self._call, failure)
        if answer is None:
            raise failure
        return self._stand_in(answer, take(self._call.drafting))

    def _record(self, failure: StepError) -> None:
        record_failed_attempt(self._run, self._leaf.address, failure.__cause__ or failure, failure.attempts, 0)

    def _before(self) -> Any:
        """What the context is to a hook before the step has succeeded."""
        return ChainMap(self._looked_at, self._run.state)


def remade(leaf: Attempts, run: Run, output: Any, looked_at: State, attempt: int, usage: Usage | None) -> Yield:
    """What there is to commit when hooks had their say.

    Raises:
        StepError: What they made of it is not valid.
    """
    try:
        return leaf.made(run, output, looked_at, attempt, usage)
    except FAILING as error:
        failure = leaf.failure(error, attempt)
        failure.usage = usage
        raise failure from error


def _changed_input(leaf: Attempts, value: Any) -> Any:
    try:
        return adapter(leaf.takes).validate_python(value)
    except ValidationError as error:
        found = flaws(error, leaf.takes)
        wrong = InvalidValue(f"a hook gave it an input that is not a '{type_name(leaf.takes)}': {found}")
        wrong.__cause__ = error
        raise leaf.failure(wrong, 0) from wrong


def _after(made: Yield, run: Run) -> Any:
    """What the context is to a hook after the step."""
    return ChainMap(made.touched, run.state) if made.touched else run.state


def _result(leaf: Attempts, made: Yield, started: float) -> StepResult:
    status: StepStatus = "completed" if made.attempt else "skipped"
    return StepResult(leaf.address, status, made.attempt, started, now() - started, made.usage, None, made.output)
