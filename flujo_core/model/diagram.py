"""Diagrams of pipelines, and of what became of them in a run: mermaid for pages, text for terminals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from flujo_core.errors import DefinitionError
from flujo_core.model.branch import DEFAULT
from flujo_core.model.caption import kind, named_inputs, place, printable, terms
from flujo_core.model.check import type_name
from flujo_core.model.flow import FALLBACK, Node, Scope, join, parts_of, scopes_of
from flujo_core.model.flowchart import flowchart
from flujo_core.model.result import PipelineResult
from flujo_core.model.run import RunState, fold
from flujo_core.model.slotted import NamedTuple
from flujo_core.model.tally import Tallies

UNBRACKETED = (FALLBACK, f"[{DEFAULT}]")
"""Scopes whose names are no names of branches or cases."""

WIDEST = 50
"""Cells that are wider than this do not make their column wider."""


def diagram(
    node: Node[Any, Any],
    *,
    style: Literal["mermaid", "text"] = "mermaid",
    run: PipelineResult[Any, Any] | RunState | None = None,
) -> str:
    """Draws a pipeline: its steps in their scopes, and the types that go from one to the next.

    Where a part has named inputs from outside of it, or ``node.check()`` refuses the pipeline for anything else, named
    inputs stand in the boxes of their steps, and have no arrows.

    Args:
        node: The pipeline.
        style: ``"mermaid"``: a flowchart, for pages that draw such. ``"text"``: a tree, for terminals.
        run: A run of it, to show what became of each part: how often it ran, how it ended, how long that took. Of
            errors it shows the types, and of values nothing.

    Raises:
        DefinitionError: There is no such style, or a step's signature cannot be read.
    """
    tallies = None if run is None else Tallies(node, _state(run))
    if style == "mermaid":
        return flowchart(node, tallies)
    if style == "text":
        return _table(_rows(node, tallies))
    raise DefinitionError(f"the style of a diagram is 'mermaid' or 'text', not {style!r}")


def _state(run: PipelineResult[Any, Any] | RunState) -> RunState:
    return run if isinstance(run, RunState) else fold(run.events)


class Row(NamedTuple):
    """A line of a tree.

    Attributes:
        name: The name, behind the lines of the tree.
        fate: What became of it, in a run.
        types: What it takes and gives.
        about: What else there is to say.
    """

    name: str
    fate: str = ""
    types: str = ""
    about: str = ""


class Branching(NamedTuple):
    """What hangs below a line of a tree: a node, or a scope.

    Attributes:
        row: Its own line.
        below: What hangs below it.
    """

    row: Row
    below: list[Branching]


def _rows(node: Node[Any, Any], tallies: Tallies | None) -> Iterator[Row]:
    """The lines of a tree."""
    types = f"{type_name(node.takes)} -> {type_name(node.gives)}"
    if tallies is None:
        yield Row(types)
    else:
        yield Row(f"run {tallies.state.run_id}", ", ".join(tallies.facts), types)
    grown = _Tree(tallies).scope(node, "", "not run")
    if tallies is not None and tallies.strays:
        strays = [Branching(Row(address, ", ".join(tally.facts)), []) for address, tally in tallies.strays.items()]
        grown.append(Branching(Row("not in this pipeline"), strays))
    yield from _lines(grown, "")


def _lines(grown: list[Branching], guide: str) -> Iterator[Row]:
    for index, one in enumerate(grown):
        is_last = index == len(grown) - 1
        yield one.row._replace(name=f"{guide}{'└── ' if is_last else '├── '}{one.row.name}")
        yield from _lines(one.below, guide + ("    " if is_last else "│   "))


class _Tree:
    """Grows the tree of a pipeline.

    Args:
        tallies: What became of it in a run, or None.
    """

    def __init__(self, tallies: Tallies | None) -> None:
        self._tallies = tallies

    def scope(self, body: Node[Any, Any], path: str, idle: str) -> list[Branching]:
        """The nodes of a scope.

        Args:
            body: What runs in it.
            path: Its address.
            idle: What is said of a node that the run never came to.
        """
        nodes = parts_of(body) if self._tallies is None else self._tallies.shape.nodes(body, path)
        return [self._node(node, join(path, node.label), idle) for node in nodes]

    def _node(self, node: Node[Any, Any], address: str, idle: str) -> Branching:
        row = Row(
            node.label,
            "" if self._tallies is None else self._tallies.fate(address, idle),
            f"{type_name(node.takes)} -> {type_name(node.gives)}",
            ", ".join([*kind(node), *terms(node), *named_inputs(node)]),
        )
        return Branching(row, [part for scope in scopes_of(node) for part in self._scope(node, address, scope, idle)])

    def _scope(self, node: Node[Any, Any], address: str, scope: Scope, idle: str) -> list[Branching]:
        """What is in a scope of a node, below the scope's name if it has one."""
        taken = ""
        if self._tallies is not None:
            tally = self._tallies.of(address)
            taken, idle = tally.taken(scope), tally.idle(scope, idle)
        below, name = self.scope(scope.body, address + scope.segment, idle), place(scope)
        if name is None:
            return below
        return [Branching(Row(name if scope.segment in UNBRACKETED else f"[{name}]", taken), below)]


def _table(rows: Iterable[Row]) -> str:
    """Rows, their columns one below the other."""
    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [
        max([len(cell) for cell in column if len(cell) <= WIDEST], default=0) for column in zip(*shown, strict=True)
    ]
    lines = ("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True) if width) for line in shown)
    return "\n".join(line.rstrip() for line in lines)
