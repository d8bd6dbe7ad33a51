"""A node in which others run: its start, its attempts, and its one join, or its failure."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, NamedTuple

from flujo_core.engine.again import failure_again, failure_of, output_later, recorded_patch
from flujo_core.engine.cached import Entry, NodeCache
from flujo_core.engine.failure import FAILING, PASSING, failed, fallen, told
from flujo_core.engine.frame import Closing, Frame, Parts, changed_fields, owned, run_all
from flujo_core.engine.journal import EMPTY, NULL, now
from flujo_core.engine.later import given
from flujo_core.engine.past import AttemptPast, Edge, NodePast
from flujo_core.errors import StepError, StepTimeout
from flujo_core.model.contexts import attempt_path
from flujo_core.model.draft import State
from flujo_core.model.event import AttemptFailed, NodeCompleted, NodeFailed, NodeKind, NodeStarted, OutputSource
from flujo_core.model.flow import FALLBACK, Node, encoded_name
from flujo_core.model.patch import NO_PATCH, Patch, apply, changes, patch_adapter
from flujo_core.model.policy import chance
from flujo_core.model.value import encoded
from flujo_core.store.codec import decode
from flujo_core.store.protocol import Record

NOTHING: State = {}
"""What is changed where nothing is; never changed itself."""


class Join(NamedTuple):
    """What a node comes to.

    Attributes:
        output: Its output.
        changed: The fields that it changes in the context of the scope that it runs in, with their values.
        source: What the output is of.
    """

    output: Any
    changed: State = NOTHING
    source: OutputSource = "node"


class Visit:
    """One execution of a node in which others run.

    Attributes:
        frame: The scope that it runs in.
        address: Its address.
        attempt: The number of its latest attempt, from 1.
        started: When it began, in seconds since the epoch.
        past: What is known of it from before the run was resumed, or None.
    """

    __slots__ = ("address", "attempt", "frame", "past", "started")

    def __init__(self, frame: Frame, address: str, past: NodePast | None = None) -> None:
        self.frame = frame
        self.address = address
        self.attempt = 1
        self.started = now() if past is None else past.started
        self.past = past

    def attempt_past(self) -> AttemptPast | None:
        """What is known of its present attempt from before the run was resumed, or None."""
        return None if self.past is None else self.past.attempts.get(self.attempt)

    def placed(self, error: BaseException) -> StepError:
        """The error that says what failed, and where: ``error`` itself, if it says so, as that of a step does."""
        if isinstance(error, StepError) and error.address is not None:
            return error
        failure = failed(error, self.address)
        failure.__cause__ = error
        return failure

    def patch(self, join: Join) -> tuple[Patch, bytes]:
        """What a join changes in the context around, as it comes back from the journal, and as bytes.

        Raises:
            InvalidValue: A value does not fit its field.
        """
        if not join.changed:
            return NO_PATCH, EMPTY
        fields = patch_adapter(self.frame.run.context_type)
        patch = fields.validate(changes(join.changed, self.frame.state, fields.growing))
        if self.frame.run.journal.store is None or not patch:
            return patch, EMPTY
        data, restored = fields.encoded(patch)
        return restored, data

    def complete(self, join: Join, patch: Patch, state: bytes, value: bytes) -> None:
        """Records the join, and applies it to the context of the scope."""
        journal, ended = self.frame.run.journal, now()
        attempt, kept = (0, join.output) if join.source == "cache" else (self.attempt, None)
        head = journal.head(self.address, ended)
        event = NodeCompleted(*head, attempt, patch, ended - self.started, join.source, kept)
        journal.stage(event, value, state)
        if patch:
            apply(self.frame.state, patch)

    def record_failed_attempt(self, failure: StepError, seconds: float = 0) -> None:
        """Records that an attempt failed and that it was not the last word."""
        journal, at = self.frame.run.journal, now()
        journal.stage(AttemptFailed(*journal.head(self.address, at), self.attempt, told(failure), at + seconds))
        journal.withdraw(attempt_path(self.address, self.attempt))

    def record_failure(self, failure: StepError) -> None:
        """Records that the node failed for good."""
        journal, at = self.frame.run.journal, now()
        journal.stage(NodeFailed(*journal.head(self.address, at), self.attempt, told(failure), at - self.started))
        journal.withdraw(self.address)


class Late:
    """Tells that nothing more is to begin in an attempt when its time is over.

    Args:
        limit: The attempt's timeout.
        around: What tells so of the scope around, or None.
    """

    def __init__(self, limit: asyncio.Timeout, around: Closing | None) -> None:
        self._limit = limit
        self._around = around

    @property
    def is_closed(self) -> bool:
        """Whether nothing more is to begin."""
        return self._limit.expired() or (self._around is not None and self._around.is_closed)


class Attempt(NamedTuple):
    """One attempt of a node, while it runs.

    Attributes:
        frame: The scope that it runs in.
        address: The node's address.
        number: The attempt's number, from 1.
        path: What the addresses of its scopes begin with.
        apart: Whether it has a context of its own.
        past: What is known of it from before the run was resumed, or None.
        is_over: Whether it has ended before: what it changed is recorded.
    """

    frame: Frame
    address: str
    number: int
    path: str
    apart: bool
    past: AttemptPast | None = None
    is_over: bool = False


class Block:
    """A node in which others run, ready to run; subclasses say how.

    Args:
        node: The node.
        static: Its address as ``walk`` gives it.
        keeps: Whether steps name its output.
        fallback: What runs when it has failed for good, or None.
        cache: Its cache, or None.
        is_own: Whether it is of the pipeline, and was not put in by a run.
    """

    kind: ClassVar[NodeKind]

    def __init__(
        self,
        node: Node[Any, Any],
        static: str = "",
        *,
        keeps: bool,
        fallback: Parts | None = None,
        cache: NodeCache | None = None,
        is_own: bool = True,
    ) -> None:
        self._is_own = is_own
        self.name = node.label
        self._static = static
        self._segment = encoded_name(node.label)
        self._gives = node.gives
        self._keeps = keeps
        self._policies = node.policies
        self._is_plain = not node.policies.guards
        self._fallback = fallback
        self._cache = cache

    async def inside(self, attempt: Attempt, value: Any, /) -> Join:
        """Runs what is in it, once.

        Raises:
            StepError: It failed.
            Exception: A predicate, key or source raised.
        """
        raise NotImplementedError

    async def run(self, frame: Frame, value: Any, /) -> Any:
        """Runs the node in a scope, and merges what it changed into the scope's context.

        Raises:
            StepError: It failed.
            Veto: A hook refused the run.
            PluginError: A hook failed.
            Stopped: A step or a hook ends the run.
        """
        visit, data = Visit(frame, frame.prefix + self._segment), NULL
        if frame.run.edge is not None:
            past = await self._known(frame.run.edge, visit.address)
            if past is not None and past.outcome is not None:
                return await self._recorded(frame, past, past.outcome, value)
            visit = Visit(frame, visit.address, past)
        try:
            if self._is_plain:
                past_attempt = None if visit.past is None else visit.attempt_past()
                join = await self.inside(Attempt(frame, visit.address, 1, visit.address, False, past_attempt), value)
            else:
                join = await self._guarded(visit, value)
            patch, state = visit.patch(join)
            if join.source == "cache" and frame.run.journal.store is not None:
                data, _ = encoded(join.output, self._gives, "its output")
        except PASSING:
            raise
        except FAILING as error:
            failure = visit.placed(error)
            visit.record_failure(failure)
            if frame.run.edge is not None:
                frame.run.edge.seal(visit.address)
            raise failure from failure.__cause__
        visit.complete(join, patch, state, data)
        if self._keeps:
            frame.keep(self.name, join.output)
        return join.output

    def open(self, attempt: Attempt, scopes: tuple[str, ...] = ()) -> None:
        """Records that an attempt began, unless it is recorded, and which scopes in it have contexts of their own."""
        if attempt.past is None:
            journal = attempt.frame.run.journal
            head = journal.head(attempt.address, now())
            journal.stage(NodeStarted(*head, attempt.number, self.kind, attempt.apart, scopes))

    async def _known(self, edge: Edge, address: str) -> NodePast | None:
        """What is known of it from before the run was resumed; if nothing is, waits at the edge."""
        past = edge.node(address)
        if past is None:
            await edge.reach()
        else:
            edge.seal_before(address, past.attempt)
        return past

    async def _recorded(self, frame: Frame, past: NodePast, outcome: Record, value: Any) -> Any:
        """What the journal has of a node that was completed, or has failed: nothing is called.

        Raises:
            StepError: It has failed.
            IncompatiblePipeline: What is recorded does not fit any more.
        """
        run, address = frame.run, frame.prefix + self._segment
        assert run.edge is not None
        if outcome.outcome == "failed":
            run.edge.seal(address)
            raise failure_of(outcome)
        patch = recorded_patch(outcome.run_id, outcome, run.context_type)
        event = decode(outcome)
        assert isinstance(event, NodeCompleted)
        if event.source == "cache":
            migrate = run.migrations.of(self._static, outcome.sequence) if self._is_own else None
            output = output_later(outcome.run_id, outcome, self._gives, migrate)
        elif event.source == "fallback" and self._fallback is not None:
            run.edge.seal_before(address, past.attempt + 1)
            output = await run_all(self._fallback, frame.forked(address + FALLBACK), value)
        else:
            output = await self._inside_again(frame, address, past, value)
        if patch:
            apply(frame.state, patch)
        if self._keeps:
            frame.keep(self.name, output)
        return output

    async def _inside_again(self, frame: Frame, address: str, past: NodePast, value: Any) -> Any:
        """The output of its last attempt, of what is recorded of that."""
        known, apart = past.attempts.get(past.attempt), not self._is_plain
        inside = frame.apart() if apart else frame
        path = attempt_path(address, past.attempt) if apart else address
        join = await self.inside(Attempt(inside, address, past.attempt, path, apart, known, True), value)
        frame.inner = inside.inner
        return join.output

    async def _guarded(self, visit: Visit, value: Any) -> Join:
        """Runs it with its policies: what the cache has, or attempts come to, or the fallback makes."""
        if self._cache is None:
            return await self._attempts(visit, value)
        value = given(value)
        key = self._cache.key(visit.frame, value)
        entry = None if visit.past is not None else await self._cache.find(visit.frame, key)
        if entry is not None:
            state = dict(visit.frame.state)
            apply(state, entry.patch)
            return Join(entry.output, {name: state[name] for name in entry.patch}, "cache")
        join = await self._attempts(visit, value)
        if join.source == "node":
            patch, _ = visit.patch(join)
            await self._cache.keep(visit.frame, key, Entry(given(join.output), patch))
        return join

    async def _attempts(self, visit: Visit, value: Any) -> Join:
        """Attempts until one succeeds or there are to be no more; then the fallback."""
        retry, journal, before = self._policies.retry, visit.frame.run.journal, 0
        if visit.past is not None:
            before = visit.past.since - 1
            visit.attempt, fallen_before = await self._again(visit, visit.past)
            if fallen_before is not None and self._fallback is not None:
                return await self._stand_in(self._fallback, visit, fallen_before, value)
        own = owned(value, "its input")  # if that fails, nothing has begun
        while True:
            try:
                return await self._attempt(visit, own)
            except StepError as failure:
                tried = visit.attempt - before
                if retry is None or visit.frame.is_over() or not retry.wants(failure, tried):
                    if self._fallback is None or visit.frame.is_over():
                        raise
                    visit.record_failed_attempt(failure)
                    return await self._stand_in(self._fallback, visit, failure, value)
                seconds = retry.wait(tried, chance())
                visit.record_failed_attempt(failure, seconds)
            if journal.live:
                await journal.flush()
            await asyncio.sleep(seconds)
            visit.attempt += 1
            own = owned(value, "its input")

    async def _again(self, visit: Visit, past: NodePast) -> tuple[int, StepError | None]:
        """The number of the attempt that it goes on with; or the failure after which its fallback has begun."""
        edge, failed, retry = visit.frame.run.edge, past.failed, self._policies.retry
        assert edge is not None
        if failed is None or failed.attempt < past.attempt:
            return max(past.attempt, 1), None
        edge.seal_before(visit.address, past.attempt + 1)
        failure = failure_again(failed.error, visit.address, failed.attempt)
        fell = edge.has_begun(visit.address + FALLBACK)
        if fell or retry is None or failed.attempt - past.since + 1 >= retry.attempts:
            visit.attempt = failed.attempt
            return failed.attempt, failure
        await edge.reach()
        await asyncio.sleep(max(0, failed.retry_at - now()))
        return failed.attempt + 1, None

    async def _attempt(self, visit: Visit, value: Any) -> Join:
        """One attempt, in a context of its own and within its timeout."""
        inside, seconds = visit.frame.apart(), self._policies.limits.run
        path = attempt_path(visit.address, visit.attempt)
        limit = asyncio.timeout(seconds)
        inside.closing = Late(limit, inside.closing)
        try:
            async with limit:
                attempt = Attempt(inside, visit.address, visit.attempt, path, True, visit.attempt_past())
                join = await self.inside(attempt, value)
            if limit.expired():
                raise TimeoutError  # pragma: no cover - coverage loses a frame that a cancellation resumed
        except PASSING:
            raise
        except FAILING as error:
            late = StepTimeout(f"it took longer than its timeout of {seconds:g} s") if limit.expired() else error
            failure = visit.placed(late)
            if (edge := visit.frame.run.edge) is not None:
                edge.seal(visit.address, visit.attempt)
            raise failure from failure.__cause__
        finally:
            inside.watch.take_back()
        visit.frame.inner = inside.inner
        inside.state.update(join.changed)
        return Join(join.output, changed_fields(inside.state, visit.frame.state))

    async def _stand_in(self, fallback: Parts, visit: Visit, failure: StepError, value: Any) -> Join:
        """What the fallback makes of the input, after the node has failed for good."""
        inside = visit.frame.forked(visit.address + FALLBACK)
        try:
            output = await run_all(fallback, inside, owned(value, "its input"))
        except StepError as error:
            raise fallen(failure, error, visit.address, visit.attempt) from error
        return Join(output, changed_fields(inside.state, visit.frame.state), "fallback")
