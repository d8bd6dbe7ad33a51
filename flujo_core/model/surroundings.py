"""Whether a pipeline gets what it needs of the ``Flujo`` that runs it: its context, its resources."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from flujo_core.errors import DefinitionError
from flujo_core.model.branch import Branch
from flujo_core.model.check import type_name
from flujo_core.model.flow import Node, join, parts_of, scopes_of
from flujo_core.model.loop import Loop
from flujo_core.model.map import Map
from flujo_core.model.reader import Reader
from flujo_core.model.signature import Resources
from flujo_core.model.step import Step

if TYPE_CHECKING:
    from flujo_core.model.context import PipelineContext


def check_surroundings(
    node: Node[Any, Any], context: type[PipelineContext], resources: Resources | None, path: str = ""
) -> None:
    """Checks every step and predicate of a pipeline.

    Args:
        node: The pipeline.
        context: The class of the run's context.
        resources: What steps get as their resources.
        path: The address of the scope that the pipeline is in.

    Raises:
        DefinitionError: One takes another context, or other resources.
    """
    for part in parts_of(node):
        address = join(path, part.label)
        if isinstance(part, Step):
            _check_step(part, address, context, resources)
        for reader in readers_of(part):
            _check_context(reader.what, reader.context, context)
        for scope in scopes_of(part):
            check_surroundings(scope.body, context, resources, address + scope.segment)


def readers_of(node: Node[Any, Any]) -> Iterator[Reader]:
    """The functions of a node that decide something of a value and the context."""
    match node:
        case Loop():
            yield node.until
        case Branch():
            yield node.on
        case Map():
            yield from (one for one in (node.over, node.key) if one is not None)
        case Step():
            yield from node.readers


def _check_step(
    step: Step[Any, Any], address: str, context: type[PipelineContext], resources: Resources | None
) -> None:
    for signature in step.signatures:
        _check_context(f"step '{address}'", signature.context, context)
        if signature.resources is not None and not isinstance(resources, signature.resources):
            raise DefinitionError(
                f"step '{address}' takes resources of type '{type_name(signature.resources)}', and Flujo was given"
                f" {type(resources).__name__!r}; give 'Flujo(..., resources={type_name(signature.resources)}(...))'"
            )


def _check_context(who: str, wanted: type[PipelineContext] | None, context: type[PipelineContext]) -> None:
    if wanted is not None and not issubclass(context, wanted):
        raise DefinitionError(
            f"{who} takes a context of type '{type_name(wanted)}', and the run's is '{context.__name__}'; give"
            f" 'Flujo(..., context={type_name(wanted)})'"
        )
