"""Finds the nodes of a run by their addresses: those too that the run has put into its pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from flujo_core.engine.program import Program
from flujo_core.errors import IncompatiblePipeline
from flujo_core.model.event import AgentReconfigured, PipelineMutated, RunEvent, ScopeChanged
from flujo_core.model.flow import Node
from flujo_core.store.codec import decode
from flujo_core.store.protocol import Record

CHANGING = (PipelineMutated.kind, AgentReconfigured.kind)
"""The kinds of record that tell of a change that was made."""

Finder: TypeAlias = Callable[[str], Node[Any, Any]]
"""Gives a node by its address in a run; raises LookupError if there is no such node."""


def changes_in(records: Iterable[Record], events: Iterable[RunEvent] = ()) -> list[ScopeChanged]:
    """The changes of its pipeline that a run has made, in order.

    Args:
        records: Its records.
        events: Its events since then.
    """
    recorded = (decode(one) for one in records if one.kind in CHANGING)
    return [one for part in (recorded, events) for one in part if isinstance(one, ScopeChanged)]


def finder(program: Program, records: Iterable[Record], events: Iterable[RunEvent] = ()) -> Finder:
    """What finds the nodes of a run, as far as its changes can be made again.

    Args:
        program: What it runs.
        records: Its records.
        events: Its events since then.
    """
    changes = changes_in(records, events)
    if not changes:
        return program.node_of
    from flujo_core.engine.shape import shape_of  # noqa: PLC0415 - few runs change their pipeline

    try:
        return shape_of(program, changes).node_of
    except IncompatiblePipeline:
        return program.node_of
