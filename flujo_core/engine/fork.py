"""Parallel and Map: scopes that run side by side, each with a context of its own, and their join."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from flujo_core.backend.task import uninterrupted
from flujo_core.engine.again import value_later
from flujo_core.engine.block import Attempt, Block, Join
from flujo_core.engine.channel import close
from flujo_core.engine.crew import Crew
from flujo_core.engine.decide import decide
from flujo_core.engine.frame import Frame, Parts, owned, run_all
from flujo_core.engine.journal import NULL, Journal, now
from flujo_core.engine.later import Later, given
from flujo_core.engine.past import AttemptPast
from flujo_core.errors import BranchesFailed, IncompatiblePipeline, InvalidValue, StepError
from flujo_core.hooks.watchdog import Watch, watchdog
from flujo_core.model.draft import State
from flujo_core.model.event import ItemTaken
from flujo_core.model.flow import encoded_name
from flujo_core.model.map import Map
from flujo_core.model.merge import merged
from flujo_core.model.parallel import Parallel
from flujo_core.model.value import adapter, encoded, validated

END: Any = object()
"""What comes after the last item."""


class Fork:
    """The scopes of one attempt that run side by side.

    Args:
        attempt: The attempt.
        crew: Runs them.
    """

    def __init__(self, attempt: Attempt, crew: Crew) -> None:
        self._attempt = attempt
        self.crew = crew
        self.outputs: list[Any] = []
        self.frames: list[Frame] = []
        self.errors: dict[str, StepError] = {}

    def start(self, scope: str, parts: Parts, value: Any, input: Any = None) -> None:
        """Starts a scope.

        Args:
            scope: Its place in addresses: ``[left]``.
            parts: What runs in it.
            value: What the first of them gets.
            input: The item, where a step names it.
        """
        frame = self._attempt.frame.forked(self._attempt.path + scope, input)
        frame.closing = self.crew
        index = len(self.frames)
        self.frames.append(frame)
        self.outputs.append(None)
        self.crew.start(self._run(index, frame, parts, value))

    async def room(self, scope: str) -> None:
        """Waits until one more may run. One that has begun before the run was resumed does not wait: it may have ended,
        while those before it wait at the edge."""
        edge = self._attempt.frame.run.edge
        if edge is None or edge.is_passed or not edge.has_begun(self._attempt.path + scope):
            await self.crew.room()

    def changed(self) -> State:
        """What the join changes in the context around.

        Raises:
            ContextConflict: The scopes' contexts cannot be merged.
        """
        around = self._attempt.frame
        branches = [(frame.prefix[:-1], frame.state) for frame in self.frames]
        return merged(around.run.context_type, around.state, branches) if around.state else {}

    async def _run(self, index: int, frame: Frame, parts: Parts, value: Any) -> None:
        try:
            if frame.run.watched:
                frame.watch = Watch(asyncio.current_task(), frame.run.hooks.timeout)
                with watchdog().watching(frame.watch):
                    self.outputs[index] = await run_all(parts, frame, value)
            else:
                self.outputs[index] = await run_all(parts, frame, value)
        except StepError as error:
            self.errors[frame.prefix[:-1]] = error
            if self.crew.collects:  # else the crew makes it durable before it ends the others
                await self._flush(frame.run.journal)
            raise
        await self._flush(frame.run.journal)

    async def _flush(self, journal: Journal) -> None:
        """Makes the end of a branch or item durable, however long the others run."""
        if journal.live and not self.crew.is_last:
            await journal.flush()

    def check(self) -> None:
        """Raises what failed, where all were to run to their ends.

        Raises:
            BranchesFailed: Some failed.
        """
        if self.errors:
            places = (frame.prefix[:-1] for frame in self.frames)
            errors = {place: self.errors[place] for place in places if place in self.errors}  # in order of declaration
            address, count = self._attempt.address, f"{len(errors)} of {len(self.frames)}"
            told = "; ".join(str(error) for error in errors.values())
            failure = BranchesFailed(f"step '{address}' failed: {count} failed: {told}")
            failure.address, failure.attempts, failure.errors = address, self._attempt.number, errors
            raise failure


class ParallelBlock(Block):
    """A ``Parallel``, ready to run.

    Args:
        node: The node.
        branches: What runs in each branch, by its place in addresses.
        entered: The places of the branches that are kept for steps that name what ran in them.
        more: As of ``Block``.
    """

    kind = "parallel"

    def __init__(self, node: Parallel[Any, Any], branches: Mapping[str, Parts], entered: set[str], **more: Any) -> None:
        super().__init__(node, **more)
        self._branches = branches
        self._scopes = tuple(branches)
        self._names = tuple(node.branches)
        self._entered = entered
        self._into = node.into
        if node.into is not None:
            adapter(node.into)  # which says now what it cannot validate
        self._limit = node.max_concurrency
        self._collects = node.on_error == "collect"

    async def inside(self, attempt: Attempt, value: Any, /) -> Join:
        self.open(attempt, self._scopes)
        fork = Fork(attempt, Crew(self._limit, collects=self._collects, edge=attempt.frame.run.edge))
        journal = attempt.frame.run.journal
        async with fork.crew.at_work(journal):
            for scope, parts in self._branches.items():
                await fork.room(scope)
                if fork.crew.is_broken:
                    break
                fork.start(scope, parts, owned(value, "its input"))
        fork.check()
        for scope, frame in zip(self._scopes, fork.frames, strict=True):
            if scope in self._entered:
                attempt.frame.enter(self.name + scope, frame)
        if attempt.is_over:
            return Join(Later(lambda: self._joined(fork)))
        return Join(self._joined(fork), fork.changed())

    def _joined(self, fork: Fork) -> Any:
        """What its branches gave, together."""
        outputs = dict(zip(self._names, map(given, fork.outputs), strict=True))
        if self._into is None:
            return outputs
        return validated(outputs, self._into, "what its branches gave", by_name=True)


class MapBlock(Block):
    """A ``Map``, ready to run.

    Args:
        node: The node.
        parts: What runs for each item.
        keeps_items: Whether the items are kept for steps that name them.
        more: As of ``Block``.
    """

    kind = "map"

    def __init__(self, node: Map[Any, Any], parts: Parts, *, keeps_items: bool, **more: Any) -> None:
        super().__init__(node, **more)
        self._parts = parts
        self._keeps_items = keeps_items
        self._over = node.over
        self._key_of = node.key
        self._item = node.item
        self._limit = node.max_concurrency
        self._collects = node.on_error == "collect"

    async def inside(self, attempt: Attempt, value: Any, /) -> Join:
        fork = Fork(attempt, Crew(self._limit, collects=self._collects, edge=attempt.frame.run.edge))
        if attempt.past is not None:
            async with fork.crew.at_work(attempt.frame.run.journal):
                await self._go_on(attempt, attempt.past, fork, value)
        else:
            try:
                items, scopes = self._items(attempt, value)
            except BaseException:
                self.open(attempt)
                raise
            self.open(attempt, scopes)
            async with fork.crew.at_work(attempt.frame.run.journal):
                if isinstance(items, AsyncIterable):
                    await self._take(attempt, fork, items, set())
                else:
                    await self._start(fork, scopes, items)
        fork.check()
        if attempt.is_over:
            return Join(Later(lambda: [given(one) for one in fork.outputs]))
        return Join([given(one) for one in fork.outputs], fork.changed())

    async def _go_on(self, attempt: Attempt, past: AttemptPast, fork: Fork, value: Any) -> None:
        """Starts the items that are recorded; then, of an async source, those that come after them."""
        run_id = attempt.frame.run.journal.run_id
        if past.scopes or not self._is_async(attempt, past, value):
            items = [self._item_later(attempt, past.scopes, scope, value) for scope in past.scopes]
            if not attempt.is_over and not past.scopes:
                self._items_by_scope(attempt, (), value)
            await self._start(fork, past.scopes, items)
            return
        known = list(past.items.items())
        taken = [value_later(run_id, attempt.path + scope, data, self._item) for scope, data in known]
        await self._start(fork, tuple(past.items), taken)
        if attempt.is_over:
            return
        assert attempt.frame.run.edge is not None
        await attempt.frame.run.edge.reach()
        if not fork.crew.is_broken:
            last = {"after": self._last_key(attempt, known[-1][0], given(taken[-1]))} if known else {}
            assert self._over is not None
            items_after = decide(self._over, value, attempt.frame, more=last)
            await self._take(attempt, fork, items_after, set(past.items))

    def _is_async(self, attempt: Attempt, past: AttemptPast, value: Any) -> bool:
        """Whether its items come from an async source: as that says, or as items were taken, or as it turns out."""
        if self._over is None:
            return False
        if self._over.gives_async or past.items:
            return True
        return not attempt.is_over and isinstance(decide(self._over, value, attempt.frame), AsyncIterable)

    def _item_later(self, attempt: Attempt, scopes: tuple[str, ...], scope: str, value: Any) -> Later:
        """The item of a scope that is recorded, taken from the source again when it is needed."""
        return Later(lambda: self._items_by_scope(attempt, scopes, value)[scope])

    def _items_by_scope(self, attempt: Attempt, scopes: tuple[str, ...], value: Any) -> Mapping[str, Any]:
        """The items of a plain source, which must have the keys that are recorded.

        Raises:
            IncompatiblePipeline: They have others.
        """
        items, found = self._items(attempt, value)
        if found != scopes:
            what = (
                f"the items of '{attempt.address}' have other keys than when it began; let 'over' and 'key' give those"
            )
            raise IncompatiblePipeline(attempt.frame.run.journal.run_id, [what])
        return dict(zip(found, items, strict=True))

    def _items(self, attempt: Attempt, value: Any) -> tuple[Any, tuple[str, ...]]:
        """The items of a plain source and their places in addresses; of an async source, that alone."""
        items = given(value) if self._over is None else decide(self._over, value, attempt.frame)
        if isinstance(items, AsyncIterable):
            self._check_source(attempt)
            return items, ()
        if not isinstance(items, Iterable) or isinstance(items, str | bytes | Mapping):
            raise InvalidValue(f"its items are {type(items).__name__!r}, and a map runs over an iterable of them")
        items, known = list(items), set[str]()
        return items, tuple(self._scope(attempt, item, known) for item in items)

    def _check_source(self, attempt: Attempt) -> None:
        if attempt.frame.run.journal.store is not None and not (self._over and self._over.takes_parameter("after")):
            raise InvalidValue(
                "its items come from an async source that takes no 'after', and could not go on after a crash; give"
                " 'over=', a function with a parameter 'after=None'"
            )

    async def _start(self, fork: Fork, scopes: tuple[str, ...], items: list[Any]) -> None:
        """Starts the items of a plain source; their keys were recorded before."""
        for scope, item in zip(scopes, items, strict=True):
            await fork.room(scope)
            if fork.crew.is_broken:
                break
            self._begin(fork, scope, item)

    async def _take(self, attempt: Attempt, fork: Fork, items: AsyncIterable[Any], known: set[str]) -> None:
        """Starts the items of an async source as they come; each is recorded before it begins."""
        source = aiter(items)
        try:
            while True:
                await fork.crew.room()
                item = await self._next(fork.crew, source)
                if item is END:
                    return
                scope = self._scope(attempt, item, known)
                self._begin(fork, scope, self._record(attempt, scope, item))
        finally:
            await uninterrupted(close(source))

    async def _next(self, crew: Crew, source: AsyncIterator[Any]) -> Any:
        """The next item; END after the last one, and when the crew is broken."""
        if crew.is_broken:
            return END
        coming = asyncio.ensure_future(anext(source, END))
        try:
            await crew.until(coming)
        finally:
            if not coming.done():
                coming.cancel()
                await uninterrupted(_ended(coming))
        return END if coming.cancelled() or (crew.is_broken and coming.exception()) else coming.result()

    def _begin(self, fork: Fork, scope: str, item: Any) -> None:
        kept = owned(item, "an item of it") if self._keeps_items else None
        fork.start(scope, self._parts, owned(item, "an item of it"), kept)

    def _record(self, attempt: Attempt, scope: str, item: Any) -> Any:
        """Records an item; gives it as it comes back from the journal."""
        journal, data, restored = attempt.frame.run.journal, NULL, item
        if journal.store is not None:
            data, restored = encoded(item, self._item, "an item of it")
        journal.stage(ItemTaken(*journal.head(attempt.address, now()), attempt.number, scope, item), data)
        return restored

    def _last_key(self, attempt: Attempt, scope: str, item: Any) -> Any:
        """The key of the item that was taken last."""
        if self._key_of is None or attempt.frame.run.hidden is None:
            return unquote(scope[1:-1])
        return decide(self._key_of, item, attempt.frame)

    def _scope(self, attempt: Attempt, item: Any, known: set[str]) -> str:
        """An item's place in addresses.

        Raises:
            InvalidValue: Its key is no text, or another item has it.
        """
        key = str(len(known)) if self._key_of is None else decide(self._key_of, item, attempt.frame)
        if not isinstance(key, str) or not key:
            raise InvalidValue(
                f"the key of item {len(known)} (from 0) is {type(key).__name__!r}; a key is text, not empty"
            )
        if self._key_of is not None and (hidden := attempt.frame.run.hidden) is not None:
            key = hidden.of(self._static, key)
        scope = f"[{encoded_name(key)}]"
        if scope in known:
            raise InvalidValue(f"item {len(known)} (from 0) has a key that one before it has; keys are unique")
        known.add(scope)
        return scope


async def _ended(coming: asyncio.Future[Any]) -> None:
    """Waits for what was cancelled; what it raises all the same is dropped: it may hold a value of the run."""
    await asyncio.wait([coming])
    if not coming.cancelled():
        coming.exception()
