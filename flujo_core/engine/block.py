"""A node in which others run: its start, its attempts, and its one join, or its failure."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, NamedTuple

from flujo_core.engine.cached import Entry, NodeCache
from flujo_core.engine.failure import FAILING, PASSING, failed, told
from flujo_core.engine.frame import Frame, Parts, changed_fields, owned, run_all
from flujo_core.engine.journal import EMPTY, NULL, now
from flujo_core.errors import InvalidValue, StepError, StepTimeout
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
        attempt: The number of the attempt that gave it; 0 if it was cached.
        source: What the output is of.
    """

    output: Any
    changed: State = NOTHING
    attempt: int = 1
    source: OutputSource = "node"


class Visit:
    """One execution of a node in which others run.

    Attributes:
        frame: The scope that it runs in.
        address: Its address.
        started: When it began, in seconds since the epoch.
    """

    __slots__ = ("address", "frame", "started")

    def __init__(self, frame: Frame, address: str) -> None:
        self.frame = frame
        self.address = address
        self.started = now()

    def failure(self, error: BaseException, attempt: int) -> StepError:
        """The error that says that the node failed; raise it from ``error``."""
        return failed(error, self.address, attempt)

    def patch(self, join: Join) -> tuple[Patch, bytes]:
        """What a join changes in the context around, as it comes back from the journal, and as bytes.

        Raises:
            StepError: A value does not fit its field.
        """
        if not join.changed:
            return NO_PATCH, EMPTY
        fields = patch_adapter(self.frame.run.context_type)
        try:
            patch = fields.validate(changes(join.changed, self.frame.state, fields.growing))
            if self.frame.run.journal.store is None or not patch:
                return patch, EMPTY
            data, restored = fields.encoded(patch)
        except InvalidValue as error:
            raise self.failure(error, join.attempt) from error
        return restored, data

    def complete(self, join: Join, patch: Patch, state: bytes, value: bytes = NULL) -> None:
        """Records the join, and applies it to the context of the scope."""
        journal, ended = self.frame.run.journal, now()
        kept = join.output if join.source == "cache" else None
        event = NodeCompleted(
            journal.run_id, journal.tenant, journal.next(), ended, self.address,
            join.attempt, patch, ended - self.started, join.source, kept,
        )  # fmt: skip
        journal.stage(event, value, state)
        if patch:
            apply(self.frame.state, patch)

    def record_failed_attempt(self, failure: StepError, attempt: int, seconds: float) -> None:
        """Records that an attempt failed and that it was not the last word."""
        journal, at = self.frame.run.journal, now()
        head = (journal.run_id, journal.tenant, journal.next(), at, self.address)
        journal.stage(AttemptFailed(*head, attempt, told(failure), at + seconds))

    def record_failure(self, failure: StepError, attempt: int) -> None:
        """Records that the node failed for good."""
        journal, at = self.frame.run.journal, now()
        head = (journal.run_id, journal.tenant, journal.next(), at, self.address)
        journal.stage(NodeFailed(*head, attempt, told(failure), at - self.started))


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
        visit = Visit(frame, frame.prefix + self._segment)
        if self._is_plain:
            try:
                join = await self._tried(Attempt(frame, visit.address, 1, visit.address, False), value)
                patch, state = visit.patch(join)
            except StepError as failure:
                visit.record_failure(failure, 1)
                raise
            visit.complete(join, patch, state)
            output = join.output
        else:
            output = await self._guarded(visit, value)
        if self._keeps:
            frame.keep(self.name, output)
        return output

    def open(self, attempt: Attempt, scopes: tuple[str, ...] = ()) -> None:
        """Records that an attempt began, and which scopes in it have contexts of their own."""
        journal = attempt.frame.run.journal
        head = (journal.run_id, journal.tenant, journal.next(), now(), attempt.address)
        journal.stage(NodeStarted(*head, attempt.number, self.kind, attempt.apart, scopes))

    async def _tried(self, attempt: Attempt, value: Any) -> Join:
        """One attempt; whatever failed it, it is a ``StepError`` that says where."""
        try:
            return await self.inside(attempt, value)
        except PASSING:
            raise
        except FAILING as error:
            if isinstance(error, StepError) and error.address is not None:
                raise
            raise failed(error, attempt.address) from error

    async def _guarded(self, visit: Visit, value: Any) -> Any:
        """Runs it with its policies: each attempt has a context of its own."""
        attempt = 1
        try:
            key = None if self._cache is None else self._key(visit, self._cache, value)
            join = None if self._cache is None or key is None else await self._cached(visit, self._cache, key)
            while join is None:
                try:
                    join = await self._apart(visit, attempt, value)
                except StepError as failure:
                    join = await self._after(visit, failure, attempt, value)
                    attempt += join is None
            patch, state = visit.patch(join)
            if self._cache is not None and key is not None and join.source == "node":
                await self._keep(visit, self._cache, key, Entry(join.output, patch))
        except StepError as failure:
            visit.record_failure(failure, attempt)
            raise
        is_stored = join.source == "cache" and visit.frame.run.journal.store is not None
        value = encoded(join.output, self._gives, "its output")[0] if is_stored else NULL
        visit.complete(join, patch, state, value)
        return join.output

    async def _apart(self, visit: Visit, number: int, value: Any) -> Join:
        """One attempt, in a context of its own and within its timeout."""
        inside = visit.frame.apart()
        attempt = Attempt(inside, visit.address, number, attempt_path(visit.address, number), True)
        seconds = self._policies.limits.run
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                join = await self._tried(attempt, self._own(visit, value))
        except TimeoutError as error:
            if not limit.expired():
                raise
            late = StepTimeout(f"it took longer than its timeout of {seconds:g} s")
            raise visit.failure(late, number) from error
        inside.state.update(join.changed)
        return Join(join.output, changed_fields(inside.state, visit.frame.state), number)

    async def _after(self, visit: Visit, failure: StepError, attempt: int, value: Any) -> Join | None:
        """What comes after an attempt that has failed: another one (None), or the fallback.

        Raises:
            StepError: Neither.
        """
        retry, journal = self._policies.retry, visit.frame.run.journal
        if retry is not None and retry.wants(failure, attempt):
            seconds = retry.wait(attempt, chance())
            visit.record_failed_attempt(failure, attempt, seconds)
            if journal.live:
                await journal.flush()
            await asyncio.sleep(seconds)
            return None
        if self._fallback is None:
            raise failure
        visit.record_failed_attempt(failure, attempt, 0)
        inside = visit.frame.forked(visit.address + FALLBACK)
        try:
            output = await run_all(self._fallback, inside, self._own(visit, value))
        except StepError as error:
            both = type(failure)(f"{failure}; and so did its fallback: {error}")
            both.address, both.attempts = visit.address, attempt
            raise both from error
        return Join(output, changed_fields(inside.state, visit.frame.state), attempt, "fallback")

    def _own(self, visit: Visit, value: Any) -> Any:
        """An attempt's own copy of the input."""
        try:
            return owned(value, "its input")
        except InvalidValue as error:
            raise visit.failure(error, 1) from error

    def _key(self, visit: Visit, cache: NodeCache, value: Any) -> str:
        try:
            return cache.key(visit.frame, value)
        except FAILING as error:
            raise visit.failure(error, 0) from error

    async def _cached(self, visit: Visit, cache: NodeCache, key: str) -> Join | None:
        """What the cache has, with the changes of the context that it had then."""
        entry = await cache.find(visit.frame, key)
        if entry is None:
            return None
        state = dict(visit.frame.state)
        apply(state, entry.patch)
        return Join(entry.output, {name: state[name] for name in entry.patch}, 0, "cache")

    async def _keep(self, visit: Visit, cache: NodeCache, key: str, entry: Entry) -> None:
        try:
            await cache.keep(visit.frame, key, entry)
        except InvalidValue as error:
            raise visit.failure(error, 1) from error
