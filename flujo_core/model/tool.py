"""What a function's signature says of the tool made from it; and the tools that an agent is known to have."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, get_origin, get_type_hints, runtime_checkable

from flujo_core.errors import SignatureError
from flujo_core.model.check import bare, members
from flujo_core.model.signature import (
    Signature,
    annotated,
    injection,
    is_async,
    named_parameters,
    source_of,
    without_outcomes,
)
from flujo_core.model.slotted import NamedTuple

if TYPE_CHECKING:
    from flujo_core.model.context import PipelineContext
    from flujo_core.model.flow import Node


class Runs(NamedTuple):
    """A pipeline that is a tool.

    Attributes:
        pipeline: The pipeline.
        context: The class of its context.
    """

    pipeline: Node[Any, Any]
    context: type[PipelineContext]


class ToolSignature(NamedTuple):
    """What a tool takes of a model, and what it is given beside that.

    Attributes:
        parameters: What a model gives, by keyword; their annotations are types.
        step: What the step takes and gives that is made from the tool. Of one parameter it takes that; of several, a
            Pydantic model of them.
        optional: What is injected where there is a run, and left out where there is none: ``context``, ``resources``
            or ``info``.
        function: The function, or None where it is one of Flujo's own.
        runs: The pipeline that it runs, or None.
    """

    parameters: tuple[inspect.Parameter, ...]
    step: Signature
    optional: frozenset[str] = frozenset()
    function: Callable[..., Any] | None = None
    runs: Runs | None = None

    def arguments(self, value: Any) -> dict[str, Any]:
        """The arguments for the function, of the input of a step."""
        names = [one.name for one in self.parameters]
        return {names[0]: value} if len(names) == 1 else {name: getattr(value, name) for name in names}


def read_tool(function: Callable[..., Any], name: str, scope: Mapping[str, Any]) -> ToolSignature:
    """Reads what ``function`` says of the tool ``name``.

    Args:
        function: The tool's function.
        name: The tool's name, for messages.
        scope: The local names where the function was defined, for annotations that are strings.

    Raises:
        SignatureError: The function cannot be a tool and a step.
    """
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise SignatureError(f"tool '{name}' is a generator, and a tool gives one value: return it instead of yielding")
    try:
        hints = get_type_hints(annotated(function), localns=dict(scope), include_extras=True)
    except NameError as error:
        raise SignatureError(
            f"tool '{name}' has an annotation that names '{error.name}', which is not defined where the tool is;"
            " define it before the tool, or import it at run time"
        ) from error
    parameters = [(one, hints.get(one.name, Any)) for one in named_parameters(function, name)]
    for one, hint in parameters:
        _check_parameter(one, hint, name)
    asked = [one.replace(kind=one.KEYWORD_ONLY, annotation=hint) for one, hint in parameters if _injected(hint) is None]
    given = _given(parameters, name)
    types: dict[str, Any] = {kind: wanted for kind, (_, wanted) in given.items()}
    step = Signature(
        takes=_input(name, asked),
        gives=_output(hints.get("return", Any), name),
        has_input=bool(asked),
        is_async=is_async(function),
        context=types.get("context"),
        injected={kind: one.name for kind, (one, _) in given.items()},
        resources=types.get("resources"),
        named={},
    )
    optional = frozenset(kind for kind, (one, _) in given.items() if one.default is not one.empty)
    return ToolSignature(tuple(asked), step, optional, function)


def _given(parameters: Sequence[tuple[inspect.Parameter, Any]], name: str) -> dict[str, tuple[inspect.Parameter, type]]:
    """What is injected, by its kind, with its type."""
    given: dict[str, tuple[inspect.Parameter, type]] = {}
    for one, hint in parameters:
        if (found := _injected(hint)) is None:
            continue
        kind, wanted = found
        if kind in given:
            first = given[kind][0].name
            raise SignatureError(f"tool '{name}' takes its {kind} twice, as '{first}' and as '{one.name}'")
        given[kind] = one, wanted
    return given


def _check_parameter(one: inspect.Parameter, hint: Any, name: str) -> None:
    if source_of(hint) is not None:
        raise SignatureError(
            f"tool '{name}' has a named input, '{one.name}', and an agent has no steps before its tools: let it be a"
            " parameter that the model gives"
        )
    if one.kind is one.POSITIONAL_ONLY:
        raise SignatureError(f"tool '{name}' takes '{one.name}' by position only; take out the '/' behind it")
    if _is_run_context(hint):
        raise SignatureError(
            f"tool '{name}' takes pydantic-ai's 'RunContext', '{one.name}', which no step has; take 'RunInfo',"
            " 'Resources' or the context"
        )


def _is_run_context(hint: Any) -> bool:
    """Whether it is pydantic-ai's ``RunContext``, without importing pydantic-ai."""
    kind = get_origin(bare(hint)) or bare(hint)
    return isinstance(kind, type) and (kind.__module__, kind.__name__) == ("pydantic_ai._run_context", "RunContext")


