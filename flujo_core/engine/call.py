"""One leaf of a pipeline: pre hooks, attempts (draft, run, validate), post hooks, one commit."""

from __future__ import annotations

import asyncio
from collections import ChainMap
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pydantic import ValidationError

from flujo_core.engine.action import Surroundings, Turn, action_of, direct_call
from flujo_core.engine.journal import EMPTY, NULL, Journal, now
from flujo_core.errors import FlujoError, InvalidValue, PluginError, StepError, StepTimeout
from flujo_core.hooks.call import StepCall
from flujo_core.hooks.dispatch import Hooks
from flujo_core.hooks.watchdog import Watch
from flujo_core.model.agent import Usage
from flujo_core.model.check import type_name
from flujo_core.model.draft import State, draft, own, touched
from flujo_core.model.event import AttemptFailed, ErrorInfo, StepCompleted, StepFailed, StepStarted
from flujo_core.model.outcome import Skip, Stop, Veto
from flujo_core.model.patch import NO_PATCH, Patch, apply, changes, patch_adapter
from flujo_core.model.policy import NO_POLICY, chance
from flujo_core.model.run import StepResult
from flujo_core.model.step import Step
from flujo_core.model.value import adapter, encoded, flaws

if TYPE_CHECKING:
    from flujo_core.model.context import PipelineContext


class Stopped(BaseException):
    """Unwinds a run that a step or a hook stopped; not an Exception, so that nothing on the way takes it for one."""

    def __init__(self, stop: Stop) -> None:
        super().__init__()
        self.reason = stop.reason


class Run(Surroundings, Protocol):
    """What a leaf must know of the run that it is part of.

    Attributes:
        bare: Whether nothing but the list of its events follows the run: no hooks on steps, no store, no stream.
        watch: What the watchdog sees of the task that calls the hooks.
    """

    bare: bool
    watch: Watch
    hooks: Hooks
    state: State
    context_type: type[PipelineContext]


PASSING = (Veto, PluginError)
"""What goes through a step as it is: no attempt of the step failed, the run is not to go on."""


FAILING = (Exception, SystemExit)
"""What fails an attempt: a step does not end the process."""


class Yield(NamedTuple):
    """What a leaf has to commit.

    Attributes:
        output: The output, validated.
        restored: The output as it comes back from the journal: what the next step gets.
        patch: What changes in the context, as it comes back from the journal.
        touched: The context's fields that were looked at.
        attempt: The number of the attempt that gave it; 0 if the step was skipped.
        usage: What the agent used, or None.
        value: The output as bytes, where there is a store.
        state: The patch as bytes, where there is a store.
    """

    output: Any
    restored: Any
    patch: Patch
    touched: State
    attempt: int
    usage: Usage | None
    value: bytes = NULL
    state: bytes = EMPTY


