"""What the tests of durable runs are made with: a store that dies under a run, questions, bodies that are counted.

Nothing here is patched: a run that "crashes" has a store that from some write on refuses everything, so that nothing
more becomes durable; what stays behind in the real store is what a killed process leaves. Real kills are in
``tests/faults``.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from flow_kit import ALONE, State
from passing_store import Passing

from flujo_core import Flujo, FlujoError, RunInfo, Store, StoreError, step
from flujo_core.model.outcome import PauseForHumanInput
from flujo_core.store.codec import decode

T = TypeVar("T")


class Dying(Passing):
    """A store that dies at a write: before it is kept, or after; from then on it refuses everything.

    Args:
        kept: The store that outlives it.
        at: The number of the write; 0: it does not die.
        keeps: Whether that write is still kept.
    """

    def __init__(self, kept: Store | None = None, at: int = 0, *, keeps: bool = True) -> None:
        super().__init__(kept)
        self.at, self.keeps = at, keeps
        self.writes = 0

    @property
    def is_dead(self) -> bool:
        return 0 < self.at <= self.writes

    async def around(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        if self.is_dead:
            raise StoreError("the process is dead")
        self.writes += 1
        if self.is_dead and not self.keeps:
            raise StoreError("the process died before this was kept")
        found = await call()
        if self.is_dead:
            raise StoreError("the process died after this was kept")
        return found


async def crashed(node: Any, given: Any, store: Store, at: int, *, keeps: bool = True, **keywords: Any) -> bool:
    """Runs a node as run ``r`` until its store dies; whether it did."""
    dying = Dying(store, at, keeps=keeps)
    with suppress(FlujoError):
        await durable(node, dying, **keywords).run_async(given, run_id="r")
    return dying.is_dead


def durable(node: Any, store: Store, **keywords: Any) -> Flujo[Any, Any, Any]:
    """A ``Flujo`` without the installed plugins, with a store."""
    made: Flujo[Any, Any, Any] = Flujo(node, store=store, **{"settings": ALONE, "context": State, **keywords})
    return made


async def events_in(store: Store, run_id: str = "r") -> list[Any]:
    return [decode(record) for record in await store.read(run_id)]


class Counted(Counter[str]):
    """Steps that count how often their bodies ran, by address; and what keys and epochs they were given."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: dict[str, set[str]] = {}
        self.epochs: dict[str, list[int]] = {}
        self.attempts: dict[str, list[int]] = {}

    def note(self, info: RunInfo) -> None:
        self[info.address] += 1
        self.keys.setdefault(info.address, set()).add(info.idempotency_key)
        self.epochs.setdefault(info.address, []).append(info.epoch)
        self.attempts.setdefault(info.address, []).append(info.attempt)

    def plus(self, name: str, amount: int = 1, *, fails: int = 0, waits: Awaitable[Any] | None = None) -> Any:
        """A step that adds, says so in the context, and fails in its first attempts."""

        @step(name=name)
        async def add(value: int, context: State, info: RunInfo) -> int:
            self.note(info)
            context.log.append(name)
            context.sum += amount
            if waits is not None:
                await waits
            if info.attempt <= fails:
                raise ValueError("on purpose")
            return value + amount

        return add

    def asks(self, name: str, **terms: Any) -> Any:
        """A step that says in the context that it asks, and asks; the answer is its output."""

        @step(name=name)
        async def ask(value: int, context: State, info: RunInfo) -> int | PauseForHumanInput[int]:
            self.note(info)
            context.log.append(f"{name}?")
            return PauseForHumanInput(f"How many, after {value}?", int, **terms)

        return ask

    def total(self, name: str = "total") -> Any:
        """A step that sums what a Parallel or Map gives."""

        @step(name=name)
        async def add(values: Any, info: RunInfo) -> int:
            self.note(info)
            return sum(values.values() if isinstance(values, dict) else values)

        return add


def done(main: Coroutine[Any, Any, T]) -> T:
    """Runs a test's main, which may not hang."""
    return asyncio.run(asyncio.wait_for(main, 60))


async def eventually(what: Callable[[], Awaitable[T]]) -> T:
    """Waits until something is so, and gives it."""
    for _ in range(5000):
        if found := await what():
            return found
        await asyncio.sleep(0.001)
    raise TimeoutError("what was waited for did not happen")
