"""Pipelines as plain data: what a node says of itself where code cannot follow, by names.

A spec is what JSON can hold. Each node is a mapping, whose first key tells its kind::

    format: flujo/1
    steps:
    - use: acme/mask                    # a registered step
      takes: str
      gives: str
    - agent: draft                      # a step that asks a registered agent, or one that is described in place
      of: acme/writer
      prompt: "Answer this: {{ input }}"
    - loop: polish
      until: {field: ok}                # what decides is a field, or a function by its import path
      max_iterations: 3
      body:
      - call: acme.review:critique      # a function, by its import path

What has no name (a lambda, a function made inside another, an agent object) is refused.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from copy import deepcopy
from datetime import timedelta
from enum import Enum
from functools import partial
from typing import Any

from pydantic import TypeAdapter

from flujo_core import errors
from flujo_core.errors import DefinitionError
from flujo_core.model.action import AgentAction, FunctionAction, HumanAction, RegisteredAction
from flujo_core.model.branch import Branch
from flujo_core.model.field import value_at
from flujo_core.model.flow import Node, Pipeline
from flujo_core.model.hints import ResourceHints
from flujo_core.model.import_path import is_path, path_of, step_at
from flujo_core.model.loop import Loop
from flujo_core.model.map import Map
from flujo_core.model.outcome import Default
from flujo_core.model.parallel import Parallel
from flujo_core.model.policy import NO_POLICY, Cache, Retry, StepPolicy, Timeout
from flujo_core.model.reader import Reader
from flujo_core.model.reconfiguration import Reconfigurable
from flujo_core.model.spec_data import check_data
from flujo_core.model.spec_schema import FORMAT
from flujo_core.model.step import Step
from flujo_core.model.template import Template
from flujo_core.model.type_text import type_text
from flujo_core.model.value import adapter

DURATION: TypeAdapter[timedelta] = TypeAdapter(timedelta)
DEFAULT_RETRY = Retry(1)


def spec_of(node: Node[Any, Any]) -> dict[str, Any]:
    """A pipeline as plain data that JSON can hold; ``node_from_spec`` makes an equal one of it.

    Raises:
        DefinitionError: Something in it has no name; the message says which step, and what to do.
    """
    body = _body(node)
    spec = {"format": FORMAT, **({"steps": body} if isinstance(body, list) else body)}
    check_data(spec)
    return spec


def exception_named(name: str) -> type[Exception] | None:
    """The exception that has this name in Python or Flujo, or None."""
    found = vars(builtins).get(name) or vars(errors).get(name)
    return found if isinstance(found, type) and issubclass(found, Exception) else None


def field_of(path: str) -> Callable[[Any], Any]:
    """A function that gives field ``a.b`` of a value, and can be written in a spec."""
    return partial(value_at, path=tuple(path.split(".")))


# --------------------------------------------------------------------------------------------------------------- nodes


def _body(node: Node[Any, Any]) -> Any:
    """A node, or the nodes of a sequence."""
    if isinstance(node, Pipeline) and node.name is None:
        return [_node(part) for part in node.nodes]
    return _node(node)


def _node(node: Node[Any, Any]) -> dict[str, Any]:
    match node:
        case Step():
            return _step(node)
        case Pipeline():
            said: dict[str, Any] = {"pipeline": node.name, "steps": [_node(part) for part in node.nodes]}
        case Parallel():
            said = _parallel(node)
        case Map():
            said = _map(node)
        case Loop():
            said = {"loop": node.name, "until": _read_by(node.until), "max_iterations": node.max_iterations}
            said |= {} if node.on_exhausted == "fail" else {"on_exhausted": node.on_exhausted}
            said["body"] = _body(node.body)
        case Branch():
            said = _branch(node)
        case _:
            raise DefinitionError(f"'{node.label}' is a {type(node).__name__!r}, which no spec can say")
    return said | _policies(node)


def _parallel(node: Parallel[Any, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {"parallel": node.name}
    if node.into is not None:
        said["into"] = _type(node.into, f"'into' of parallel '{node.name}'")
    return said | _concurrency(node) | {"branches": {key: _body(one) for key, one in node.branches.items()}}


def _map(node: Map[Any, Any]) -> dict[str, Any]:
    asked = (("over", node.over), ("key", node.key))
    said = {"map": node.name} | {place: _read_by(one) for place, one in asked if one is not None}
    return said | _concurrency(node) | {"body": _body(node.body)}


def _concurrency(node: Parallel[Any, Any] | Map[Any, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {} if node.max_concurrency is None else {"max_concurrency": node.max_concurrency}
    return said if node.on_error == "cancel" else {**said, "on_error": node.on_error}


def _branch(node: Branch[Any, Any, Any]) -> dict[str, Any]:
    cases: Any = {value: _body(one) for value, one in node.cases.items()}
    if not all(type(value) is str for value in node.cases):
        cases = [{"value": _case(value, node), "then": one} for value, one in cases.items()]
    said = {"branch": node.name, "on": _read_by(node.on), "cases": cases}
    return said if node.otherwise is None else {**said, "default": _body(node.otherwise)}


def _case(value: Any, node: Branch[Any, Any, Any]) -> Any:
    if not isinstance(value, Enum):
        return value
    return {"member": _path(value, f"case '{value.name}' of branch '{node.name}'")}


# --------------------------------------------------------------------------------------------------------------- steps


def _step(step: Step[Any, Any]) -> dict[str, Any]:
    match step.action:
        case FunctionAction(function=function):
            return _call(step, function)
        case RegisteredAction(name=name):
            said: dict[str, Any] = {"use": name}
            if step.name != name.rpartition("/")[2]:
                said["name"] = step.name
            said |= _types(step)
        case AgentAction() as action:
            said = _ask(step, action)
        case action:
            said = _human(step, action)
    return said | _policies(step)


def _call(step: Step[Any, Any], function: Any) -> dict[str, Any]:
    said: dict[str, Any] = {"call": _path(function, f"the function of step '{step.name}'")}
    made = step_at(function)
    if step.name != (function.__name__ if made is None else made.name):
        said["name"] = step.name
    return said | _policies(step, NO_POLICY if made is None else made.policies)


def _types(step: Step[Any, Any]) -> dict[str, Any]:
    what = f"step '{step.name}'"
    given = (("takes", step.takes), ("gives", step.gives))
    return {name: _type(hint, what) for name, hint in given if hint is not Any}


def _ask(step: Step[Any, Any], action: AgentAction) -> dict[str, Any]:
    registered = action.agent if isinstance(action.agent, str) else None
    source = deepcopy(action.source) if registered is None else registered
    if source is None:
        raise DefinitionError(
            f"the agent of step '{step.name}' is an object, which no spec can name; register it with a plugin and give"
            " its name, or write the step as a spec, which names the agent or says what it is"
        )
    if registered is not None and is_path(registered):
        raise DefinitionError(
            f"the agent of step '{step.name}' is registered as '{registered}', which reads as an import path; give its"
            " full name, 'plugin/name'"
        )
    said: dict[str, Any] = {"agent": step.name, "of": source}
    if isinstance(action.prompt, Template):
        said |= {} if action.takes is Any else {"input": _type(action.takes, f"the input of step '{step.name}'")}
        said["prompt"] = action.prompt.text
    elif action.prompt is not None:
        said["prompt"] = {"call": _path(action.prompt.function, f"the prompt of step '{step.name}'")}
    elif registered is not None and action.takes is str:
        said["input"] = "str"
    if action.deps is not None:
        said["deps"] = _path(action.deps.function, f"'deps' of step '{step.name}'")
    return {**said, "stream": True} if action.streams else said


def _human(step: Step[Any, Any], action: HumanAction) -> dict[str, Any]:
    said: dict[str, Any] = {
        "human": step.name,
        "answer": _type(action.response, f"the answer of step '{step.name}'"),
        "ask": action.ask.text,
    }
    if action.approvers:
        said["approvers"] = list(action.approvers)
    if action.quorum != 1:
        said["quorum"] = action.quorum
    if action.expires_in is not None:
        said["expires_in"] = DURATION.dump_python(action.expires_in, mode="json")
    if isinstance(action.on_expiry, Default):
        value = adapter(action.response).dump_python(action.on_expiry.value, mode="json")
        said["on_expiry"] = {"default": value}
    elif action.on_expiry != "fail":
        said["on_expiry"] = action.on_expiry
    return said


# ------------------------------------------------------------------------------------------------------------ policies


def _policies(node: Node[Any, Any], base: StepPolicy = NO_POLICY) -> dict[str, Any]:
    """What a node's policies say beyond those that it has in any case."""
    said: dict[str, Any] = {}
    for name in StepPolicy._fields:  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
        value, before = getattr(node.policies, name), getattr(base, name)
        if value == before or not (value or before):
            continue
        if not value:
            raise DefinitionError(
                f"step '{node.label}' has no '{name}', and the step that stands where its function is defined has; no"
                " spec can take it away"
            )
        said[name] = _policy(name, value, f"'{name}' of '{node.label}'")
    return said