class Leaf:
    """A step, ready to run: what can be worked out before a run is worked out here.

    Args:
        step: The step; an agent that it names is resolved.
        address: Its address.
    """

    __slots__ = ("_action", "_direct", "_gives", "_name", "_retry", "_takes", "_timeout", "_validate", "address")

    def __init__(self, step: Step[Any, Any], address: str) -> None:
        self.address = address
        self._name = step.name
        self._retry = step.policies.retry
        self._timeout = step.policies.timeout
        self._takes = step.takes
        self._gives = step.gives
        self._validate = adapter(step.gives).validator.validate_python
        self._action = action_of(step, address)
        self._direct = direct_call(step) if step.policies == NO_POLICY else None

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
        if run.bare and self._direct is not None:
            return await self._run_direct(run, self._direct, value, started)
        if run.hooks.pre is None and run.hooks.post is None:
            made = await self._attempts(run, value, started, None)
        else:
            made = await self._hooked(run, value, started)
        self._commit(run, made, started)
        return made.restored

    async def _run_direct(self, run: Run, function: Callable[[Any], Awaitable[Any]], value: Any, started: float) -> Any:
        """The short way of a step that only calls an async function, in a run that only keeps its events in memory."""
        try:
            output = await function(value)
            if isinstance(output, Stop):
                raise Stopped(output)
            output = self._checked(output)
        except PASSING:
            raise
        except FAILING as error:
            raise self._failed(run, error, 1, started) from error
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

    async def _hooked(self, run: Run, value: Any, started: float) -> Yield:
        """The attempts between the pre and the post hooks."""
        journal, hooks = run.journal, run.hooks
        context = draft(run.context_type, run.state)
        call = StepCall(journal.run_id, journal.tenant, self.address, self._name, value, context, self._action.model)
        before: Any = call if hooks.pre is None else await hooks.pre(run.watch, call)
        if isinstance(before, Stop):
            raise Stopped(before)
        if isinstance(before, Skip):
            with self._failing(run, 0, started):
                made = self._made(run, before.output, touched(context), 0, None)
        else:
            if before.step_input is not value:
                with self._failing(run, 0, started):
                    value = self._changed_input(before.step_input)
            made = await self._attempts(run, value, started, touched(context))
        return made if hooks.post is None else await self._after(run, call._replace(step_input=value), made, started)

    def _changed_input(self, value: Any) -> Any:
        try:
            return adapter(self._takes).validate_python(value)
        except ValidationError as error:
            found = flaws(error, self._takes)
            raise InvalidValue(f"a hook gave it an input that is not a '{type_name(self._takes)}': {found}") from error

    async def _after(self, run: Run, call: StepCall, made: Yield, started: float) -> Yield:
        """The post hooks; what they changed is validated again."""
        assert run.hooks.post is not None
        context = draft(run.context_type, ChainMap(made.touched, run.state))
        call = call._replace(context=context)
        result = StepResult(
            self.address, "completed" if made.attempt else "skipped", made.attempt, started,
            now() - started, made.usage, None, made.output,
        )  # fmt: skip
        after = await run.hooks.post(run.watch, call, result)
        if isinstance(after, Stop):
            raise Stopped(after)
        if after is result and not touched(context):
            return made
        with self._failing(run, made.attempt, started):
            return self._made(run, after.output, made.touched | touched(context), made.attempt, made.usage)

    async def _attempts(self, run: Run, value: Any, started: float, hooks_touched: State | None) -> Yield:
        """Attempts until one succeeds or there are to be no more."""
        attempt = 1
        while True:
            try:
                return await self._attempt(run, self._input(value), attempt, hooks_touched)
            except PASSING:
                raise
            except FAILING as error:
                if self._retry is None or not self._retry.wants(error, attempt):
                    raise self._failed(run, error, attempt, started) from error
                await self._wait(run, error, attempt, self._retry.wait(attempt, chance()))
            attempt += 1

    def _input(self, value: Any) -> Any:
        """The input of an attempt: a copy of its own where there may be another one."""
        if self._retry is None or self._retry.attempts == 1:
            return value
        try:
            return own(value)
        except Exception as error:
            raise InvalidValue("its input cannot be copied, as a step that may be tried again needs it") from error

    async def _attempt(self, run: Run, value: Any, attempt: int, hooks_touched: State | None) -> Yield:
        context = None
        if self._action.needs_context:
            base = ChainMap(hooks_touched, run.state) if hooks_touched else run.state
            context = draft(run.context_type, base)
        if self._timeout is None:
            output, usage = await self._action.act(Turn(run, value, context, attempt, None))
        else:
            output, usage = await self._act_within(self._timeout, run, value, context, attempt)
        if isinstance(output, Stop):
            raise Stopped(output)
        looked_at = {} if context is None else touched(context)
        try:
            return self._made(run, output, hooks_touched | looked_at if hooks_touched else looked_at, attempt, usage)
        except InvalidValue as error:
            error.usage = usage
            raise

    async def _act_within(
        self, timeout: float, run: Run, value: Any, context: PipelineContext | None, attempt: int
    ) -> tuple[Any, Usage | None]:
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                return await self._action.act(Turn(run, value, context, attempt, now() + timeout))
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise StepTimeout(f"it took longer than its timeout of {timeout:g} s") from error

    def _made(self, run: Run, output: Any, looked_at: State, attempt: int, usage: Usage | None) -> Yield:
        """What there is to commit, validated, and as it would come back from the journal.

        Raises:
            InvalidValue: The output or a field of the context has a value that does not fit.
        """
        output = self._checked(output)
        patch = self._patch(run, looked_at) if looked_at else NO_PATCH
        if run.journal.store is None:
            return Yield(output, output, patch, looked_at, attempt, usage)
        value, restored = encoded(output, self._gives, "its output")
        if not patch:
            return Yield(output, restored, patch, looked_at, attempt, usage, value)
        state, patch = patch_adapter(run.context_type).encoded(patch)
        return Yield(output, restored, patch, looked_at, attempt, usage, value, state)

    def _checked(self, output: Any) -> Any:
        try:
            return self._validate(output)
        except ValidationError as error:
            found = flaws(error, self._gives)
            raise InvalidValue(f"its output is not a '{type_name(self._gives)}': {found}") from error

    def _patch(self, run: Run, looked_at: State) -> Patch:
        fields = patch_adapter(run.context_type)
        patch = changes(looked_at, run.state, fields.growing)
        return fields.validate(patch) if patch else NO_PATCH

    async def _wait(self, run: Run, error: BaseException, attempt: int, seconds: float) -> None:
        """Records that an attempt failed, and waits until the next one begins."""
        journal = run.journal
        at = now()
        journal.stage(
            AttemptFailed(
                journal.run_id, journal.tenant, journal.next(), at, self.address,
                attempt, told(error), at + seconds, _used(error),
            )
        )  # fmt: skip
        if journal.live:
            await journal.flush()
        await asyncio.sleep(seconds)
        if (thread := run.threads.pop(self.address, None)) is not None:
            await asyncio.wait([thread])
        journal.stage(StepStarted(journal.run_id, journal.tenant, journal.next(), now(), self.address, attempt + 1))
        if journal.live:
            await journal.flush()

    @contextmanager
    def _failing(self, run: Run, attempt: int, started: float) -> Iterator[None]:
        """Ends the step if what hooks made of it is not valid."""
        try:
            yield
        except FAILING as error:
            raise self._failed(run, error, attempt, started) from error

    def _failed(self, run: Run, error: BaseException, attempt: int, started: float) -> StepError:
        """Records that the step failed for good, and gives the error that says so."""
        journal = run.journal
        at = now()
        journal.stage(
            StepFailed(
                journal.run_id, journal.tenant, journal.next(), at, self.address,
                attempt, told(error), at - started, _used(error),
            )
        )  # fmt: skip
        tries = f" after {attempt} attempts" if attempt > 1 else ""
        failure = _kind(error)(f"step '{self.address}' failed{tries}: {told(error)}")
        failure.address = self.address
        return failure


def _kind(error: BaseException) -> type[StepError]:
    """The class of the error that says that a step failed: that of the cause, if a message is all that it takes."""
    plain = (k for k in type(error).__mro__ if issubclass(k, StepError) and k.__init__ is StepError.__init__)
    return next(plain, StepError)


def _used(error: BaseException) -> Usage | None:
    """What an agent used in an attempt that failed."""
    return error.usage if isinstance(error, StepError) else None


def told(error: BaseException) -> ErrorInfo:
    """What may be told of an error: the text of Flujo's own, of others only the type, as their text may hold values."""
    return ErrorInfo(type(error).__name__, str(error) if isinstance(error, FlujoError) else "")
