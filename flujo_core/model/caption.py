"""Captions: what diagrams say of a node, whatever became of it."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from flujo_core.model.action import AgentAction, HumanAction
from flujo_core.model.branch import DEFAULT, Branch
from flujo_core.model.duration import span
from flujo_core.model.flow import FALLBACK, Node, Scope
from flujo_core.model.inputs import NamedInput
from flujo_core.model.loop import Loop
from flujo_core.model.map import Map
from flujo_core.model.parallel import Parallel
from flujo_core.model.step import Step

WHOLE = ("", "[*]")
"""The places of scopes that have all that is in a node."""


def kind(node: Node[Any, Any]) -> list[str]:
    """What kind of node it is: ``loop``; nothing for a step that asks nobody."""
    if isinstance(node, Step):
        kinds = {AgentAction: "agent", HumanAction: "human"}
        return [word for action, word in kinds.items() if isinstance(node.action, action)]
    return [type(node).__name__.lower()]


def terms(node: Node[Any, Any]) -> list[str]:
    """What its author has set for it: ``until good``, ``at most 3 times``."""
    match node:
        case Loop():
            return [f"until {node.until.name}", f"at most {node.max_iterations} times"]
        case Branch():
            return [f"on {node.on.name}"]
        case Step(action=HumanAction() as action):
            return _who_answers(action)
        case Parallel() | Map():
            over = f"over {node.over.name}" if isinstance(node, Map) and node.over is not None else ""
            limit = f"at most {node.max_concurrency} at once" if node.max_concurrency is not None else ""
            return [term for term in (over, limit, "collects failures" if node.on_error == "collect" else "") if term]
    return []


def _who_answers(action: HumanAction) -> list[str]:
    """Who may answer a question, and until when."""
    asked = ", ".join(action.approvers)
    who = f"{action.quorum} of {asked or 'several'}" if action.quorum > 1 else f"asks {asked}" if asked else ""
    until = f"within {span(action.expires_in.total_seconds())}" if action.expires_in is not None else ""
    return [term for term in (who, until) if term]


def named_inputs(node: Node[Any, Any]) -> list[str]:
    """The inputs that it takes by name, each with where it is from."""
    inputs = node.named_inputs if isinstance(node, Step) else []
    return [one.parameter if one.is_placeholder else f"{one.parameter} from {one.source.said}" for one in inputs]


def arrow(wanted: NamedInput, previous: bool) -> list[str]:
    """What stands at the arrow of a named input."""
    path = "" if wanted.is_placeholder or not wanted.source.path else f".{'.'.join(wanted.source.path)}"
    return [part for part in (wanted.parameter, path, "of the iteration before" if previous else "") if part]


def place(scope: Scope) -> str | None:
    """The name of a scope in its node: ``left``; None where all that is in a node is in one."""
    if scope.segment == FALLBACK:
        return "fallback"
    if scope.segment in WHOLE:
        return None
    inner = scope.segment[1:-1]
    return "otherwise" if inner == DEFAULT else unquote(inner) or "''"


def printable(text: str) -> str:
    """A text on one line, with what cannot be seen, or does something to a terminal, spelled out."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
