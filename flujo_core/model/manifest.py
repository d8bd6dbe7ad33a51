"""Manifest: what the nodes of a pipeline are; a run keeps it, and it is compared when the run is resumed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any

from pydantic_core import from_json, to_json

from flujo_core.model.action import Action, AgentAction, FunctionAction, HumanAction, RegisteredAction
from flujo_core.model.agent import ModelAgent
from flujo_core.model.body import agent_of, body_of, digest, identity_of, shown
from flujo_core.model.branch import Branch
from flujo_core.model.flow import Node, Pipeline, encoded_name, everything, join, parts_of, scopes_of
from flujo_core.model.loop import Loop
from flujo_core.model.map import Map
from flujo_core.model.parallel import Parallel
from flujo_core.model.reader import Reader
from flujo_core.model.shape import shape_of
from flujo_core.model.slotted import NamedTuple, frozen
from flujo_core.model.step import Step
from flujo_core.model.template import Template

FORMAT = 1
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
STEP = "step"


@frozen()
class Facts:
    """What one node is.

    Attributes:
        name: Its name.
        kind: ``step``, ``agent``, ``human``, ``pipeline``, ``parallel``, ``map``, ``loop`` or ``branch``.
        action: The name that its function or agent is registered by, else ``module:qualname``; empty for a lambda, for
            a pydantic-ai agent, and for a node in which others run.
        version: The author's mark of its meaning; empty: none.
        body: A digest of what it does: of its code, its agent, its question, the bodies of its predicates.
        takes: The type of its input, of a step.
        gives: The type of its output, of a step; of a ``Parallel``, the type that the outputs become.
        was: The name that it had before, or empty.
        migrations: The earlier versions whose outputs it can use, and whether these are turned into others.
        named: The named inputs that it takes, by parameter: what each is named after, and the field of that.
        asks: Its predicates by their places (``until``), and how each is known again.
        apart: Whether it has a policy for which an attempt of it has a context of its own, if others run in it.
        retries: Whether it has a ``Retry``, so that what runs in it may begin anew.
        scopes: The parts in which others run, in order, by their segments: ``[left]``, ``~fallback``.
    """

    name: str
    kind: str = STEP
    action: str = ""
    version: str = ""
    body: str = ""
    takes: str = ""
    gives: str = ""
    was: str = ""
    migrations: Mapping[str, bool] = field(default_factory=dict)
    named: Mapping[str, str] = field(default_factory=dict)
    asks: Mapping[str, str] = field(default_factory=dict)
    apart: bool = False
    retries: bool = False
    scopes: Mapping[str, tuple[Facts, ...]] = field(default_factory=dict)

    @property
    def segment(self) -> str:
        """Its name as it stands in addresses."""
        return encoded_name(self.name)


class _Types(list[str]):
    """The types of a pipeline, each once."""

    def number(self, shape: str) -> int:
        """A type's number, from 1; 0 for none."""
        if shape and shape not in self:
            self.append(shape)
        return self.index(shape) + 1 if shape else 0

    def shape(self, number: int) -> str:
        """The type of a number."""
        return self[number - 1] if number else ""


class _Key(NamedTuple):
    """How a fact is written, and its value where nothing is."""

    fact: str
    key: str
    default: Any = ""


KEYS = (
    _Key("name", "n"), _Key("kind", "k", STEP), _Key("action", "a"), _Key("version", "v"), _Key("body", "b"),
    _Key("was", "w"), _Key("migrations", "m", {}), _Key("named", "i", {}), _Key("asks", "q", {}),
    _Key("apart", "p", False), _Key("retries", "r", False),
)  # fmt: skip
KEYS_OF_MEANING = tuple(one for one in KEYS if one.fact not in ("was", "migrations"))
"""The facts that say something of this code, and not of what it was before."""


@frozen()
class Manifest:
    """What the nodes of a pipeline are.

    Attributes:
        nodes: Its nodes, in order.
        python: The version of Python whose bytecode the bodies are digests of. The same code has other digests under
            another minor version, so they are compared only where it is the same.
    """

    nodes: tuple[Facts, ...]
    python: str = PYTHON

    @classmethod
    def of(cls, node: Node[Any, Any], authored: Node[Any, Any] | None = None) -> Manifest:
        """The manifest of a pipeline.

        Args:
            node: The pipeline; what plugins have registered stands in the places of names.
            authored: The pipeline as its author wrote it, with these names. None: it has none.
        """
        names = dict(_registered(node if authored is None else authored))
        return cls(_scope(node, "", names))

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """The manifest that ``to_json`` has made a text of.

        Raises:
            ValueError: It is of a later format.
        """
        found = from_json(text)
        if found["f"] != FORMAT:
            raise ValueError(f"the manifest is of format {found['f']}, and this version of Flujo knows {FORMAT}")
        types = _Types(found["types"])
        return cls(tuple(_read(one, types) for one in found["nodes"]), found["py"])

    def to_json(self) -> str:
        """The manifest as text."""
        types = _Types()
        nodes = [_written(node, types, KEYS) for node in self.nodes]
        return to_json({"f": FORMAT, "py": self.python, "nodes": nodes, "types": types}).decode()

    @property
    def digest(self) -> str:
        """A digest that is the same where nothing that is compared differs."""
        types = _Types()
        nodes = [_written(node, types, KEYS_OF_MEANING) for node in self.nodes]
        return digest([to_json([nodes, types, self.python]).decode()])


