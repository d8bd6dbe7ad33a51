"""One execution of a leaf: its attempts, its cache, its fallback, and what there is to commit in the end."""

from __future__ import annotations

import asyncio
from collections import ChainMap
from collections.abc import Awaitable, Callable, Mapping
from inspect import isawaitable
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from flujo_core.engine.action import Turn
from flujo_core.engine.again import changed_by, failure_again, patch_of
from flujo_core.engine.cached import Entry, NodeCache
from flujo_core.engine.calls import Calls, pause_of, question_again
from flujo_core.engine.channel import Inlet
from flujo_core.engine.decide import decide
from flujo_core.engine.failure import FAILING, PASSING, Stopped, failed, fallen, told
from flujo_core.engine.frame import Frame, Parts, changed_fields, owned, run_all
from flujo_core.engine.journal import EMPTY, NULL, now
from flujo_core.engine.pieces import Pieces
from flujo_core.engine.plan import Plan, Yield
from flujo_core.engine.question import Answered, Asking, answer_type, kept
from flujo_core.engine.resumption import Again
from flujo_core.errors import (
    IncompatiblePipeline,
    InvalidValue,
    OutputRejected,
    Poisoned,
    QuestionExpired,
    StepError,
    StepTimeout,
)
from flujo_core.hooks.call import StepCall
from flujo_core.model.agent import CallLog, CallsDiffer, Deferred, Usage
from flujo_core.model.check import type_name
from flujo_core.model.draft import State, draft, touched
from flujo_core.model.event import AttemptFailed, OutputSource, StepStarted
from flujo_core.model.flow import FALLBACK, encoded_name
from flujo_core.model.outcome import Stop
from flujo_core.model.patch import NO_PATCH, Patch, apply, changes, patch_adapter
from flujo_core.model.policy import chance
from flujo_core.model.rename import plain_address
from flujo_core.model.value import adapter, encoded, flaws


