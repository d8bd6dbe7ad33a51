"""One leaf with hooks: authorize, pre hooks, around hooks and the attempts within, error hooks, post hooks."""

from __future__ import annotations

import asyncio
from collections import ChainMap
from collections.abc import Awaitable, Callable, Sequence
from functools import partial, reduce
from typing import Any

from pydantic_core import to_json

from flujo_core.engine.again import value_later
from flujo_core.engine.attempt import Execution
from flujo_core.engine.channel import Inlet
from flujo_core.engine.failure import PASSING, Stopped
from flujo_core.engine.journal import now
from flujo_core.engine.plan import Yield
from flujo_core.engine.question import Answered, Asking, answer_of, kept
from flujo_core.errors import FlujoError, IncompatiblePipeline, InvalidValue, StepError, StepTimeout
from flujo_core.hooks.call import AuthorizationRequest, StepCall
from flujo_core.hooks.dispatch import Gate
from flujo_core.hooks.onion import AroundStep
from flujo_core.model.agent import Usage
from flujo_core.model.draft import Drafting, State, take
from flujo_core.model.event import QuestionKind, StepStarted
from flujo_core.model.outcome import Skip, Stop
from flujo_core.model.run import StepResult, StepStatus
from flujo_core.model.value import concrete, validated

NOTHING: State = {}
"""What was looked at where nothing was; never changed."""


async def hooked(work: Execution) -> Yield:
    """Runs a leaf with the hooks around it; gives what there is to commit.

    Raises:
        StepError: The step failed, or what hooks made of it is not valid.
        Veto: A hook refused it.
        PluginError: A hook failed.
        Stopped: The step or a hook ends the run.
        Asking: The step or a hook waits for people.
    """
    run, plan, journal = work.run, work.plan, work.run.journal
    drafting: Drafting = [run.context_type, work.frame.state, None]
    # tuple.__new__ takes half the time of a NamedTuple's own, which counts at each step
    facts = (journal.run_id, journal.tenant, work.address, plan.name, work.value, plan.model, drafting)
    call: StepCall = tuple.__new__(StepCall, (*facts, None, journal.subject, plan.agent))
    if work.again is not None and work.again.is_behind:
        return await behind_question(work, call)
    if run.hooks.authorize is not None:
        who = (journal.run_id, journal.tenant, run.pipeline, work.address, plan.model)
        await run.hooks.authorize(work.frame.watch, AuthorizationRequest("run_step", *who))
    return await _from_pre(work, call, 0)


async def behind_question(work: Execution, call: StepCall) -> Yield:
    """As ``hooked``, of a leaf that goes on behind a question: what comes before that is not called again."""
    made = work.behind_question()
    if made is not None:
        return await _posted(work, call, made, 0)
    assert work.again is not None
    behind = work.again.answered
    assert behind is not None
    looked_at, state = work.changed_before(behind), behind.asked.state
    if "input" in state:
        work.value = _restored(work, state["input"], work.plan.takes)
        call = call._replace(step_input=work.value)
    if behind.source == "tool":
        before = work.changed_by_hooks(behind)
        return await _posted(work, call, await _attempted(work, call, before, around=False), 0)
    answer = answer_of(behind)
    if behind.source == "pre":
        take(call.drafting, ChainMap(looked_at, work.frame.state))
        return await _from_pre(work, call, _place(work.run.hooks.pre_plugins, behind), answer, looked_at)
    output = _restored(work, state["output"], work.plan.gives)
    made = work.remade(output, looked_at, state["attempt"], behind.asked.usage, state["source"])
    if "change" in state:
        from flujo_core.model.mutation import Asked  # noqa: PLC0415 - few steps change the pipeline

        made = made._replace(change=Asked.from_json(state["change"]))
    return await _posted(work, call, made, _place(work.run.hooks.post_plugins, behind), answer)


async def _from_pre(
    work: Execution, call: StepCall, first: int, answer: Any = None, looked_at: State = NOTHING
) -> Yield:
    """The pre hooks from one on, which has asked and gets its answer, and all that follows."""
    hooks, watch, drafting = work.run.hooks, work.frame.watch, call.drafting
    before: StepCall | Stop | Skip[Any] | Gate = call
    if hooks.pre is not None:
        before = await hooks.pre(watch, call, first, answer)
    if drafting[2] is not None:
        looked_at = looked_at | take(drafting)
    if isinstance(before, Stop):
        raise Stopped(before)
    if isinstance(before, Gate):
        if before.value.step_input is not work.value:
            work.value = _changed_input(work, before.value.step_input)
        raise _gate(work, "pre", before, looked_at)
    if isinstance(before, Skip):
        made = work.remade(before.output, looked_at, 0, None)
    else:
        if before.step_input is not work.value:
            work.value = _changed_input(work, before.step_input)
            call = call._replace(step_input=work.value)
        made = await _attempted(work, call, looked_at)
        if watch.is_cancelled:
            await watch.forgive()
    return made if hooks.post is None else await _posted(work, call, made, 0)


