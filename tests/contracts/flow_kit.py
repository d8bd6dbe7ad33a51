"""What the tests of control flow are made with: a store that shows its appends, runs of a node, small steps."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, NamedTuple

from passing_store import Passing

from flujo_core import (
    Flujo,
    Merge,
    PipelineContext,
    PluginSettings,
    Record,
    RunFailed,
    RunState,
    Settings,
    Store,
    step,
)
from flujo_core.model.run import fold
from flujo_core.store.codec import decode
from flujo_core.store.protocol import Lease

ALONE = Settings(PluginSettings(allow=()))


class State(PipelineContext):
    """A context with a field of each kind."""

    count: int = 0
    word: str = ""
    log: Annotated[list[str], Merge.append] = []
    seen: Annotated[set[str], Merge.union] = set()
    top: Annotated[int, Merge.max] = 0
    low: Annotated[int, Merge.min] = 0
    sum: Annotated[int, Merge(lambda base, values: base + sum(value - base for value in values))] = 0
    facts: Annotated[dict[str, int], Merge.union] = {}
    notes: list[str] = []


class Watched(Passing):
    """A store that keeps what each append held, in order, and lets others run before and after it keeps it."""

    def __init__(self, kept: Store | None = None, *, turns: int = 1) -> None:
        super().__init__(kept)
        self.turns = turns
        self.batches: list[list[Any]] = []

    async def append(
        self, records: Sequence[Record], lease: Lease, /, *, taken: int | None = None, release: bool = False
    ) -> None:
        for _ in range(self.turns):
            await asyncio.sleep(0)
        await self.kept.append(records, lease, taken=taken, release=release)
        self.batches.append([decode(record) for record in records])
        for _ in range(self.turns):
            await asyncio.sleep(0)

    @property
    def events(self) -> list[Any]:
        return [event for batch in self.batches for event in batch]

    def batch_of(self, kind: str, address: str = "") -> list[Any]:
        """The append that has the first event of this kind and address."""
        return next(b for b in self.batches if any(e.kind == kind and e.address == address for e in b))


class Ran(NamedTuple):
    """What a run came to, and its journal."""

    result: Any
    events: list[Any]
    error: RunFailed | None
    store: Watched

    @property
    def output(self) -> Any:
        return self.result.output

    @property
    def context(self) -> Any:
        return self.result.context

    @property
    def state(self) -> RunState:
        return fold(self.events)

    @property
    def cause(self) -> Any:
        """The error that ended the run."""
        return None if self.error is None else self.error.__cause__

    def addresses(self, kind: str = "step_completed") -> list[str]:
        return [event.address for event in self.events if event.kind == kind]

    def one(self, kind: str, address: str = "") -> Any:
        """The one event of this kind and address."""
        (found,) = (event for event in self.events if event.kind == kind and event.address == address)
        return found

    def index(self, kind: str, address: str = "") -> int:
        return self.events.index(self.one(kind, address))


def alone(node: Any, **keywords: Any) -> Flujo[Any, Any, Any]:
    """A ``Flujo`` without the installed plugins."""
    made: Flujo[Any, Any, Any] = Flujo(node, settings=ALONE, **{"context": State, **keywords})
    return made


async def ran_async(node: Any, given: Any = 1, *, store: Store | None = None, **keywords: Any) -> Ran:
    """Runs a node with a journal."""
    kept = store if isinstance(store, Watched) else Watched(store)
    options = {name: keywords.pop(name) for name in ("tenant", "run_id") if name in keywords}
    begin = keywords.pop("begin", None)
    flujo = alone(node, store=kept, **keywords)
    error = None
    try:
        result: Any = await flujo.run_async(given, **{"run_id": "r", **options}, context=begin)
    except RunFailed as failed:
        error, result = failed, failed.result
    return Ran(result, kept.events, error, kept)


def ran(node: Any, given: Any = 1, **keywords: Any) -> Ran:
    """Runs a node with a journal."""
    return asyncio.run(ran_async(node, given, **keywords))


@step
async def plus(value: int) -> int:
    return value + 1


@step
async def double(value: int) -> int:
    return value * 2


@step
async def fail(value: int) -> int:
    raise ValueError("CANARY")


def adds(name: str, amount: int = 1) -> Any:
    """A step that adds ``amount``."""

    @step(name=name)
    async def add(value: int) -> int:
        return value + amount

    return add


def logs(name: str, *words: str) -> Any:
    """A step that appends words to the log, or its name; and gives its input."""

    @step(name=name)
    async def log(value: int, context: State) -> int:
        context.log.extend(words or (name,))
        return value

    return log


def slow(name: str, seconds: float, did: list[str] | None = None) -> Any:
    """A step that takes a while, and says when it has ended, or was cancelled."""

    @step(name=name)
    async def wait(value: int) -> int:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            if did is not None:
                did.append(f"{name} cancelled")
            raise
        if did is not None:
            did.append(f"{name} done")
        return value

    return wait


def kinds(events: Iterable[Any]) -> list[str]:
    return [f"{event.kind} {event.address}".strip() for event in events]
