"""What a function's signature says of the step made from it."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Never, get_args, get_origin, get_type_hints

from flujo_core.errors import SignatureError
from flujo_core.model.check import bare, fits, members, type_name, union
from flujo_core.model.draft import ContextBase
from flujo_core.model.inputs import From, NamedInput
from flujo_core.model.label import Label
from flujo_core.model.outcome import CHANGES, PauseForHumanInput, Stop
from flujo_core.model.slotted import NamedTuple

if TYPE_CHECKING:
    from flujo_core.model.context import PipelineContext


class Resources:
    """What steps use and the journal does not keep: clients, pools, caches. Subclass it; give one to ``Flujo``."""


class RunInfo(NamedTuple):
    """Where and how a step runs; a step that declares a parameter of this type gets it.

    Attributes:
        run_id: The run's id.
        tenant: Whose run it is, or None.
        address: The step's address within the run.
        attempt: The number of this attempt, from 1.
        idempotency_key: The same for every attempt of this step in this run, so that a service called twice can tell.
        deadline: When this attempt times out, in seconds since the epoch, or None.
        feedback: What a validator found wrong with the attempt before, or None.
        epoch: A number that grows with each process that takes the run over: a fencing token for what is done outside.
        subject: A digest of whom the run's data is about; empty if nobody said.
    """

    run_id: str
    tenant: str | None
    address: str
    attempt: int
    idempotency_key: str
    deadline: float | None
    feedback: str | None = None
    epoch: int = 1
    subject: str = ""


class Signature(NamedTuple):
    """What a step takes, gives, and has injected.

    Attributes:
        takes: The input's type; ``object`` for a function that ignores its input.
        gives: The output's type, without outcomes.
        has_input: Whether the function has an input.
        is_async: Whether calling it gives a coroutine, or an async iterator.
        context: The context's type, or None when the function does not take it.
        injected: The name of each injected parameter, by what it gets: ``context``, ``resources`` or ``info``.
        resources: The resources' type, or None.
        named: The named inputs, by parameter.
        item: The type of the pieces that it gives, of a function that yields; else None.
        changes: Whether it may change the pipeline behind it.
    """

    takes: Any
    gives: Any
    has_input: bool
    is_async: bool
    context: type[PipelineContext] | None
    injected: Mapping[str, str]
    resources: type[Resources] | None
    named: Mapping[str, NamedInput]
    item: Any = None
    changes: bool = False


STREAMS = (AsyncIterator, AsyncIterable, AsyncGenerator)
"""The types that declare a stream."""


def item_of(hint: Any) -> Any:
    """The type of the pieces of a stream of this type; None if it is no stream."""
    hint = bare(hint)
    if (get_origin(hint) or hint) not in STREAMS:
        return None
    found = get_args(hint)
    return found[0] if found else Any


def collected(item: Any) -> Any:
    """The type of what pieces of this type are together: text of texts, else a list."""
    return str if bare(item) is str else list[item]


def read_signature(function: Callable[..., Any], name: str, scope: Mapping[str, Any]) -> Signature:
    """Reads what ``function`` says of the step ``name``.

    Args:
        function: The step's function.
        name: The step's name, for messages.
        scope: The local names where the function was defined, for annotations that are strings.

    Raises:
        NameError: An annotation names something that does not exist (yet).
        SignatureError: The function cannot be a step.
    """
    if inspect.isgeneratorfunction(function):
        raise SignatureError(f"step '{name}' yields, and is not async: write 'async def' to give a stream")
    hints = get_type_hints(annotated(function), localns=dict(scope), include_extras=True)
    parameters = named_parameters(function, name)
    positional = [p for p in parameters if p.kind is not p.KEYWORD_ONLY]
    first = positional[0] if positional else None
    if first and (kind := injection(hints.get(first.name))):
        raise SignatureError(
            f"step '{name}' has its {kind}, '{first.name}', where its input belongs; put '*, ' before it"
        )
    if first and source_of(hints.get(first.name)) is not None:
        raise SignatureError(
            f"step '{name}' has a named input, '{first.name}', where its own input belongs; put '*, ' before it"
        )
    rest = [p for p in parameters if p is not first]
    named = {p.name: _named(p, source, hints, name) for p in rest if (source := source_of(hints.get(p.name)))}
    rest = [p for p in rest if p.name not in named]
    injected: dict[str, inspect.Parameter] = {}
    for p in rest:
        if (kind := _injected(p, hints, name)) is None:
            continue
        if kind in injected:
            raise SignatureError(f"step '{name}' takes its {kind} twice, as '{injected[kind].name}' and as '{p.name}'")
        injected[kind] = p
    context, resources = (injected[k].name if k in injected else None for k in ("context", "resources"))
    takes, item = hints.get(first.name, Any) if first else object, _item(function, hints, name)
    gives = without_outcomes(hints.get("return", Any)) if item is None else collected(item)
    _check_answers(hints.get("return", Any), gives, name)
    if item is None and item_of(takes) is not None and not is_async(function):
        raise SignatureError(f"step '{name}' takes a stream, which only async code can read: write 'async def'")
    return Signature(
        takes=takes,
        gives=gives,
        has_input=first is not None,
        is_async=item is not None or is_async(function),
        context=bare(hints[context]) if context else None,
        injected={kind: p.name for kind, p in injected.items()},
        resources=bare(hints[resources]) if resources else None,
        named=named,
        item=item,
        changes=any(_kind(part) in CHANGES for part in members(hints.get("return", Any))),
    )


def _item(function: Callable[..., Any], hints: Mapping[str, Any], name: str) -> Any:
    """The type of the pieces that a function gives; None if it gives one value.

    Raises:
        SignatureError: What it does is not what it declares.
    """
    yields = inspect.isasyncgenfunction(function) or inspect.isasyncgenfunction(type(function).__call__)
    hint = hints.get("return", AsyncIterator if yields else Any)
    item = item_of(hint)
    if yields and item is None:
        raise SignatureError(
            f"step '{name}' yields, and declares that it gives '{type_name(hint)}'; write"
            f" '-> AsyncIterator[{type_name(hint)}]'"
        )
    if item is not None and is_async(function):
        raise SignatureError(
            f"step '{name}' declares that it gives a stream, and never yields: leave 'async' out, or yield in it"
        )
    return item


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling ``function`` gives a coroutine."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def without_outcomes(hint: Any) -> Any:
    """A return type without the outcomes that it lists beside the output; of an outcome alone, what it stands for."""
    found = members(hint)
    kept = tuple(part for part in found if _kind(part) not in OUTCOMES)
    if len(kept) == len(found):
        return hint
    kept = kept or tuple(answer for part in found if _kind(part) is not Stop for answer in get_args(part))
    return union(kept) if kept else Never


def _check_answers(hint: Any, gives: Any, name: str) -> None:
    """Checks that the answers of the pauses that a return type lists can be the step's output."""
    pauses = (part for part in members(hint) if _kind(part) is PauseForHumanInput)
    for answer in (answer for part in pauses for answer in get_args(part)):
        if not fits(answer, gives):
            raise SignatureError(
                f"step '{name}' asks a person for '{type_name(answer)}', and gives '{type_name(gives)}'; the answer"
                " becomes its output: add its type to what the step gives"
            )


