"""Flowcharts of pipelines: boxes for steps, frames for what others run in, arrows for what goes between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flujo_core.errors import DefinitionError
from flujo_core.model.branch import Branch
from flujo_core.model.caption import WHOLE, arrow, kind, named_inputs, place, terms
from flujo_core.model.check import type_name
from flujo_core.model.flow import FALLBACK, AsWritten, Node, Scope, exits, join, parts_of, streams_of
from flujo_core.model.inputs import RUN_INPUT, SCOPE_INPUT, From, NamedInput
from flujo_core.model.loop import Loop
from flujo_core.model.map import Map
from flujo_core.model.mermaid import CIRCLE, DIAMOND, RECTANGLE, ROUNDED, SLANTED, STADIUM, Feed, Sheet
from flujo_core.model.parallel import Parallel
from flujo_core.model.slotted import NamedTuple
from flujo_core.model.step import Step
from flujo_core.model.tally import Tallies, Tally
from flujo_core.model.wiring import Source, wire

SHAPES = {"agent": ROUNDED, "human": SLANTED}
"""The shapes of steps that ask somebody."""


class Drawn:
    """A scope that has been drawn, as named inputs find it: from the one that their step is in, outwards.

    Args:
        path: Its address.
        around: The scope around it, or None for the whole.
        sources: The ids of what its input comes from.
    """

    def __init__(self, path: str, around: Drawn | None, sources: Sequence[str]) -> None:
        self.path = path
        self.around = around
        self.sources = sources
        self.outputs: dict[str, list[str]] = {}
        self.inner: dict[str, Drawn] = {}

    def find(self, source: Source) -> Sequence[str]:
        """The ids of what a named input comes from."""
        scope = self
        for _ in range(source.up):
            assert scope.around is not None
            scope = scope.around
        for name in source.into:
            scope = scope.inner[name]
        return scope.sources if source.name == SCOPE_INPUT else scope.outputs[source.name]


class Wanted(NamedTuple):
    """A named input, until all that it may come from is drawn.

    Attributes:
        id: The box of the step that takes it.
        scope: The scope that the step is in.
        input: The named input.
        source: Where it comes from.
    """

    id: str
    scope: Drawn
    input: NamedInput
    source: Source


class Visit(NamedTuple):
    """A node that is being drawn.

    Attributes:
        node: The node.
        around: The scope that it is in.
        feeds: The arrows that lead to it.
        idle: What is said of it if the run never came to it.
        tally: What became of it in the run, or None.
        fate: What is said of that.
    """

    node: Node[Any, Any]
    around: Drawn
    feeds: Sequence[Feed]
    idle: str
    tally: Tally | None
    fate: list[str]

    @property
    def style(self) -> str:
        """The style of its boxes; nothing where no run is shown."""
        return "" if self.tally is None else self.tally.outcome or "idle"

    def taken(self, scope: Scope) -> list[str]:
        """Whether a branch took a case."""
        said = "" if self.tally is None else self.tally.taken(scope)
        return [said] if said else []


def flowchart(node: Node[Any, Any], tallies: Tallies | None) -> str:
    """A pipeline as a mermaid flowchart; with ``tallies``, what became of it in a run."""
    return str(_Flowchart(node, tallies).drawn())


class _Flowchart:
    """Draws one pipeline.

    Args:
        whole: The pipeline.
        tallies: What became of it in a run, or None.
    """

    def __init__(self, whole: Node[Any, Any], tallies: Tallies | None) -> None:
        self._whole = whole
        self._tallies = tallies
        self._sources = _sources(whole, AsWritten if tallies is None else tallies.shape.scopes)
        self._wanted: list[Wanted] = []
        self._sheet = Sheet()

    def drawn(self) -> Sheet:
        """The flowchart."""
        self._sheet.box("input", STADIUM, ["input"])
        feeds = [Feed("input", [type_name(self._whole.takes)])]
        ends = self._scope(self._whole, Drawn("", None, ["input"]), feeds, "not run")
        if self._tallies is None:
            self._sheet.box("output", STADIUM, ["output"])
        else:
            self._end(self._tallies)
        self._sheet.connect(ends, "output")
        for wanted in self._wanted:
            label = arrow(wanted.input, wanted.source.previous)
            found = ["input"] if wanted.source.name == RUN_INPUT else wanted.scope.find(wanted.source)
            self._sheet.connect([Feed(id, label, dotted=True) for id in found], wanted.id)
        return self._sheet

    def _end(self, tallies: Tallies) -> None:
        """Draws the end of a run, and what the run came to that the pipeline does not have."""
        if tallies.strays:
            self._sheet.open("strays", ["not in this pipeline"])
            for address, tally in tallies.strays.items():
                self._sheet.box(self._sheet.id(), RECTANGLE, [address, ", ".join(tally.facts)], tally.outcome or "idle")
            self._sheet.close()
        status = tallies.state.status
        style = {"refused": "failed", "stopped": "cancelled"}.get(status, status)
        label = ["output", f"run {tallies.state.run_id}", ", ".join(tallies.facts)]
        self._sheet.box("output", STADIUM, label, style)

    def _scope(self, body: Node[Any, Any], scope: Drawn, feeds: Sequence[Feed], idle: str) -> Sequence[Feed]:
        """Draws the nodes of a scope; gives the arrows that lead out of it."""
        nodes = parts_of(body) if self._tallies is None else self._tallies.shape.nodes(body, scope.path)
        for group in streams_of(nodes):
            for node in group:
                if node is not group[0]:  # what comes is a stream
                    feeds = [feed._replace(label=[type_name(node.takes)]) for feed in feeds]
                feeds = self._next(node, scope, feeds, idle)
        return feeds

    def _next(self, node: Node[Any, Any], scope: Drawn, feeds: Sequence[Feed], idle: str) -> Sequence[Feed]:
        """Draws the next node of a scope; gives the arrows that lead out of it."""
        visit = Visit(node, scope, feeds, idle, None, [])
        if self._tallies is not None:
            address = join(scope.path, node.label)
            visit = visit._replace(tally=self._tallies.of(address), fate=[self._tallies.fate(address, idle)])
        feeds = self._node(visit)
        scope.outputs[node.label] = [feed.id for feed in feeds]
        return feeds

    def _node(self, visit: Visit) -> Sequence[Feed]:
        """Draws a node and its fallback; gives the arrows that lead out of them."""
        node, box = visit.node, self._sheet.id()
        if node.scopes:
            about = terms(node) if isinstance(node, Parallel | Map) else []
            self._sheet.open(box, [node.label, *about, *visit.fate], visit.style)
            ends = self._inside(visit)
            self._sheet.close()
        else:
            self._leaf(box, visit)
            ends = _given(node, box)
        if node.policies.fallback is None:
            return ends
        scope = Scope(FALLBACK, node.policies.fallback)
        feed = Feed(box, ["fallback", type_name(node.takes)], dotted=True)
        return [*ends, *self._enter(visit, scope, [feed])]

    def _leaf(self, box: str, visit: Visit) -> None:
        node = visit.node
        inputs = node.named_inputs if isinstance(node, Step) else []
        if self._sources is not None:
            sources = self._sources.get(join(visit.around.path, node.label), {})
            self._wanted += [Wanted(box, visit.around, one, sources[one.source]) for one in inputs]
        about = [*terms(node), *(named_inputs(node) if self._sources is None else [])]
        shape = SHAPES.get("".join(kind(node)), RECTANGLE)
        self._sheet.box(box, shape, [node.label, *about, *visit.fate], visit.style)
        self._sheet.connect(visit.feeds, box)

    def _inside(self, visit: Visit) -> Sequence[Feed]:
        """Draws what is in a node; gives the arrows that lead out of it."""
        match visit.node:
            case Loop() as node:
                return self._loop(visit, node)
            case Parallel() | Map() as node:
                fork, end = self._sheet.id(), self._sheet.id()
                self._sheet.box(fork, CIRCLE, ["each" if isinstance(node, Map) else "all"], visit.style)
                self._sheet.connect(visit.feeds, fork)
                ends = self._from(fork, visit)
                self._sheet.box(end, CIRCLE, ["join"], visit.style)
                self._sheet.connect(ends, end)
                return _given(node, end)
            case Branch() as node:
                on = self._sheet.id()
                self._sheet.box(on, DIAMOND, terms(node), visit.style)
                self._sheet.connect(visit.feeds, on)
                return self._from(on, visit)
            case node:
                return [end for scope in node.scopes for end in self._enter(visit, scope, visit.feeds)]

    def _from(self, box: str, visit: Visit) -> Sequence[Feed]:
        """Draws the scopes of a node that has a box which leads to each of them."""
        ends: list[Feed] = []
        for scope in visit.node.scopes:
            label = [*filter(None, [place(scope)]), type_name(scope.body.takes), *visit.taken(scope)]
            ends += self._enter(visit, scope, [Feed(box, label)])
        return ends

    def _loop(self, visit: Visit, node: Loop[Any, Any]) -> Sequence[Feed]:
        until = self._sheet.id()
        again = Feed(until, ["again", type_name(node.gives)])
        begun = [feed.id for feed in visit.feeds]
        ends = self._enter(visit, node.scopes[0], [*visit.feeds, again], begun)
        self._sheet.box(until, DIAMOND, terms(node), visit.style)
        self._sheet.connect(ends, until)
        return _given(node, until)

    def _enter(
        self, visit: Visit, scope: Scope, feeds: Sequence[Feed], sources: Sequence[str] | None = None
    ) -> Sequence[Feed]:
        """Draws a scope of a node; gives the arrows that lead out of it.

        Args:
            visit: The node.
            scope: The scope.
            feeds: The arrows that lead into it.
            sources: What its input comes from; where ``feeds`` come from, unless given.
        """
        label, segment = visit.node.label, scope.segment
        path = join(visit.around.path, label) + segment
        drawn = Drawn(path, visit.around, [feed.id for feed in feeds] if sources is None else sources)
        if segment in WHOLE:
            visit.around.inner.setdefault(label, drawn)
        else:  # before a pipeline whose name is 'fan[left]', in which nothing is named from outside
            visit.around.inner[label + segment] = drawn
        idle = visit.idle if visit.tally is None else visit.tally.idle(scope, visit.idle)
        return self._scope(scope.body, drawn, feeds, idle)


def _given(node: Node[Any, Any], box: str) -> list[Feed]:
    """The arrow with what a node gives; none if it never gives anything."""
    return [Feed(box, [type_name(node.gives)])] if exits(node.gives) else []


def _sources(
    whole: Node[Any, Any], changed: Mapping[str, Sequence[Node[Any, Any]]]
) -> Mapping[str, Mapping[From, Source]] | None:
    """Where the named inputs of each step come from; None if that cannot be known."""
    try:
        return wire(whole, changed).sources
    except DefinitionError:  # what is drawn may be a part, or not right yet: drawing it helps to see that
        return None
