"""What holds of every run: checks of its result, its events and its trace, against each other and the reference."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any

from passing_store import Passing
from random_pipelines import World
from reference_interpreter import Again, Choice, Each, Expected, Fan, Leaf, Plans, without_attempts

from flujo_core import (
    NodeCompleted,
    NodeFailed,
    NodeStarted,
    PipelineResult,
    Record,
    RunEvent,
    StepCompleted,
    StepError,
    StepFailed,
    StepStarted,
)
from flujo_core.model.run import RunState
from flujo_core.store.protocol import Lease


class TracedStore(Passing):
    """Keeps records in memory, some turns of the loop after it was asked to, and traces when they are durable."""

    def __init__(self, world: World, seed: int) -> None:
        super().__init__()
        self._world = world
        self._random = Random(seed)

    async def append(
        self, records: Sequence[Record], lease: Lease, /, *, taken: int | None = None, release: bool = False
    ) -> None:
        for _ in range(self._random.randrange(4)):
            await asyncio.sleep(0)
        await self.kept.append(records, lease, taken=taken, release=release)
        for record in records:
            self._world.trace.append(("durable", record.address, record.kind))
        for _ in range(self._random.randrange(4)):
            await asyncio.sleep(0)


def events_of(result: PipelineResult[Any, Any]) -> list[RunEvent]:
    """The events of a run; the last one is its end."""
    return [*(event for event in result._events if event is not result.end), result.end]


# ----------------------------------------------------------------------------------------- the same as the reference


def kind_of(error: BaseException | None) -> str:
    """The name of what went wrong."""
    while type(error) is StepError and error.__cause__ is not None:
        error = error.__cause__
    return type(error).__name__


def plain(value: Any) -> Any:
    """A value with the order of its dicts, but not of its sets; models as dicts."""
    if isinstance(value, dict):
        return [[str(key), plain(one)] for key, one in value.items()]
    if isinstance(value, set):
        return sorted(value)
    if hasattr(value, "model_dump"):
        return plain(dict(value))
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value


def check_end(wanted: Expected, result: PipelineResult[Any, Any], error: BaseException | None) -> None:
    """The output, or the kind of failure; and the context."""
    if wanted.failures:
        assert result.status == "failed", result.status
        assert "*" in wanted.failures or kind_of(error) in wanted.failures, (kind_of(error), wanted.failures)
        assert isinstance(error, StepError)
    else:
        assert result.status == "completed", error
        assert plain(result.output) == plain(wanted.output)
    assert plain(dict(result.context)) == plain(wanted.context)


def check_steps(wanted: Expected, state: RunState, outputs: bool = True) -> None:
    """What became of each step and node; what was cancelled or did not begin is only looked at where it may be so.

    Without a store, a step may change the value that it gets from the one before in place; then ``outputs`` is False.
    """
    for what, found, sure in (("leaf", state.steps, wanted.leaves), ("node", state.nodes, wanted.nodes)):
        assert found.keys() <= sure.keys(), (what, found.keys() - sure.keys())
        for address, became in sure.items():
            one: Any = found.get(address)
            if not became.is_certain and (one is None or one.status == "cancelled"):
                continue
            assert one is not None, f"'{address}' did not begin"
            assert (one.status, one.attempts) == (became.status, became.attempts), address
            if what == "leaf":
                assert not outputs or plain(one.output) == plain(became.output), address
                continue
            if one.node is None:  # a map whose source or keys fail does not begin
                assert (became.kind, became.status) == ("map", "failed"), address
                continue
            assert one.node == became.kind, address
            if became.is_certain:
                assert (one.iterations, one.case) == (became.iterations, became.case), address
                if became.status == "completed" or became.kind != "map":  # else not all items may have been taken
                    assert one.scopes == became.scopes, address


def check_state(state: RunState, result: PipelineResult[Any, Any]) -> None:
    """A fold says the same as the result."""
    assert state.status == result.status
    assert plain({name: state.context[name] for name in type(result.context).model_fields}) == plain(
        dict(result.context)
    )
    assert [(one.address, one.status, one.attempts, plain(one.output)) for one in state.steps.values()] == [
        (one.address, one.status, one.attempts, plain(one.output)) for one in result.steps
    ]
    assert state.contexts.scopes == {} or state.status != "completed", "a scope's context was never closed"
    assert state.contexts.opened == {} or state.status != "completed"
    for one in (*state.steps.values(), *state.nodes.values()):
        assert one.status != "running", f"{one} although the run has ended"


# --------------------------------------------------------------------------------------------------------------- order


def within(address: str, path: str) -> bool:
    """Whether an address is that of a node, or of something in it, in whatever attempt."""
    return address == path or (address.startswith(path) and address[len(path)] in "/[#~")


def check_order(plans: Plans, trace: Sequence[tuple[Any, ...]], path: str = "") -> None:
    """Each node of a scope is over before the next one begins; iterations and attempts likewise."""
    steps = [one for one in trace if one[0] != "asked" and one[1] and one[1].startswith(path)]
    names = [plan.name for plan in plans]
    addresses = [f"{path}/{name}" if path else name for name in names]
    places = [index for one in steps for index, address in enumerate(addresses) if within(one[1], address)]
    assert places == sorted(places), f"the nodes of '{path}' overlap"
    for plan, address in zip(plans, addresses, strict=True):
        own = [one for one in steps if within(one[1], address)]
        _check_order_within(plan, own, address)


def _check_order_within(plan: Any, own: Sequence[tuple[Any, ...]], address: str) -> None:
    parts: dict[str, None] = {}
    attempts = [_attempt(one[1], address) for one in own if one[1] != address]
    assert attempts == sorted(attempts), f"the attempts of '{address}' overlap"
    if plan.fallback:
        check_order(plan.fallback, own, f"{address}~fallback")
    if isinstance(plan, Leaf):
        return
    for one in own:
        if one[1] != address and not one[1].startswith(f"{address}~fallback"):
            parts[_scope(one[1], address)] = None
    bodies = dict(plan.branches if isinstance(plan, Fan) else plan.cases if isinstance(plan, Choice) else ())
    for scope in parts:
        inside = [one for one in own if one[1].startswith(scope)]
        key = scope.rpartition("[")[2].rstrip("]")
        check_order(bodies[key] if bodies else plan.nodes, inside, scope.removesuffix("/"))
    if isinstance(plan, Again):
        turns = [list(parts).index(_scope(one[1], address)) for one in own if _in_body(one[1], address)]
        assert turns == sorted(turns), f"the iterations of '{address}' overlap"
    if isinstance(plan, Fan | Each) and plan.max_concurrency is not None:
        scopes = [_scope(one[1], address) for one in own if _in_body(one[1], address)]
        assert _most_at_once(scopes) <= plan.max_concurrency, f"too much of '{address}' at once"


def _in_body(address: str, path: str) -> bool:
    return address != path and not address.startswith(f"{path}~fallback")


def _attempt(address: str, path: str) -> int:
    """The attempt of a node that something in it belongs to; the fallback is the last."""
    rest = address[len(path) :]
    if rest.startswith("~"):
        return 10**6
    return int(rest[1:].replace("[", "/").split("/")[0]) if rest.startswith("#") else 1


def _scope(address: str, path: str) -> str:
    """The scope of a node that something in it belongs to: ``fan[left]``, ``p/``, ``p#2/``."""
    rest = address[len(path) :]
    attempt = rest[: min(rest.find(end) for end in "[/" if end in rest)]
    rest = rest[len(attempt) :]
    return path + attempt + (rest[: rest.index("]") + 1] if rest.startswith("[") else "/")


