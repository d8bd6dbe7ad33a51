"""Leak: labelled data that leaves the boundary; and all leaks of a pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flujo_core.model.boundary import Boundary, Outlet
from flujo_core.model.flow import AsWritten, Node
from flujo_core.model.slotted import NamedTuple
from flujo_core.model.taint import Origin, Way

if TYPE_CHECKING:
    from flujo_core.model.context import PipelineContext
    from flujo_core.model.wiring import Wiring

LEAVES = {
    "model": "goes to the model '{name}'",
    "agent": "goes to the agent '{name}'",
    "tool": "leaves by the tool '{name}'",
    "backend": "goes to the backend '{name}'",
    "step": "leaves for '{name}'",
}


class Leak(NamedTuple):
    """Labelled data that leaves the boundary.

    Attributes:
        label: The label.
        source: Where it comes from, as ``step 'read'``, or ``the input of the run``.
        field: The path of the field that it is there, ``name.first``; empty for all of it.
        way: The addresses of the steps that it goes through between the two.
        address: The address of the step at which it leaves.
        kind: What it leaves by: ``model``, ``agent``, ``tool``, ``backend`` or ``step``.
        name: The name of that.
    """

    label: str
    source: str
    field: str
    way: tuple[str, ...]
    address: str
    kind: str
    name: str

    def __str__(self) -> str:
        whence = f"'{self.field}' of {self.source}" if self.field else self.source
        by = f" through {', '.join(map(repr, self.way))}" if self.way else ""
        where = LEAVES[self.kind].format(name=self.name)
        return f"'{self.label}' from {whence}{by} {where} at step '{self.address}', and nothing clears it"


def leak(origin: Origin, way: Way, address: str, outlet: Outlet) -> Leak:
    """What has come from an origin, and leaves."""
    passed = tuple(one for one in way if one not in (address, origin.address))
    return Leak(origin.label, origin.whence, ".".join(origin.path), passed, address, outlet.kind, outlet.name)


def leaks_of(
    whole: Node[Any, Any],
    wiring: Wiring,
    context: type[PipelineContext],
    boundary: Boundary,
    changed: Mapping[str, Sequence[Node[Any, Any]]] = AsWritten,
) -> tuple[Leak, ...]:
    """The leaks of a pipeline, in the order in which data leaves.

    Args:
        whole: The pipeline, with registered steps and agents in the places of their names.
        wiring: Where its named inputs come from.
        context: The class of its context.
        boundary: What is inside.
        changed: The nodes of scopes that have others than it says, by the scopes' addresses.
    """
    from flujo_core.model.trace import traced  # noqa: PLC0415 - it makes leaks

    return traced(whole, wiring, context, boundary, changed)