OUTCOMES = (Stop, PauseForHumanInput, *CHANGES)


def _kind(hint: Any) -> Any:
    """The class that a type is of, without what is in its brackets."""
    return get_origin(hint) or hint


def annotated(function: Callable[..., Any]) -> Any:
    """What has the annotations of a callable."""
    while isinstance(function, partial):
        function = function.func
    plain = inspect.isfunction(function) or inspect.ismethod(function)
    return function if plain else type(function).__call__


def named_parameters(function: Callable[..., Any], name: str) -> list[inspect.Parameter]:
    """The parameters of a step's function, each of which has a name.

    Raises:
        SignatureError: It takes any number of arguments.
    """
    parameters = list(inspect.signature(function).parameters.values())
    for p in parameters:
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            raise SignatureError(f"step '{name}' takes '{p}'; name each parameter, so that it can be checked")
    return parameters


def _injected(p: inspect.Parameter, hints: Mapping[str, Any], name: str) -> str | None:
    """What ``p``, which is not the input, gets: None when it keeps its default."""
    if kind := injection(hints.get(p.name)):
        if p.kind is p.POSITIONAL_ONLY:
            raise SignatureError(f"step '{name}' takes its {kind}, '{p.name}', by position only; put '/' before it")
        return kind
    if p.default is p.empty:
        raise SignatureError(
            f"step '{name}' has a parameter '{p.name}' that nothing gives it: a step takes one input, its first"
            " parameter, and beside it parameters of type 'PipelineContext', 'Resources' or 'RunInfo', and by keyword"
            f" what other steps gave: '*, {p.name}: Annotated[..., From(\"step\")]'"
        )
    return None


def source_of(hint: Any) -> From | None:
    """Where a parameter of this type comes from, if it is a named input."""
    if get_origin(hint) is not Annotated:
        return None
    return next((one for one in get_args(hint)[1:] if isinstance(one, From)), None)


def _named(p: inspect.Parameter, source: From, hints: Mapping[str, Any], name: str) -> NamedInput:
    if p.kind is not p.KEYWORD_ONLY:
        raise SignatureError(f"step '{name}' takes the named input '{p.name}' by position; put '*, ' before it")
    hint = hints[p.name]
    labels = [one for one in get_args(hint)[1:] if isinstance(one, Label)]
    declared = Annotated[bare(hint), *labels] if labels else bare(hint)
    return NamedInput(p.name, source, declared, p.default is not p.empty)


def injection(hint: Any) -> str | None:
    """What a parameter of this type gets: ``context``, ``resources``, ``info``, or None for anything else."""
    hint = bare(hint)
    if not isinstance(hint, type):
        return None
    for kind, injectable in (("context", ContextBase), ("resources", Resources), ("info", RunInfo)):
        if issubclass(hint, injectable):
            return kind
    return None
