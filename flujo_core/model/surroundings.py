"""Whether a pipeline gets what it needs of the ``Flujo`` that runs it: its context, its resources."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from flujo_core.errors import ConfigurationError, DefinitionError, EdgeError
from flujo_core.model.action import AgentAction, RegisteredAction
from flujo_core.model.branch import Branch
from flujo_core.model.check import fits, type_name
from flujo_core.model.flow import Node, everything
from flujo_core.model.loop import Loop
from flujo_core.model.map import Map
from flujo_core.model.reader import Reader
from flujo_core.model.signature import Resources
from flujo_core.model.step import Step

if TYPE_CHECKING:
    from flujo_core.model.context import PipelineContext


def check_surroundings(
    node: Node[Any, Any], context: type[PipelineContext], resources: Resources | None, *, durable: bool = False
) -> None:
    """Checks every step and predicate of a pipeline.

    Args:
        node: The pipeline.
        context: The class of the run's context.
        resources: What steps get as their resources.
        durable: Whether its runs are journaled in a store.

    Raises:
        DefinitionError: One takes another context, or other resources; or could not go on after a crash.
    """
    for address, part in everything(node):
        if isinstance(part, Step):
            _check_step(part, address, context, resources)
        for reader in readers_of(part):
            _check_context(reader.what, reader.context, context)
        if durable and isinstance(part, Map) and part.over is not None:
            check_source(part.over)


def check_source(over: Reader) -> None:
    """Checks that an async source can go on where a crash has left it.

    Raises:
        DefinitionError: It takes no ``after``.
    """
    if over.gives_async and not over.takes_parameter("after"):
        raise DefinitionError(
            f"{over.what} is an async source, and runs with a store must be able to go on after a crash: give it a"
            " parameter 'after=None', the key of the last item that was taken"
        )


def check_policies(node: Node[Any, Any]) -> None:
    """Checks the policies of a node that depend on what is in it.

    Raises:
        DefinitionError: It has a cache without a key, or an idle timeout, that it cannot have.
        EdgeError: A validator takes something else than the step gives.
    """
    policies = node.policies
    if policies.cache is not None and policies.cache.key is None and (taker := _taker_of_context(node)):
        raise DefinitionError(
            f"'{node.label}' has a cache, and {taker} takes the context, of which the cache knows nothing; give"
            " 'Cache(key=...)', a function of the input and the context"
        )
    if policies.limits.idle is not None and not (isinstance(node, Step) and node.shows_life):
        raise DefinitionError(
            f"'{node.label}' has an idle timeout, and gives no sign of life before its output; only a step that yields"
            " or asks a pydantic-ai agent does: give 'Timeout(run=...)'"
        )
    asks = isinstance(node, Step) and isinstance(node.action, AgentAction | RegisteredAction)
    if policies.allow_reconfigure is not None and not asks:
        raise DefinitionError(f"'{node.label}' has 'allow_reconfigure', and asks no agent; leave it out")
    if policies.labelling.egress is not None and not isinstance(node, Step):
        what = f"'{node.label}' has 'egress' in its 'labels', and nothing leaves but by steps"
        raise DefinitionError(f"{what}; give it to the step in it that sends")
    for reader in node.readers if isinstance(node, Step) else ():
        if not fits(node.gives, reader.takes):
            raise EdgeError(
                f"step '{node.label}' gives '{type_name(node.gives)}', and its {reader.what} takes"
                f" '{type_name(reader.takes)}'"
            )


def check_backend(step: Step[Any, Any], address: str, context: type[PipelineContext] | None = None) -> None:
    """Checks that a step can run on the backend that it names, with a context of this class, or with none.

    Raises:
        DefinitionError: It cannot; the message says why.
    """
    if step.policies.remote is None:
        return
    from flujo_core.model.crossing import check_context_crosses, check_step_crosses  # noqa: PLC0415 - few steps cross

    check_step_crosses(step, address)
    if context is not None:
        check_context_crosses(step, address, context)


def _taker_of_context(node: Node[Any, Any]) -> str | None:
    """What in a node takes the context, for messages."""
    for address, part in everything(node):
        for reader in readers_of(part):
            if reader.context_parameter is not None:
                return reader.what
        if isinstance(part, Step) and any(one.context is not None for one in part.signatures):
            return f"step '{address}'"
    return None


def context_of(node: Node[Any, Any]) -> type[PipelineContext]:
    """The class of context that the steps and predicates of a pipeline take: the most derived one.

    Raises:
        ConfigurationError: There is no class that suits all of them.
    """
    from flujo_core.model.context import PipelineContext  # noqa: PLC0415 - dear to import

    wanted: list[type[PipelineContext]] = []
    for _, part in everything(node):
        wanted += [one.context for one in readers_of(part) if one.context is not None]
        if isinstance(part, Step):
            wanted += [one.context for one in part.signatures if one.context is not None]
    for kind in wanted:
        if all(issubclass(kind, other) for other in wanted):
            return kind
    if wanted:
        names = ", ".join(sorted({f"'{kind.__name__}'" for kind in wanted}))
        raise ConfigurationError(f"the steps take contexts of types that no one class suits ({names})")
    return PipelineContext


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
    check_backend(step, address, context if any(one.context is not None for one in step.signatures) else None)
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
