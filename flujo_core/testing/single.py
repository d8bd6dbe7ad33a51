"""run_step: runs one step by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, TypeVar, overload

from flujo_core.config import PluginSettings
from flujo_core.engine.call import Leaf
from flujo_core.engine.compile import compiled
from flujo_core.engine.frame import Frame, Parts, run_all
from flujo_core.engine.journal import Journal
from flujo_core.engine.program import Beginning, Program
from flujo_core.engine.run import execute
from flujo_core.engine.segment import Segment
from flujo_core.errors import DefinitionError, did_you_mean
from flujo_core.flujo import new_run_id
from flujo_core.hooks.host import Host
from flujo_core.model.context import PipelineContext
from flujo_core.model.flow import Node, walk
from flujo_core.model.inputs import From, NamedInput
from flujo_core.model.signature import Resources, collected
from flujo_core.model.step import Step
from flujo_core.model.surroundings import check_surroundings
from flujo_core.model.wiring import Source, Wiring
from flujo_core.store.cache import MemoryCache

I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741


@overload
async def run_step(
    step: Node[AsyncIterator[I], O],
    input: str | Sequence[I],
    /,
    *,
    context: PipelineContext | None = None,
    resources: Resources | None = None,
    **named: object,
) -> O: ...
@overload
async def run_step(
    step: Node[I, O],
    input: I,
    /,
    *,
    context: PipelineContext | None = None,
    resources: Resources | None = None,
    **named: object,
) -> O: ...
async def run_step(
    step: Node[Any, O],
    input: Any,
    /,
    *,
    context: PipelineContext | None = None,
    resources: Resources | None = None,
    **named: object,
) -> O:
    """Runs one step by itself, with its policies and without plugins, and gives its output.

    Args:
        step: The step.
        input: Its input; of a step that takes a stream, the text, or a list of the pieces.
        context: The context; what the step changes in it is in it afterwards.
        resources: What the step gets as its resources.
        named: Its named inputs, by parameter; for a placeholder of a prompt, by the step that it names.

    Raises:
        DefinitionError: It is no step, or a named input is missing, or not one.
        RunFailed: The step failed.
    """
    if not isinstance(step, Step):
        raise DefinitionError(f"'{step.label}' is no single step; run it with 'harness(...)'")
    leaves = {address: leaf for address, leaf in walk(step) if isinstance(leaf, Step)}  # with those of its fallback
    wanted = {_key(one): one for leaf in leaves.values() for one in leaf.named_inputs}
    _check_named(step, wanted, named)
    given = context or PipelineContext()
    check_surroundings(step, type(given), resources)
    host = Host(PluginSettings(allow=()), ())
    wiring = Wiring({address: _sources(leaf, address.count("/")) for address, leaf in leaves.items()})
    parts = compiled(step, wiring, lambda leaf, _: leaf)
    if step.takes_item is not None:
        parts = (Segment([one for one in parts if isinstance(one, Leaf)]),)
    program = Program(
        step,
        (_Given(parts, named),),
        host.hooks,
        context_type=type(given),
        resources=resources,
        models=host,
        cache=MemoryCache(),
        takes=step.takes if step.takes_item is None else collected(step.takes_item),
        beginning=Beginning(step, step, {}),
    )
    result = await execute(program, Journal(new_run_id(), None, None, None), input, given)
    if context is not None:
        for name in type(context).model_fields:
            setattr(context, name, getattr(result.context, name))
    output: O = result.output
    return output


class _Given:
    """Parts that find named inputs in their own scope."""

    def __init__(self, parts: Parts, named: Mapping[str, object]) -> None:
        self._parts = parts
        self._named = named

    async def run(self, frame: Frame, value: Any, /) -> Any:
        for name, one in self._named.items():
            frame.keep(name, one)
        return await run_all(self._parts, frame, value)


def _sources(leaf: Step[Any, Any], up: int) -> dict[From, Source]:
    """Where the named inputs of a step are: so many scopes outwards, by their keys."""
    return {one.source: Source(up, False, (), _key(one), _path(one)) for one in leaf.named_inputs}


def _key(wanted: NamedInput) -> str:
    return wanted.source.name if wanted.is_placeholder else wanted.parameter


def _path(wanted: NamedInput) -> tuple[str, ...]:
    return wanted.source.path if wanted.is_placeholder else ()


def _check_named(step: Step[Any, Any], wanted: Mapping[str, NamedInput], named: Mapping[str, object]) -> None:
    for name in named:
        if name not in wanted:
            raise DefinitionError(f"step '{step.name}' has no named input '{name}'{did_you_mean(name, wanted)}")
    missing = [key for key, one in wanted.items() if key not in named and not one.has_default]
    if missing:
        raise DefinitionError(f"step '{step.name}' takes the named input '{missing[0]}'; give it by keyword")
