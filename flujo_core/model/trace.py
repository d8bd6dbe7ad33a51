"""Follows labels through a pipeline: each node passes on what it is given; steps, by what they read and give.

``docs/explanation/labels.md`` has the rule. What loops, and names of iterations before, bring back is followed by going
through the pipeline again until nothing new is found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flujo_core.model.action import AgentAction
from flujo_core.model.boundary import Boundary
from flujo_core.model.branch import Branch
from flujo_core.model.check import bare
from flujo_core.model.flow import FALLBACK, Entry, Node, Scope, join, parts_of
from flujo_core.model.inputs import RUN_INPUT, SCOPE_INPUT, From
from flujo_core.model.label import ITEM, Path
from flujo_core.model.leak import Leak, leak
from flujo_core.model.loop import Loop
from flujo_core.model.map import Map, items_of
from flujo_core.model.parallel import Parallel
from flujo_core.model.passage import Passage, made_of, read_by
from flujo_core.model.slotted import NamedTuple
from flujo_core.model.step import Step
from flujo_core.model.taint import (
    EVERYWHERE,
    NO_MARKS,
    Marks,
    Origin,
    Record,
    Value,
    declared,
    joined,
    merged,
)
from flujo_core.model.wiring import Source, Wiring, wire

if TYPE_CHECKING:
    from flujo_core.model.context import PipelineContext
    from flujo_core.model.tool import Runs

Changed = Mapping[str, Sequence[Node[Any, Any]]]


class State(NamedTuple):
    """What goes from one node to the next.

    Attributes:
        value: What the node gets, or gives.
        context: The context.
    """

    value: Value
    context: Value

    def or_else(self, other: State) -> State:
        """What is either of two."""
        return State(joined(self.value, other.value), joined(self.context, other.context))


def traced(
    whole: Node[Any, Any],
    wiring: Wiring,
    context: type[PipelineContext],
    boundary: Boundary,
    changed: Changed,
) -> tuple[Leak, ...]:
    """The leaks of a pipeline; see ``leaks_of``."""
    tracer = Tracer(whole, wiring, context, boundary, changed)
    tracer.settle(tracer.beginning())
    return tuple(tracer.leaks.values())


class Tracer:
    """Goes through one pipeline.

    Args:
        whole: The pipeline.
        wiring: Where its named inputs come from.
        context: The class of its context.
        boundary: What is inside.
        changed: The nodes of scopes that have others than it says.
        prefix: What the addresses in it begin with, of a pipeline that is a tool.

    Attributes:
        boundary: What is inside.
        leaks: What leaves.
        keys: What the keys of the maps around the present step are made of.
        told: What steps may have changed in the agents behind them.
    """

    def __init__(
        self,
        whole: Node[Any, Any],
        wiring: Wiring,
        context: type[PipelineContext],
        boundary: Boundary,
        changed: Changed,
        prefix: str = "",
    ) -> None:
        self._whole = whole
        self._wiring = wiring
        self._context = context
        self._changed = changed
        self._prefix = prefix
        self._outputs: dict[str, Value] = {}
        self._inputs: dict[str, Value] = {}
        self._children: dict[tuple[str, str], str] = {}
        self._around: list[str] = []
        self.boundary = boundary
        self.leaks: dict[tuple[Origin, str, str, str], Leak] = {}
        self.keys: Marks = NO_MARKS
        self.told: Marks = NO_MARKS

    def beginning(self) -> Value:
        """The input of a run, as the steps that take it declare it."""
        entries: Sequence[Entry] = [*self._whole.entries, *self._wiring.run_input]
        tool = self._prefix.removesuffix("/")
        found = {mark: () for one in entries for mark in declared(one.takes, "taken" if tool else "input", tool)}
        return Value(found, self._wiring.takes(self._whole))

    def settle(self, value: Value) -> Value:
        """Goes through the pipeline until there is nothing new; gives its output."""
        begun = Value({mark: () for mark in declared(self._context, "context", "")}, self._context)
        while True:
            before = self._known()
            ended = self.scope("", parts_of(self._whole), State(value, begun))
            if self._known() == before:
                return ended.value

    def _known(self) -> tuple[Any, ...]:
        """All that has been found, to be compared."""
        places = {name: frozenset(one.marks) for name, one in (*self._outputs.items(), *self._inputs.items())}
        return places, frozenset(self.told), frozenset(self.leaks)

    # ---- nodes

    def scope(self, path: str, nodes: Sequence[Node[Any, Any]], state: State) -> State:
        """Goes through the nodes of a scope."""
        self._keep(self._inputs, path, state.value)
        self._around.append(path)
        for node in self._changed.get(path, nodes):
            state = self._node(node, join(path, node.label), state)
        self._around.pop()
        return state

    def _node(self, node: Node[Any, Any], address: str, state: State) -> State:
        after = self._through(node, address, state)
        fallback = node.policies.fallback
        if fallback is not None:
            after = after.or_else(self._enter(Scope(FALLBACK, fallback), node, address, state))
        self._keep(self._outputs, address, after.value)
        return after

    def _through(self, node: Node[Any, Any], address: str, state: State) -> State:
        match node:
            case Step():
                return self._step(node, address, state)
            case Parallel():
                after = self._parallel(node, address, state)
            case Map():
                after = self._map(node, address, state)
            case Loop():
                after = self._loop(node, address, state)
            case Branch():
                ends = [self._enter(scope, node, address, state) for scope in node.scopes]
                after = _either(ends)
            case _:
                after = _either([self._enter(scope, node, address, state) for scope in node.scopes])
        labels = node.policies.labelling
        marks = merged(after.value.marks, _added(labels.adds, self._prefix + address))
        return State(after.value._replace(marks=marks).without(labels.clears), after.context)

    def _enter(self, scope: Scope, node: Node[Any, Any], address: str, state: State) -> State:
        place = node.label if scope.segment in ("", "[*]") else node.label + scope.segment
        self._children[self._around[-1], place] = address + scope.segment
        return self.scope(address + scope.segment, scope.nodes, state)

    def _parallel(self, node: Parallel[Any, Any], address: str, state: State) -> State:
        ends = [self._enter(scope, node, address, state) for scope in node.scopes]
        values = dict(zip(node.branches, (end.value for end in ends), strict=True))
        hint = Record({key: one.hint for key, one in values.items()}) if node.into is None else node.into
        parts = [one.within(key, None) for key, one in values.items()]
        cleared: frozenset[tuple[Path, str]] = frozenset().union(*(one.cleared for one in parts))
        made = Value(merged(*(one.marks for one in parts)), hint, cleared)
        given = {
            mark: ()
            for mark in declared(node.into, "step", self._prefix + address)
            if not made.says(mark[0], mark[1].label)
        }
        context = ends[0].context
        for end in ends[1:]:
            context = joined(context, end.context)
        return State(made._replace(marks=merged(made.marks, given)), context)

    def _map(self, node: Map[Any, Any], address: str, state: State) -> State:
        given = state.value
        if node.over is not None:
            full = self._prefix + address
            given = made_of(node.over, state.value.taken(node.over.takes, full), state.context, full)
        hint = items_of(given.hint) if bare(node.item) is Any else node.item
        item = given.item(hint)
        keys = NO_MARKS if node.key is None else read_by(node.key, item, state.context)
        with self._keyed(keys):
            end = self._enter(node.scopes[0], node, address, state._replace(value=item))
        return State(end.value.within(ITEM, node.gives), joined(state.context, end.context))

    @contextmanager
    def _keyed(self, marks: Marks) -> Iterator[None]:
        around, self.keys = self.keys, merged(self.keys, marks)
        yield
        self.keys = around

    def _loop(self, node: Loop[Any, Any], address: str, state: State) -> State:
        entering = state
        while True:
            end = self._enter(node.scopes[0], node, address, entering)
            again = entering.or_else(end)
            if _same(again, entering):
                return end
            entering = again

    def _step(self, step: Step[Any, Any], address: str, state: State) -> State:
        passage = Passage(step, self._prefix + address, state.value, state.context, self)
        if isinstance(step.action, AgentAction) or any(one.changes for one in step.signatures):
            self.told = merged(self.told, passage.reads)
        for outlet, marks in passage.outlets():
            self._leave(self._prefix + address, outlet, marks)
        return State(passage.output(), passage.context())

    def _leave(self, address: str, outlet: Any, marks: Marks) -> None:
        for (_, origin), way in marks.items():
            if outlet.masked and origin.label in self.boundary.masks:
                continue
            key = (origin, address, outlet.kind, outlet.name)
            found = leak(origin, way, address, outlet)
            if key not in self.leaks or len(found.way) < len(self.leaks[key].way):
                self.leaks[key] = found

    def _keep(self, where: dict[str, Value], address: str, value: Value) -> None:
        where[address] = joined(where[address], value) if address in where else value

    # ---- what steps ask

    def named(self, address: str, wanted: From) -> Value:
        """What a named input gives to a step."""
        source = self._wiring.sources[address.removeprefix(self._prefix)][wanted]
        return self._found(source).at(source.path)

    def _found(self, source: Source) -> Value:
        if source.name == RUN_INPUT:
            return self._inputs[""]
        path = self._around[len(self._around) - 1 - source.up]
        if source.name == SCOPE_INPUT:
            return self._inputs[path]
        for place in source.into:
            if (path, place) not in self._children:
                return Value()  # of an iteration before, which was not seen yet
            path = self._children[path, place]
        return self._outputs.get(join(path, source.name), Value())

    def run_as_tool(self, runs: Runs, tool: str, address: str, marks: Marks) -> Marks:
        """What a pipeline gives that is a tool, and gets what its agent was told."""
        made = wire(runs.pipeline)
        within = Tracer(runs.pipeline, made, runs.context, self.boundary, {}, f"{address}!{tool}/")
        given = within.beginning()
        ended = within.settle(given._replace(marks=merged(given.marks, marks)))
        self.leaks |= within.leaks
        return ended.marks


def _either(ends: Sequence[State]) -> State:
    first, *others = ends
    for one in others:
        first = first.or_else(one)
    return first


def _added(labels: Sequence[str], address: str) -> Marks:
    return {(EVERYWHERE, Origin(label, "step", address, ())): () for label in labels}


def _same(one: State, other: State) -> bool:
    pairs = ((one.value, other.value), (one.context, other.context))
    return all(a.marks.keys() == b.marks.keys() and a.cleared == b.cleared for a, b in pairs)
