"""The attempts of one leaf: draft, run, validate; and again, if it failed and its policy says so."""

from __future__ import annotations

import asyncio
from collections import ChainMap
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pydantic import ValidationError

from flujo_core.engine.action import Surroundings, Turn, action_of, direct_call
from flujo_core.engine.journal import EMPTY, NULL, now
from flujo_core.errors import FlujoError, InvalidValue, PluginError, StepError, StepTimeout
from flujo_core.hooks.dispatch import Hooks
from flujo_core.hooks.watchdog import Watch
from flujo_core.model.agent import Usage
from flujo_core.model.check import type_name
from flujo_core.model.draft import State, draft, own, touched
from flujo_core.model.event import AttemptFailed, ErrorInfo, StepStarted
from flujo_core.model.outcome import Stop, Veto
from flujo_core.model.patch import NO_PATCH, Patch, changes, patch_adapter
from flujo_core.model.policy import NO_POLICY, chance
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
        pipeline: The name of the pipeline.
        bare: Whether nothing but the list of its events follows the run: no hooks on steps, no store, no stream.
        hooked: Whether a hook is called at each step.
        watch: What the watchdog sees of the task that calls the hooks.
    """

    pipeline: str
    bare: bool
    hooked: bool
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


class Attempts:
    """The attempts of a step: what can be worked out before a run is worked out here.

    Args:
        step: The step; an agent that it names is resolved.
        address: Its address.
    """

    __slots__ = ("_action", "_gives", "_retry", "_timeout", "_validate", "address", "direct", "model", "name", "takes")

    def __init__(self, step: Step[Any, Any], address: str) -> None:
        self.address = address
        self.name = step.name
        self.takes = step.takes
        self.direct = direct_call(step) if step.policies == NO_POLICY else None
        self._retry = step.policies.retry
        self._timeout = step.policies.timeout
        self._gives = step.gives
        self._validate = adapter(step.gives).validator.validate_python
        self._action = action_of(step, address)
        self.model = self._action.model

    async def run(self, run: Run, value: Any, looked_at: State, first: int = 1) -> Yield:
        """Attempts until one succeeds or there are to be no more.

        Args:
            run: The run.
            value: The step's input.
            looked_at: The context's fields that hooks have looked at or set before.
            first: The number of the first attempt, which has begun.

        Raises:
            StepError: None succeeded.
            Stopped: The step ends the run.
        """
        if self.direct is not None and run.journal.store is None and not looked_at:
            try:
                output = self.checked(await self.direct(value))
                # tuple.__new__ takes half the time of a NamedTuple's own, which counts at each step
                return tuple.__new__(Yield, (output, output, NO_PATCH, looked_at, first, None, NULL, EMPTY))
            except PASSING:
                raise
            except FAILING as error:
                raise self.failure(error, first) from error
        attempt = first
        while True:
            try:
                again = self._retry is not None and self._retry.attempts > 1
                return await self._attempt(run, self.own_input(value) if again else value, attempt, looked_at)
            except PASSING:
                raise
            except FAILING as error:
                if self._retry is None or not self._retry.wants(error, attempt - first + 1):
                    raise self.failure(error, attempt) from error
                await self._wait(run, error, attempt, self._retry.wait(attempt - first + 1, chance()))
            attempt += 1

    def checked(self, output: Any) -> Any:
        """An output, validated.

        Raises:
            Stopped: It is a Stop.
            InvalidValue: It does not fit.
        """
        if isinstance(output, Stop):
            raise Stopped(output)
        try:
            return self._validate(output)
        except ValidationError as error:
            found = flaws(error, self._gives)
            raise InvalidValue(f"its output is not a '{type_name(self._gives)}': {found}") from error

    def made(self, run: Run, output: Any, looked_at: State, attempt: int, usage: Usage | None) -> Yield:
        """What there is to commit, validated, and as it would come back from the journal.

        Raises:
            InvalidValue: The output or a field of the context has a value that does not fit.
        """
        output = self.checked(output)
        patch = self._patch(run, looked_at) if looked_at else NO_PATCH
        if run.journal.store is None:
            return Yield(output, output, patch, looked_at, attempt, usage)
        value, restored = encoded(output, self._gives, "its output")
        if not patch:
            return Yield(output, restored, patch, looked_at, attempt, usage, value)
        state, patch = patch_adapter(run.context_type).encoded(patch)
        return Yield(output, restored, patch, looked_at, attempt, usage, value, state)

    def failure(self, error: BaseException, attempt: int) -> StepError:
        """The error that says that the step failed; raise it from ``error``."""
        tries = f" after {attempt} attempts" if attempt > 1 else ""
        failure = _kind(error)(f"step '{self.address}' failed{tries}: {told(error)}")
        failure.address = self.address
        failure.attempts = attempt
        failure.usage = error.usage if isinstance(error, StepError) else None
        return failure

    def own_input(self, value: Any) -> Any:
        """A copy of the input for an attempt after which there may be another one.

        Raises:
            InvalidValue: It cannot be copied.
        """
        try:
            return own(value)
        except Exception as error:
            raise InvalidValue("its input cannot be copied, as a step that may be tried again needs it") from error

    async def _attempt(self, run: Run, value: Any, attempt: int, looked_at: State) -> Yield:
        context = None
        if self._action.needs_context:
            context = draft(run.context_type, ChainMap(looked_at, run.state) if looked_at else run.state)
        if self._timeout is None:
            output, usage = await self._action.act(Turn(run, value, context, attempt, None))
        else:
            output, usage = await self._act_within(self._timeout, run, value, context, attempt)
        if context is not None:
            looked_at = looked_at | touched(context)
        try:
            return self.made(run, output, looked_at, attempt, usage)
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

    def _patch(self, run: Run, looked_at: State) -> Patch:
        fields = patch_adapter(run.context_type)
        patch = changes(looked_at, run.state, fields.growing)
        return fields.validate(patch) if patch else NO_PATCH

    async def _wait(self, run: Run, error: BaseException, attempt: int, seconds: float) -> None:
        """Records that an attempt failed, and waits until the next one begins."""
        record_failed_attempt(run, self.address, error, attempt, seconds)
        if run.journal.live:
            await run.journal.flush()
        await asyncio.sleep(seconds)
        await self.begin(run, attempt + 1)

    async def begin(self, run: Run, attempt: int) -> None:
        """Records that an attempt after the first begins, once the thread of the last one has ended."""
        if (thread := run.threads.pop(self.address, None)) is not None:
            await asyncio.wait([thread])
        journal = run.journal
        journal.stage(StepStarted(journal.run_id, journal.tenant, journal.next(), now(), self.address, attempt))
        if journal.live:
            await journal.flush()


def record_failed_attempt(run: Run, address: str, error: BaseException, attempt: int, seconds: float) -> None:
    """Records that an attempt failed and that it was not the last word.

    Args:
        run: The run.
        address: The step's address.
        error: Why it failed.
        attempt: The attempt's number.
        seconds: In how many seconds the next one begins.
    """
    journal, at = run.journal, now()
    usage = error.usage if isinstance(error, StepError) else None
    journal.stage(
        AttemptFailed(
            journal.run_id, journal.tenant, journal.next(), at, address, attempt, told(error), at + seconds, usage
        )
    )


def record_spent(run: Run, address: str, error: BaseException, attempt: int, usage: Usage | None) -> None:
    """Records what an agent used in an attempt that succeeded and that hooks did not let through: spent is spent."""
    if usage is not None:
        journal, at = run.journal, now()
        journal.stage(
            AttemptFailed(
                journal.run_id, journal.tenant, journal.next(), at, address, attempt, told(error), at, usage
            )
        )  # fmt: skip


def _kind(error: BaseException) -> type[StepError]:
    """The class of the error that says that a step failed: that of the cause, if a message is all that it takes."""
    plain = (k for k in type(error).__mro__ if issubclass(k, StepError) and k.__init__ is StepError.__init__)
    return next(plain, StepError)


def told(error: BaseException) -> ErrorInfo:
    """What may be told of an error: the text of Flujo's own, of others only the type, as their text may hold values."""
    return ErrorInfo(type(error).__name__, str(error) if isinstance(error, FlujoError) else "")