def _policy(name: str, value: Any, what: str) -> Any:
    match name, value:
        case "labels", _:
            raise DefinitionError(
                f"{what} cannot be in a spec, as a model may have written one; let a step that it names have it"
            )
        case "retry", Retry():
            return _retry(value, what)
        case "timeout", Timeout():
            return {part: one for part, one in (("run", value.run), ("idle", value.idle)) if one is not None}
        case "fallback", Node():
            return _body(value)
        case "validators", _:
            return [_validator(one, what) for one in value]
        case "cache", Cache():
            said = {} if value.key is None else {"key": _function(value.key, what)}
            return said if value.ttl is None else {**said, "ttl": value.ttl}
        case "allow_reconfigure", Reconfigurable():
            given = {
                "models": list(value.models),
                "settings": {name: list(one) for name, one in value.settings.items()},
            }
            may = {"instructions": value.instructions, "tools": list(value.tools)}
            return {name: one for name, one in {**given, **may}.items() if one}
        case "resources", ResourceHints():
            needed = {} if value.required is None else {"required": sorted(value.required)}
            return {**value.given, **needed}
        case "migrations", _:
            return {version: None if one is None else _path(one, what) for version, one in value.items()}
    return value


def _retry(retry: Retry, what: str) -> dict[str, Any]:
    said: dict[str, Any] = {"attempts": retry.attempts}
    for name in ("backoff", "factor", "max_backoff", "jitter"):
        if getattr(retry, name) != getattr(DEFAULT_RETRY, name):
            said[name] = getattr(retry, name)
    if retry.on != DEFAULT_RETRY.on:
        said["on"] = [
            one.__name__ if exception_named(one.__name__) is one else _path(one, what) for one in retry.on
        ]  # fmt: skip
    return said


def _validator(one: Any, what: str) -> str:
    if not isinstance(one, str):
        return _path(one, what)
    if is_path(one):
        raise DefinitionError(
            f"{what} has the name '{one}', which reads as an import path; give the full name, 'plugin/name'"
        )
    return one


# --------------------------------------------------------------------------------------------------------------- names


def _read_by(reader: Reader) -> Any:
    return _function(reader.function, reader.what)


def _function(function: Any, what: str) -> Any:
    if isinstance(function, partial) and function.func is value_at and not function.args:
        return {"field": ".".join(function.keywords["path"])}
    return _path(function, what)


def _path(thing: Any, what: str) -> str:
    try:
        return path_of(thing)
    except LookupError as error:
        raise DefinitionError(f"{what} {error}; define it in a module, with a name of its own") from None


def _type(hint: Any, what: str) -> str:
    try:
        return type_text(hint)
    except LookupError as error:
        raise DefinitionError(f"{what} {error}") from None
