"""What a node is, as a digest: it changes when the code that it names does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

from flujo_core.model.action import AgentAction, FunctionAction
from flujo_core.model.agent import ModelAgent, model_name
from flujo_core.model.check import type_name
from flujo_core.model.draft import ATOMS
from flujo_core.model.flow import Node, scopes_of
from flujo_core.model.loop import Loop
from flujo_core.model.step import Step
from flujo_core.model.surroundings import readers_of


def fingerprint(node: Node[Any, Any]) -> str:
    """A digest of a node: the names, versions, types and bodies of the functions in it, and the models of its agents.

    Of an agent's own instructions and tools it knows nothing: give the step a ``version``.
    """
    import hashlib  # noqa: PLC0415 - few nodes have a cache

    digest = hashlib.sha256()
    for part in _told(node):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


def _told(node: Node[Any, Any]) -> Iterator[str]:
    yield f"{type(node).__name__} {node.label} {node.policies.version}"
    yield f"{type_name(node.takes)} -> {type_name(node.gives)}"
    if isinstance(node, Step):
        yield from _action(node)
    for reader in readers_of(node):
        yield f"{reader.what} {_function(reader.function)}"
    if isinstance(node, Loop):
        yield f"{node.max_iterations} {node.on_exhausted}"
    for scope in scopes_of(node):
        yield scope.segment
        for part in scope.nodes:
            yield from _told(part)


def _action(step: Step[Any, Any]) -> Iterator[str]:
    action = step.action
    if isinstance(action, FunctionAction):
        yield _function(action.function)
    if isinstance(action, AgentAction):
        agent = action.agent
        yield f"{type(agent).__qualname__} {model_name(agent.model) if isinstance(agent, ModelAgent) else ''}"
        yield (
            repr(action.prompt.pieces)
            if action.prompt is not None and not isinstance(action.prompt, FunctionAction)
            else ""
        )
        for part in action.parts:
            yield _function(part.function)


def _function(function: Callable[..., Any]) -> str:
    if isinstance(function, partial):
        return f"{_function(function.func)} {_values(function.args)} {_values(function.keywords.values())}"
    plain = function.__func__ if isinstance(function, MethodType) else function
    if not isinstance(plain, FunctionType):
        kind = type(plain)
        return f"{kind.__module__}:{kind.__qualname__}" + (_function(kind.__call__) if _is_plain(kind) else "")
    cells = [cell.cell_contents for cell in plain.__closure__ or () if cell != CellType()]
    given = [*(plain.__defaults__ or ()), *(plain.__kwdefaults__ or {}).values(), *cells]
    return f"{plain.__module__}:{plain.__qualname__} {_code(plain.__code__)} {_values(given)}"


def _is_plain(kind: type) -> bool:
    return isinstance(vars(kind).get("__call__"), FunctionType)


def _values(values: Iterable[Any]) -> str:
    """What a function has beside its body: values that cannot change as they are, functions by theirs."""
    return " ".join(
        repr(one) if type(one) in ATOMS else _function(one) if isinstance(one, FunctionType) else type(one).__qualname__
        for one in values
    )


def _code(code: CodeType) -> str:
    """A digest of a function's body; functions within it are part of it."""
    import hashlib  # noqa: PLC0415

    digest = hashlib.sha256(code.co_code + repr(code.co_names).encode())
    for constant in code.co_consts:
        digest.update((_code(constant) if isinstance(constant, CodeType) else repr(constant)).encode())
    return digest.hexdigest()