async def _posted(work: Execution, call: StepCall, made: Yield, first: int, answer: Any = None) -> Yield:
    """What the post hooks make of it, from one on, which has asked and gets its answer."""
    hooks, drafting = work.run.hooks, call.drafting
    if hooks.post is None:
        return made
    if made.touched:
        drafting[1] = _after(made, work)
    result = _result(work, made)
    try:
        after = await hooks.post(work.frame.watch, call, result, first, answer)
        if isinstance(after, Stop):
            raise Stopped(after)
    except (*PASSING, Stopped) as error:
        work.record_spent(error, made.attempt, made.usage)
        raise
    changed = NOTHING if drafting[2] is None else take(drafting)
    if isinstance(after, Gate):
        if after.value is not result or changed:
            made = _other(work, made, after.value.output, changed)
        raise _gate(work, "post", after, made.touched, made)
    if after is result and not changed:
        return made
    return _other(work, made, after.output, changed)


def _other(work: Execution, made: Yield, output: Any, changed: State) -> Yield:
    """The same with another output, and with what a hook has changed in the context."""
    other = work.remade(output, made.touched | changed, made.attempt, made.usage, made.source)
    return other._replace(change=made.change)


def _gate(work: Execution, source: QuestionKind, gate: Gate, looked_at: State, made: Yield | None = None) -> Asking:
    """The question of a hook, with what is to go on behind it.

    Raises:
        StepError: What hooks have made of the input, or of the context, does not fit.
    """
    attempt = 0 if made is None else made.attempt
    try:
        asking = Asking(source, {"": gate.pause}, attempt)
    except FlujoError as error:
        raise work.failure(error, attempt) from error
    asking.by = gate.plugin
    if made is not None:
        asking.usage = made.usage
        asking.state = {"attempt": made.attempt, "source": made.source}
        asking.state["output"] = _kept(work, made.output, work.plan.gives)
        if made.change is not None:
            asking.state["change"] = made.change.to_json()
    return work.asking(asking, looked_at)


def _kept(work: Execution, value: Any, hint: Any) -> Any:
    """A value as JSON can hold it.

    Raises:
        StepError: It cannot.
    """
    try:
        return kept(value, hint)
    except InvalidValue as wrong:
        raise work.failure(wrong, 0) from wrong


def _restored(work: Execution, value: Any, hint: Any) -> Any:
    """A value that ``_kept`` has kept."""
    return value_later(work.run.journal.run_id, work.address, to_json(value), concrete(hint)).read()


def _place(plugins: Sequence[str], behind: Answered) -> int:
    """The place of the hook that asked.

    Raises:
        IncompatiblePipeline: Its plugin is not there any more.
    """
    by = behind.asked.by
    if by not in plugins:
        what = f"plugin '{by}', whose hook has asked at '{behind.asked.address}', is not there; install it"
        raise IncompatiblePipeline(behind.asked.run_id, [what])
    return plugins.index(by)


async def _attempted(work: Execution, call: StepCall, looked_at: State, *, around: bool = True) -> Yield:
    """The attempts with the hooks around them, the cache before and the fallback after."""
    hooks, plan = work.run.hooks, work.plan
    work.call = call
    attempts: Callable[[], Awaitable[Yield]]
    around_step = hooks.around_step if around else None
    if around_step is None and hooks.step_error is None:
        attempts = partial(work.attempts, looked_at)
    else:
        attempts = Guarded(work, call, looked_at, around_step).run
    if plan.cache is None and plan.fallback is None:
        return await attempts()
    return await work.result_of(attempts, looked_at)


class Guarded:
    """The attempts of a leaf, with around hooks or error hooks.

    Args:
        work: The leaf's execution.
        call: The call, as the pre hooks left it.
        looked_at: The context's fields that they looked at or set.
        around: The around hooks, or None.
    """

    def __init__(self, work: Execution, call: StepCall, looked_at: State, around: AroundStep | None) -> None:
        self._work = work
        self._around = around
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
        around, watch = self._around, self._work.frame.watch
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
        other = self._work.remade(answer.output, made.touched | changed, made.attempt, self._used())
        return other._replace(change=made.change)

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
    if isinstance(work.value, Inlet):
        streams = InvalidValue("a hook gave it another input, and it takes a stream; change that by 'transform_chunk'")
        raise work.failure(streams, 0) from streams
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