def _most_at_once(scopes: Sequence[str]) -> int:
    """How many scopes were under way at the same time, at most."""
    first = {scope: index for index, scope in reversed([*enumerate(scopes)])}
    last = {scope: index for index, scope in enumerate(scopes)}
    return max((sum(first[one] <= at <= last[one] for one in first) for at in range(len(scopes))), default=0)


def with_attempts(trace: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """A trace with the addresses of the journal: those of the last start that was made durable."""
    known: dict[str, str] = {}
    found: list[tuple[Any, ...]] = []
    for what, address, *rest in trace:
        if what == "durable" and rest[0] == "step_started":
            known[without_attempts(address)] = address
        found.append((what, known.get(address, address) if what in ("begin", "end") else address, *rest))
    return found


def check_events(events: Sequence[RunEvent]) -> None:
    """What begins comes before what is in it, and that before its end; a step's trace lies between its events."""
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    open_nodes: list[str] = []
    for event in events:
        around = [node for node in open_nodes if node != event.address and within(event.address, node)]
        match event:
            case NodeStarted(attempt=1):
                assert event.address not in open_nodes
                open_nodes.append(event.address)
            case NodeCompleted() | NodeFailed():
                if event.address not in open_nodes:  # a map whose source or keys fail does not begin
                    assert isinstance(event, NodeFailed), f"{event} ends what did not begin"
                    continue
                open_nodes.remove(event.address)
                inside = [node for node in open_nodes if within(node, event.address)]
                assert not inside or isinstance(event, NodeFailed), f"{event} ends before {inside}"
                open_nodes = [node for node in open_nodes if node not in inside]
            case StepStarted() | StepCompleted() | StepFailed() if "/" in event.address:
                assert around or "~fallback" in event.address, f"{event} is in no node that has begun"


def check_durable(trace: Sequence[tuple[Any, ...]]) -> None:
    """A step begins when its start is durable, and ends before its commit is."""
    started, committed = set[str](), set[str]()
    for what, address, *rest in trace:
        if what == "durable" and rest[0] == "step_started":
            started.add(address)
        elif what == "begin":
            assert address in started, f"'{address}' began before its start was durable"
        elif what == "end":
            assert address not in committed, f"'{address}' was committed before it ended"
        elif what == "durable" and rest[0] == "step_completed":
            committed.add(address)
