"""A pipeline whose names are resolved: what plugins registered stands in the places of its names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from flujo_core.errors import ConfigurationError, DefinitionError, EdgeError, PluginLoadError
from flujo_core.hooks.call import AgentInfo
from flujo_core.hooks.host import Host
from flujo_core.model.action import AgentAction, RegisteredAction
from flujo_core.model.agent import ModelAgent, model_name
from flujo_core.model.check import fits, type_name
from flujo_core.model.flow import Node, everything
from flujo_core.model.policy import Validator
from flujo_core.model.step import Step, with_agent
from flujo_core.model.tool import tool_names
from flujo_core.model.wiring import Wiring, wire


class Bound(NamedTuple):
    """A pipeline whose names are resolved.

    Attributes:
        node: The pipeline.
        wiring: Where its named inputs come from.
    """

    node: Node[Any, Any]
    wiring: Wiring


def bound(node: Node[Any, Any], host: Host) -> Bound:
    """``node`` with registered steps, agents and validators in the places of their names.

    It is checked again, as types are known now, and then by the checks that plugins have registered.

    Raises:
        ConfigurationError: A name is not registered.
        DefinitionError: What is registered does not go with its place, or a plugin's check finds something wrong.
    """
    made = resolved(node, host)
    wiring = wire(made, keeps_all=may_change(made))
    check_by_plugins(made, host)
    return Bound(made, wiring)


def resolved(node: Node[Any, Any], host: Host) -> Node[Any, Any]:
    """``node`` with registered steps, agents and validators in the places of their names.

    Raises:
        ConfigurationError: A name is not registered.
        DefinitionError: What is registered does not go with its place.
    """
    binder = _Binder(host)
    made = binder.resolved(node)
    for place, action, found in binder.declared:
        _check_declared(place, action, found)
    return made


def may_change(node: Node[Any, Any]) -> bool:
    """Whether a step of a pipeline may change the pipeline behind it."""
    leaves = (part for _, part in everything(node) if isinstance(part, Step))
    return any(one.changes for leaf in leaves for one in leaf.signatures)


class _Binder:
    """Puts what is registered in the places of names.

    Attributes:
        declared: The steps that were only names, their actions, and what is registered as them.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self.declared: list[tuple[Step[Any, Any], RegisteredAction, Node[Any, Any]]] = []

    def resolved(self, node: Node[Any, Any]) -> Node[Any, Any]:
        """A node with what is registered in the places of names."""
        host, node = self._host, node.rebuilt(self.resolved)
        if not isinstance(node, Step):
            return node
        if any(isinstance(one, str) for one in node.policies.validators):
            node = replace(node, policies=node.policies.changed({"validators": _validators(node, host)}))
        if isinstance(node.action, RegisteredAction):
            found = self.resolved(_registered_step(node, node.action, host))
            self.declared.append((node, node.action, found))
            return found
        if isinstance(node.action, AgentAction) and isinstance(node.action.agent, str):
            node = with_agent(node, host.agents.get(node.action.agent))
        return _with_tools(node, host)


def _with_tools(step: Step[Any, Any], host: Host) -> Step[Any, Any]:
    """A step whose agent has the tools that it names."""
    action = step.action
    if not isinstance(action, AgentAction) or not isinstance(action.agent, ModelAgent):
        return step
    names = [*tool_names(action.agent), *(() if action.changed is None else action.changed.tools)]
    if not names:
        return step
    try:
        added = tuple(host.tools.get(name).as_tool() for name in names)
    except ConfigurationError as error:
        raise type(error)(f"the agent of step '{step.name}' names a tool that is not there: {error}") from error
    return replace(step, action=replace(action, added=added))


def _registered_step(place: Step[Any, Any], action: RegisteredAction, host: Host) -> Node[Any, Any]:
    """The step, or tool, that is registered under a name, for the place that the name stands in."""
    if host.steps.find(action.name) is None and host.tools.find(action.name) is not None:
        made = host.tools.get(action.name).as_step()
        return made.named(place.name)._changed(policies=made.policies.over(place.policies))
    found: object = host.steps.get(action.name)
    if not isinstance(found, Step) or isinstance(found.action, RegisteredAction):
        what = "another name" if isinstance(found, Step) else f"{type(found).__name__!r}"
        raise DefinitionError(f"step '{place.name}' is registered as '{action.name}', which is {what}, and not a step")
    return found.named(place.name)._changed(policies=found.policies.over(place.policies))


def _validators(step: Step[Any, Any], host: Host) -> Sequence[Validator]:
    """A step's validators; what is registered stands in the places of names."""
    try:
        return [host.validators.get(one) if isinstance(one, str) else one for one in step.policies.validators]
    except ConfigurationError as error:
        raise type(error)(f"step '{step.name}' names a validator that is not there: {error}") from error


def _check_declared(place: Step[Any, Any], action: RegisteredAction, found: Node[Any, Any]) -> None:
    for what, given, wanted in (("take", action.takes, found.takes), ("give", found.gives, action.gives)):
        if not fits(given, wanted):
            real, declared = (wanted, given) if what == "take" else (given, wanted)
            raise EdgeError(
                f"step '{place.name}' is declared to {what} {type_name(declared)!r}, and what is registered as"
                f" '{action.name}' {what}s {type_name(real)!r}; declare that"
            )


def check_by_plugins(node: Node[Any, Any], host: Host) -> None:
    """Asks the checks that plugins have registered.

    Raises:
        DefinitionError: One finds something wrong.
    """
    wrong = [finding for entry in host.checks.entries() for finding in _findings(node, host, entry.name, entry.origin)]
    if wrong:
        raise DefinitionError("; ".join(wrong))


def _findings(node: Node[Any, Any], host: Host, name: str, origin: str) -> Sequence[str]:
    check = host.checks.get(name)
    try:
        found = check(node)
        findings = [found] if isinstance(found, str) else list(found)
    except Exception as error:
        raise PluginLoadError(f"check '{name}' of {origin} raised {type(error).__name__}") from error
    return [f"check '{name}' of {origin} finds: {finding}" for finding in findings]


def capable(step: Step[Any, Any], address: str, host: Host) -> Step[Any, Any]:
    """A step with the capabilities that plugins have for its agent.

    Raises:
        PluginLoadError: A plugin failed, or has a capability that would not be called.
    """
    action = step.action
    if not isinstance(action, AgentAction) or not isinstance(action.agent, ModelAgent):
        return step
    found = host.capabilities(AgentInfo(address, step.name, model_name(action.agent.model)))
    return replace(step, action=replace(action, capabilities=found)) if found else step