def _injected(hint: Any) -> tuple[str, type] | None:
    """What a parameter of this type gets, and the type itself, where None is one of the types that it may have."""
    for one in members(hint):
        if (kind := injection(one)) is not None:
            return kind, bare(one)
    return None


def _input(name: str, asked: Sequence[inspect.Parameter]) -> Any:
    if not asked:
        return object
    if len(asked) == 1:
        return asked[0].annotation
    from pydantic import create_model  # noqa: PLC0415 - few pipelines have tools

    fields: dict[str, Any] = {
        one.name: (one.annotation, ... if one.default is one.empty else one.default) for one in asked
    }
    title = "".join(part.capitalize() for part in name.replace("-", "_").split("_"))
    return create_model(f"{title}Parameters", **fields)


def _output(hint: Any, name: str) -> Any:
    if without_outcomes(hint) is not hint:
        raise SignatureError(
            f"tool '{name}' gives an outcome of a step, such as 'Stop', which no agent can be told; let it give a"
            " value, or ask for approval with 'requires_approval=True'"
        )
    return hint


# ------------------------------------------------------------------------------------------------- the tools of agents


@runtime_checkable
class SignedTool(Protocol):
    """A pydantic-ai tool that was made by ``FlujoTool.as_tool``."""

    flujo_signature: ToolSignature


@runtime_checkable
class Wrapper(Protocol):
    """pydantic-ai's agents and toolsets that are around others."""

    wrapped: Any


@runtime_checkable
class WithToolsets(Protocol):
    """pydantic-ai's agents, and its toolsets that are made of several."""

    toolsets: Sequence[Any]


@runtime_checkable
class WithTools(Protocol):
    """pydantic-ai's ``FunctionToolset``."""

    tools: Mapping[str, Any]


@runtime_checkable
class NamingTools(Protocol):
    """A pydantic-ai toolset that has names of registered tools in the places of the tools."""

    flujo_names: Sequence[str]


def tool_names(agent: Any) -> list[str]:
    """The names of registered tools that a pydantic-ai agent has."""
    return [name for one in _holders(agent) if isinstance(one, NamingTools) for name in one.flujo_names]


def tool_signatures(agent: Any) -> list[ToolSignature]:
    """What those tools of a pydantic-ai agent take that ``FlujoTool`` made, as far as they are known before a run."""
    return signatures_of(tool for one in _holders(agent) if isinstance(one, WithTools) for tool in one.tools.values())


def signatures_of(tools: Iterable[Any]) -> list[ToolSignature]:
    """What those of some pydantic-ai tools take that ``FlujoTool`` made."""
    return [tool.flujo_signature for tool in tools if isinstance(tool, SignedTool)]


@runtime_checkable
class _Tool(Protocol):
    """pydantic-ai's ``Tool``."""

    name: str
    function: Callable[..., Any]
    metadata: Mapping[str, Any] | None


class ToolFacts(NamedTuple):
    """What is known of a tool of an agent.

    Attributes:
        name: What models call it.
        gives: The type of what it gives.
        egress: Whether the data leaves for somewhere else, or the name of where to.
        signature: What it takes, if ``FlujoTool`` made it; else None.
    """

    name: str
    gives: Any
    egress: bool | str
    signature: ToolSignature | None


def tools_of(agent: Any, added: Iterable[Any] = ()) -> list[ToolFacts]:
    """The tools of a pydantic-ai agent, as far as they are known before a run.

    Args:
        agent: The agent.
        added: Tools that it is given beside its own.
    """
    own = (tool for one in _holders(agent) if isinstance(one, WithTools) for tool in one.tools.values())
    return [found for tool in (*own, *added) if (found := tool_facts(tool)) is not None]


def tool_facts(tool: Any) -> ToolFacts | None:
    """What is known of a pydantic-ai tool; None of what is none."""
    if not isinstance(tool, _Tool):
        return None
    try:
        gives = get_type_hints(annotated(tool.function), include_extras=True).get("return", Any)
    except (NameError, TypeError):  # an annotation names what is not there at run time
        gives = Any
    egress: bool | str = (tool.metadata or {}).get("egress", False)
    return ToolFacts(tool.name, gives, egress, tool.flujo_signature if isinstance(tool, SignedTool) else None)


def _holders(one: Any) -> Iterator[Any]:
    """What has tools: an agent and its toolsets, and what these are around."""
    yield one
    within = [one.wrapped] if isinstance(one, Wrapper) else one.toolsets if isinstance(one, WithToolsets) else []
    for part in within:
        yield from _holders(part)