class Execution:
    """One execution of a leaf.

    Attributes:
        plan: The leaf.
        frame: The scope that it runs in.
        address: Its address.
        value: Its input.
        started: When it began, in seconds since the epoch.
        given: Its input as it came, which hooks may have changed.
        again: Where it goes on, if it has begun before.
        pieces: Where the pieces of its output go, if it streams.
        call: The call, as hooks know it, where there are hooks.
    """

    __slots__ = ("address", "again", "call", "frame", "given", "pieces", "plan", "run", "started", "value")

    def __init__(self, plan: Plan, frame: Frame, address: str, value: Any, started: float) -> None:
        self.plan = plan
        self.frame = frame
        self.run = frame.run
        self.address = address
        self.value = self.given = value
        self.started = started
        self.again: Again | None = None
        self.call: StepCall | None = None
        self.pieces = None if plan.item is None else Pieces(self)

    async def result(self) -> Yield:
        """What there is to commit, where no hooks have a say and nothing is recorded.

        Raises:
            StepError: The step failed.
            Stopped: It ends the run.
            Asking: It waits for people.
        """
        if self.plan.cache is None and self.plan.fallback is None:
            return await self.attempts({})
        return await self.result_of(lambda: self.attempts({}), {})

    async def result_of(self, attempts: Callable[[], Awaitable[Yield]], looked_at: State) -> Yield:
        """What the cache has, or ``attempts`` come to, or the fallback makes.

        Args:
            attempts: Makes the attempts.
            looked_at: The context's fields that hooks have looked at or set before.

        Raises:
            StepError: The step failed.
            Stopped: It ends the run.
        """
        if (failure := self._fallen_before()) is not None and self.plan.fallback is not None:
            return await self._stand_in(self.plan.fallback, failure, looked_at, recorded=True)
        key = None
        if (cache := self.plan.cache) is not None:
            try:
                key = cache.key(self.frame, self.value)
            except FAILING as error:
                raise self.failure(error, 0) from error
            if (entry := await cache.find(self.frame, key)) is not None:
                return self._hit(entry, looked_at)
        try:
            made = await attempts()
        except StepError as failure:
            if self.plan.fallback is None or self.frame.is_over():
                raise
            return await self._stand_in(self.plan.fallback, failure, looked_at)
        if cache is not None and key is not None and made.change is None:  # which an output from the cache has not
            await self._remember(cache, key, made, looked_at)
        return made

    async def attempts(self, looked_at: State, first: int = 1) -> Yield:
        """Attempts until one succeeds or there are to be no more.

        Args:
            looked_at: The context's fields that hooks have looked at or set before.
            first: The number of the first attempt, which has begun.

        Raises:
            StepError: None succeeded.
            Stopped: The step ends the run.
        """
        plan, again = self.plan, self.again
        if self.frame.is_over():
            raise asyncio.CancelledError  # of a hook that has not heeded its cancellation
        attempt, feedback = first, None
        if again is not None and again.attempt >= first:
            attempt, first = again.attempt, max(first, again.since)
            feedback = again.feedback
        if plan.direct is not None and self.run.journal.store is None and not looked_at:
            try:
                output = plan.checked(await plan.direct(self.value))
                # tuple.__new__ takes half the time of a NamedTuple's own, which counts at each step
                whole = (output, output, NO_PATCH, looked_at, attempt, None, NULL, EMPTY, "node", None)
                return tuple.__new__(Yield, whole)
            except PASSING:
                raise
            except FAILING as error:
                raise self.failure(error, attempt) from error
        retry = plan.retry
        is_kept = plan.fallback is not None or (retry is not None and retry.attempts > 1)
        while True:
            try:
                value = owned(self.value, "its input") if is_kept else self.value
                return await self._attempt(value, attempt, looked_at, feedback)
            except PASSING:
                raise
            except CallsDiffer as error:  # what is recorded of the agent's calls is of another conversation
                await self._wait(error, attempt, 0)
            except FAILING as error:
                if retry is None or self.frame.is_over() or not retry.wants(error, attempt - first + 1):
                    raise self.failure(error, attempt) from error
                feedback = error.feedback if isinstance(error, OutputRejected) else None
                await self._wait(error, attempt, retry.wait(attempt - first + 1, chance()))
            attempt += 1

    def made(
        self, output: Any, looked_at: State, attempt: int, usage: Usage | None, source: OutputSource = "node"
    ) -> Yield:
        """What there is to commit, validated, and as it would come back from the journal.

        Raises:
            InvalidValue: The output or a field of the context has a value that does not fit.
        """
        is_whole = self.pieces is None or self.pieces.collects
        output = self.plan.checked(output) if is_whole else None
        patch = self._patch(looked_at) if looked_at else NO_PATCH
        if self.run.journal.store is None:
            return Yield(output, output, patch, looked_at, attempt, usage, source=source)
        value, restored = encoded(output, self.plan.gives, "its output") if is_whole else (NULL, None)
        if not patch:
            return Yield(output, restored, patch, looked_at, attempt, usage, value, source=source)
        state, patch = patch_adapter(self.run.context_type).encoded(patch)
        return Yield(output, restored, patch, looked_at, attempt, usage, value, state, source)

    def remade(
        self, output: Any, looked_at: State, attempt: int, usage: Usage | None, source: OutputSource = "node"
    ) -> Yield:
        """As ``made``, of what a hook, the cache or the fallback gave.

        Raises:
            StepError: It is not valid.
        """
        try:
            return self.made(output, looked_at, attempt, usage, source)
        except FAILING as error:
            failure = self.failure(error, attempt)
            failure.usage = usage
            raise failure from error

    def failure(self, error: BaseException, attempt: int) -> StepError:
        """The error that says that the step failed; raise it from ``error``."""
        return failed(error, self.address, attempt)

    async def begin(self, attempt: int) -> None:
        """Records that an attempt after the first begins, once the thread of the last one has ended."""
        await thread_ended(self.frame, self.address)
        journal = self.run.journal
        journal.stage(StepStarted(journal.run_id, journal.tenant, journal.next(), now(), self.address, attempt))
        if journal.live:
            await journal.flush()

    def record_failed_attempt(
        self, error: BaseException, attempt: int, seconds: float = 0, usage: Usage | None = None
    ) -> None:
        """Records that an attempt failed and that it was not the last word.

        Args:
            error: Why it failed.
            attempt: The attempt's number.
            seconds: In how many seconds the next one begins.
            usage: What its agent used, where the error does not say.
        """
        journal, at = self.run.journal, now()
        used = error.usage if isinstance(error, StepError) and error.usage is not None else usage
        feedback = error.feedback if isinstance(error, OutputRejected) else None
        journal.stage(
            AttemptFailed(
                journal.run_id, journal.tenant, journal.next(), at, self.address,
                attempt, told(error), at + seconds, used, feedback,
            )
        )  # fmt: skip

    def record_spent(self, error: BaseException, attempt: int, usage: Usage | None) -> None:
        """Records what an agent used in an attempt that succeeded and that hooks did not let through: it is spent."""
        if usage is not None:
            self.record_failed_attempt(error, attempt, usage=usage)

    async def _attempt(self, value: Any, attempt: int, looked_at: State, feedback: str | None) -> Yield:
        state, action, context, before = self.frame.state, self.plan.action, None, looked_at
        calls, deferred = self._calls(attempt, looked_at)
        if deferred is not None and self.again is not None and self.again.answered is not None:
            looked_at = looked_at | self.changed_before(self.again.answered)
        if action.needs_context:
            context = draft(self.run.context_type, ChainMap(looked_at, state) if looked_at else state)
        turn = Turn(self.frame, self.address, value, context, attempt, None, feedback, calls=calls, deferred=deferred)
        output, usage = await self._streamed(turn)
        if context is not None:
            looked_at = looked_at | touched(context)
        try:
            if isinstance(output, Deferred):
                raise self._deferred(output)
            output, change = self.plan.split(output)
            if self.plan.validators:
                output = self.plan.checked(output)
                await self._validate(output, ChainMap(looked_at, state))
            made = self.made(output, looked_at, attempt, usage)
            return made if change is None else made._replace(change=change)
        except Asking as asking:
            asking.attempt, asking.usage = attempt, usage
            if before and asking.source == "tool":
                asking.state["before"] = from_json(patch_adapter(self.run.context_type).encoded(self._patch(before))[0])
            raise self.asking(asking, looked_at) from None
        except (InvalidValue, OutputRejected) as error:
            error.usage = usage
            raise

    async def _streamed(self, turn: Turn) -> tuple[Any, Usage | None]:
        """Acts, with what it streams from, and where its pieces go."""
        pieces = self.pieces
        if pieces is None and self.run.streams_text:
            pieces = Pieces(self, collects=False)
        if pieces is not None:
            pieces.begin(turn.attempt)
            turn = turn._replace(pieces=pieces)
        if not isinstance(turn.value, Inlet):
            return await self._act(turn)
        try:
            return await self._act(turn._replace(value=turn.value.channel))
        finally:
            turn.value.channel.leave()

    async def _act(self, turn: Turn) -> tuple[Any, Usage | None]:
        limits = self.plan.limits
        if limits.run is None and limits.idle is None:
            return await self.plan.action.act(turn)
        run, idle = asyncio.timeout(limits.run), asyncio.timeout(limits.idle)
        clock = asyncio.get_running_loop().time

        def alive() -> None:
            assert limits.idle is not None
            idle.reschedule(clock() + limits.idle)

        deadline = None if limits.run is None else now() + limits.run
        try:
            async with run, idle:
                answer = await self.plan.action.act(
                    turn._replace(deadline=deadline, alive=None if limits.idle is None else alive)
                )
            if run.expired() or idle.expired():
                raise TimeoutError  # pragma: no cover - coverage loses a frame that a cancellation resumed
            return answer
        except PASSING:
            raise
        except FAILING as error:
            if run.expired():
                raise StepTimeout(f"it took longer than its timeout of {limits.run:g} s") from error
            if idle.expired():
                raise StepTimeout(f"it gave no sign of life for {limits.idle:g} s") from error
            raise

    async def _validate(self, output: Any, state: Mapping[str, Any]) -> None:
        """Asks the validators.

        Raises:
            OutputRejected: One did not let the output pass.
        """
        for reader in self.plan.validators:
            answer = decide(reader, output, self.frame, may_await=True, state=state)
            feedback = await answer if isawaitable(answer) else answer
            if feedback is None or feedback is True:
                continue
            if not isinstance(feedback, str):
                raise InvalidValue(f"{reader.what} gave {type(feedback).__name__!r}; it gives None, or what is wrong")
            error = OutputRejected(f"{reader.what} did not let its output pass")
            error.feedback = feedback
            raise error

    def _deferred(self, deferred: Deferred) -> Asking:
        """The questions of an agent's tools."""
        asking = Asking("tool", {encoded_name(f"tool.{one.call_id}"): pause_of(one) for one in deferred.questions})
        asking.state = {"messages": deferred.messages.decode()}
        return asking

    def _calls(
        self, attempt: int, looked_at: State
    ) -> tuple[CallLog | None, tuple[Deferred, Mapping[str, Any]] | None]:
        """What is recorded of the agent's calls in an attempt, and what it goes on with behind its questions."""
        again, behind = self.again, None
        if not self.plan.action.has_calls or self.run.journal.store is None:
            calls = None
        else:
            known = again.calls if again is not None and again.attempt == attempt else {}
            calls = Calls(self.run.journal, self.address, attempt, known, patch_adapter(self.run.context_type))
        if again is not None and again.answered is not None and again.answered.source == "tool":
            asked = again.answered.asked
            if asked.attempt == attempt:
                said, responses = again.answered.answers, again.answered.responses
                questions = tuple(question_again(call, responses[call]) for call in said)
                answers = {one.call_id: from_json(answer) for one, answer in zip(questions, said.values(), strict=True)}
                behind = Deferred(questions, asked.state["messages"].encode(), asked.usage), answers
        return calls, behind

    def _patch(self, looked_at: State) -> Patch:
        fields = patch_adapter(self.run.context_type)
        patch = changes(looked_at, self.frame.state, fields.growing)
        return fields.validate(patch) if patch else NO_PATCH

    async def _wait(self, error: BaseException, attempt: int, seconds: float) -> None:
        """Records that an attempt failed, and waits until the next one begins."""
        self.record_failed_attempt(error, attempt, seconds)
        if self.run.journal.live:
            await self.run.journal.flush()
        await asyncio.sleep(seconds)
        await self.begin(attempt + 1)

    def _hit(self, entry: Entry, looked_at: State) -> Yield:
        """What there is to commit of what the cache has."""
        state = {**self.frame.state, **looked_at}
        apply(state, entry.patch)
        changed = {name: state[name] for name in entry.patch}
        return self.remade(entry.output, looked_at | changed, 0, None, "cache")

    async def _remember(self, cache: NodeCache, key: str, made: Yield, looked_at: State) -> None:
        """Keeps what the step itself did, without what hooks had set before."""
        fields = patch_adapter(self.run.context_type)
        patch = changes(made.touched, {**self.frame.state, **looked_at}, fields.growing)
        try:
            await cache.keep(self.frame, key, Entry(made.restored, patch))
        except InvalidValue as error:
            failure = self.failure(error, made.attempt)
            failure.usage = made.usage
            raise failure from error

    def behind_question(self) -> Yield | None:
        """What there is to commit where people have answered the step itself; None where it is to go on.

        Raises:
            StepError: It began too often without coming to anything; nobody answered in time; the answer does not fit.
            Stopped: Nobody answered in time, and the run is to stop then.
        """
        again = self.again
        assert again is not None
        if again.poisoned:
            times = self.run.max_recoveries
            what = f"its process has died {times} times while it ran; look at what it does, then retry it"
            raise self.failure(Poisoned(what), again.attempt)
        if again.lapsed == "stop":
            raise Stopped(Stop(f"nobody answered the question of step '{self.address}' in time"))
        if again.lapsed is not None:
            late = QuestionExpired("nobody answered its question in time")
            raise self.failure(late, again.attempt) from late
        behind = again.answered
        if behind is None or behind.source != "step":
            return None
        hint = answer_type(self.run.journal.run_id, self.plan.gives, behind.asked)
        try:
            output = adapter(hint).validate_json(behind.answers[""], by_alias=False, by_name=True)
        except ValidationError as error:
            what = f"the answer that '{self.address}' was given is no '{type_name(hint)}' ({flaws(error, hint)})"
            remedy = "let its type take that"
            raise IncompatiblePipeline(self.run.journal.run_id, [f"{what}; {remedy}"]) from None
        return self.remade(output, self.changed_before(behind), behind.asked.attempt, behind.asked.usage)

    def changed_before(self, behind: Answered) -> State:
        """The fields that had changed when it asked, with their values."""
        patch = patch_of(self.run.journal.run_id, self.address, behind.patch, self.run.context_type)
        return changed_by(patch, self.frame.state) if patch else {}

    def changed_by_hooks(self, behind: Answered) -> State:
        """The fields that had changed before the attempt that asked, with their values: the next one begins so too."""
        data, run = to_json(behind.asked.state.get("before", {})), self.run
        patch = patch_of(run.journal.run_id, self.address, data, run.context_type)
        return changed_by(patch, self.frame.state) if patch else {}

    def asking(self, asking: Asking, looked_at: State) -> Asking:
        """A question, with what the leaf has changed until then.

        Raises:
            StepError: What it has changed does not fit.
        """
        try:
            patch = self._patch(looked_at) if looked_at else NO_PATCH
            if patch:
                asking.data, asking.patch = patch_adapter(self.run.context_type).encoded(patch)
            if self.value is not self.given:
                asking.state["input"] = kept(self.value, self.plan.takes)
        except FAILING as error:
            raise self.failure(error, asking.attempt) from error
        return asking

    def _fallen_before(self) -> StepError | None:
        """The failure after which the fallback began, before the run was resumed; or None."""
        again, retry = self.again, self.plan.retry
        if again is None or again.failed is None:
            return None
        if not again.fell and retry is not None and again.attempt - again.since < retry.attempts:
            return None
        return failure_again(again.failed.error, self.address, again.failed.attempt)

    async def _stand_in(
        self, fallback: Parts, failure: StepError, looked_at: State, *, recorded: bool = False
    ) -> Yield:
        """What the fallback makes of the input, after the step has failed for good."""
        if not recorded:
            self.record_failed_attempt(failure.__cause__ or failure, failure.attempts)
        frame = self.frame.forked(self.address + FALLBACK)
        try:
            output = await run_all(fallback, frame, self.value)
        except StepError as error:
            raise fallen(failure, error, self.address, failure.attempts) from error
        changed = changed_fields(frame.state, self.frame.state)
        return self.remade(output, looked_at | changed, failure.attempts, None, "fallback")


async def thread_ended(frame: Frame, address: str) -> None:
    """Waits for a thread that an earlier attempt has left at work."""
    threads, known = frame.run.threads, plain_address(address)
    if (thread := threads.get(known)) is not None:
        await asyncio.wait([thread])
        threads.pop(known, None)  # now, and not before: who waits for it may be cut off