def _registered(authored: Node[Any, Any]) -> Iterator[tuple[str, str]]:
    """The names that steps and agents are registered by, by the addresses of the steps."""
    for address, part in everything(authored):
        action = part.action if isinstance(part, Step) else None
        if isinstance(action, RegisteredAction):
            yield address, action.name
        elif isinstance(action, AgentAction) and isinstance(action.agent, str):
            yield address, action.agent


def _scope(body: Node[Any, Any], path: str, names: Mapping[str, str]) -> tuple[Facts, ...]:
    return tuple(_facts(part, join(path, part.label), names) for part in parts_of(body))


def _facts(node: Node[Any, Any], address: str, names: Mapping[str, str]) -> Facts:
    policies = node.policies
    common: dict[str, Any] = {
        "version": policies.version or "",
        "was": policies.was or "",
        "migrations": {version: migrate is not None for version, migrate in (policies.migrations or {}).items()},
        "scopes": {one.segment: _scope(one.body, address + one.segment, names) for one in scopes_of(node)},
    }
    if isinstance(node, Step):
        return _step_facts(node, names.get(address), common)
    asked = _predicates(node)
    return Facts(
        node.label, _kind(node),
        body=digest([*_settings(node), *(body_of(one.function) for one in asked.values())]),
        gives=shape_of(node.into) if isinstance(node, Parallel) and node.into is not None else "",
        asks={place: identity_of(one.function) for place, one in asked.items()}, apart=policies.guards,
        retries=policies.retry is not None, **common,
    )  # fmt: skip


def _kind(node: Node[Any, Any]) -> str:
    match node:
        case Parallel():
            return "parallel"
        case Map():
            return "map"
        case Loop():
            return "loop"
        case Branch():
            return "branch"
        case Pipeline():
            return "pipeline"
    raise TypeError(f"a {type(node).__name__!r} is no node that a manifest knows")


def _predicates(node: Node[Any, Any]) -> dict[str, Reader]:
    """The functions that decide something for a node in which others run, by their places in it."""
    match node:
        case Loop():
            return {"until": node.until}
        case Branch():
            return {"on": node.on}
        case Map():
            return {place: one for place, one in (("over", node.over), ("key", node.key)) if one is not None}
    return {}


def _settings(node: Node[Any, Any]) -> Iterator[str]:
    """What else decides what a node in which others run comes to."""
    if isinstance(node, Loop):
        yield f"{node.max_iterations} {node.on_exhausted}"
    elif isinstance(node, Parallel | Map):
        yield node.on_error


# -------------------------------------------------------------------------------------------------------------- steps


def _step_facts(step: Step[Any, Any], registered: str | None, common: Mapping[str, Any]) -> Facts:
    action = step.action
    kind = "agent" if isinstance(action, AgentAction) else "human" if isinstance(action, HumanAction) else STEP
    return Facts(
        step.name, kind, registered or _identity(action), body=digest(_body(step)),
        takes=shape_of(step.takes), gives=shape_of(step.gives), named=_named(step), **common,
    )  # fmt: skip


def _identity(action: Action) -> str:
    if isinstance(action, FunctionAction):
        return identity_of(action.function)
    if isinstance(action, AgentAction) and not isinstance(action.agent, ModelAgent):
        return identity_of(action.agent)
    return ""


def _body(step: Step[Any, Any]) -> Iterator[str]:
    """What a step does."""
    match step.action:
        case FunctionAction(function=function):
            yield body_of(function)
        case AgentAction(agent=agent, prompt=prompt, deps=deps):
            yield from agent_of(agent)
            if (changed := step.action.changed) is not None:
                settings = sorted(changed.settings.items())
                yield shown((changed.model, changed.instructions, settings, changed.tools))
            if isinstance(prompt, Template):
                yield from _pieces(prompt)
            yield from (body_of(part.function) for part in (prompt, deps) if isinstance(part, FunctionAction))
        case HumanAction() as human:
            yield from _pieces(human.ask)
            yield shown((human.expires_in, human.on_expiry, human.approvers, human.quorum))
    for one in step.policies.validators:
        yield one if isinstance(one, str) else body_of(one)


def _pieces(template: Template) -> Iterator[str]:
    """A text, without the names of the nodes that it names: these may change."""
    for piece in template.pieces:
        if isinstance(piece, str):
            yield piece
        else:
            yield "{}" if piece.source is not None else f"{{{'.'.join(piece.path)}}}"


def _named(step: Step[Any, Any]) -> dict[str, str]:
    """The named inputs: the name, a space, and the path of the field."""
    return {
        f"{{{number}}}" if one.is_placeholder else one.parameter: f"{one.source.name} {'.'.join(one.source.path)}"
        for number, one in enumerate(step.named_inputs)
    }


# ------------------------------------------------------------------------------------------------------------- as JSON


def _written(node: Facts, types: _Types, keys: Sequence[_Key]) -> dict[str, Any]:
    """A node's facts under short keys, without those that are as they mostly are."""
    found = {one.key: value for one in keys if (value := getattr(node, one.fact)) != one.default}
    for key, shape in (("t", node.takes), ("g", node.gives)):
        if shape:
            found[key] = types.number(shape)
    if node.scopes:
        found["s"] = {segment: [_written(one, types, keys) for one in nodes] for segment, nodes in node.scopes.items()}
    return found


def _read(found: Mapping[str, Any], types: _Types) -> Facts:
    values = {one.fact: found[one.key] for one in KEYS if one.key in found}
    scopes = {
        segment: tuple(_read(one, types) for one in nodes) for segment, nodes in found.get("s", {}).items()
    }  # fmt: skip
    return Facts(**values, takes=types.shape(found.get("t", 0)), gives=types.shape(found.get("g", 0)), scopes=scopes)
