"""A node in which others run: its start, its attempts, and its one join, or its failure."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, NamedTuple

from flujo_core.engine.cached import Entry, NodeCache
from flujo_core.engine.failure import FAILING, PASSING, failed, fallen, told
from flujo_core.engine.frame import Closing, Frame, Parts, changed_fields, owned, run_all
from flujo_core.engine.journal import EMPTY, NULL, now
from flujo_core.errors import StepError, StepTimeout
from flujo_core.model.contexts import attempt_path
from flujo_core.model.draft import State
from flujo_core.model.event import AttemptFailed, NodeCompleted, NodeFailed, NodeKind, NodeStarted, OutputSource
from flujo_core.model.flow import FALLBACK, Node, encoded_name
from flujo_core.model.patch import NO_PATCH, Patch, apply, changes, patch_adapter
from flujo_core.model.policy import NO_POLICY, chance
from flujo_core.model.value import encoded

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
    """

    __slots__ = ("address", "attempt", "frame", "started")

    def __init__(self, frame: Frame, address: str) -> None:
        self.frame = frame
        self.address = address
        self.attempt = 1
        self.started = now()

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
        head = (journal.run_id, journal.tenant, journal.next(), ended, self.address)
        event = NodeCompleted(*head, attempt, patch, ended - self.started, join.source, kept)
        journal.stage(event, value, state)
        if patch:
            apply(self.frame.state, patch)

    def record_failed_attempt(self, failure: StepError, seconds: float = 0) -> None:
        """Records that an attempt failed and that it was not the last word."""
        journal, at = self.frame.run.journal, now()
        head = (journal.run_id, journal.tenant, journal.next(), at, self.address)
        journal.stage(AttemptFailed(*head, self.attempt, told(failure), at + seconds))

    def record_failure(self, failure: StepError) -> None:
        """Records that the node failed for good."""
        journal, at = self.frame.run.journal, now()
        head = (journal.run_id, journal.tenant, journal.next(), at, self.address)
        journal.stage(NodeFailed(*head, self.attempt, told(failure), at - self.started))


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
    """

    frame: Frame
    address: str
    number: int
    path: str
    apart: bool


class Block:
    """A node in which others run, ready to run; subclasses say how.

    Args:
        node: The node.
        keeps: Whether steps name its output.
        fallback: What runs when it has failed for good, or None.
        cache: Its cache, or None.
    """

    kind: ClassVar[NodeKind]

    def __init__(
        self, node: Node[Any, Any], *, keeps: bool, fallback: Parts | None = None, cache: NodeCache | None = None
    ) -> None:
        self.name = node.label
        self._segment = encoded_name(node.label)
        self._gives = node.gives
        self._keeps = keeps
        self._policies = node.policies
        self._is_plain = node.policies == NO_POLICY
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
        try:
            if self._is_plain:
                join = await self.inside(Attempt(frame, visit.address, 1, visit.address, False), value)
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
            raise failure from failure.__cause__
        visit.complete(join, patch, state, data)
        if self._keeps:
            frame.keep(self.name, join.output)
        return join.output

    def open(self, attempt: Attempt, scopes: tuple[str, ...] = ()) -> None:
        """Records that an attempt began, and which scopes in it have contexts of their own."""
        journal = attempt.frame.run.journal
        head = (journal.run_id, journal.tenant, journal.next(), now(), attempt.address)
        journal.stage(NodeStarted(*head, attempt.number, self.kind, attempt.apart, scopes))

    async def _guarded(self, visit: Visit, value: Any) -> Join:
        """Runs it with its policies: what the cache has, or attempts come to, or the fallback makes."""
        if self._cache is None:
            return await self._attempts(visit, value)
        key = self._cache.key(visit.frame, value)
        entry = await self._cache.find(visit.frame, key)
        if entry is not None:
            state = dict(visit.frame.state)
            apply(state, entry.patch)
            return Join(entry.output, {name: state[name] for name in entry.patch}, "cache")
        join = await self._attempts(visit, value)
        if join.source == "node":
            patch, _ = visit.patch(join)
            await self._cache.keep(visit.frame, key, Entry(join.output, patch))
        return join

    async def _attempts(self, visit: Visit, value: Any) -> Join:
        """Attempts until one succeeds or there are to be no more; then the fallback."""
        retry, journal = self._policies.retry, visit.frame.run.journal
        given = owned(value, "its input")  # if that fails, nothing has begun
        while True:
            try:
                return await self._attempt(visit, given)
            except StepError as failure:
                if retry is None or visit.frame.is_over() or not retry.wants(failure, visit.attempt):
                    if self._fallback is None or visit.frame.is_over():
                        raise
                    return await self._stand_in(self._fallback, visit, failure, value)
                seconds = retry.wait(visit.attempt, chance())
                visit.record_failed_attempt(failure, seconds)
            if journal.live:
                await journal.flush()
            await asyncio.sleep(seconds)
            visit.attempt += 1
            given = owned(value, "its input")

    async def _attempt(self, visit: Visit, value: Any) -> Join:
        """One attempt, in a context of its own and within its timeout."""
        inside, seconds = visit.frame.apart(), self._policies.limits.run
        path = attempt_path(visit.address, visit.attempt)
        limit = asyncio.timeout(seconds)
        inside.closing = Late(limit, inside.closing)
        try:
            async with limit:
                join = await self.inside(Attempt(inside, visit.address, visit.attempt, path, True), value)
            if limit.expired():
                raise TimeoutError  # pragma: no cover - coverage loses a frame that a cancellation resumed
        except PASSING:
            raise
        except FAILING as error:
            late = StepTimeout(f"it took longer than its timeout of {seconds:g} s") if limit.expired() else error
            failure = visit.placed(late)
            raise failure from failure.__cause__
        finally:
            inside.watch.take_back()
        visit.frame.inner = inside.inner
        inside.state.update(join.changed)
        return Join(join.output, changed_fields(inside.state, visit.frame.state))

    async def _stand_in(self, fallback: Parts, visit: Visit, failure: StepError, value: Any) -> Join:
        """What the fallback makes of the input, after the node has failed for good."""
        visit.record_failed_attempt(failure)
        inside = visit.frame.forked(visit.address + FALLBACK)
        try:
            output = await run_all(fallback, inside, owned(value, "its input"))
        except StepError as error:
            raise fallen(failure, error, visit.address, visit.attempt) from error
        return Join(output, changed_fields(inside.state, visit.frame.state), "fallback")
