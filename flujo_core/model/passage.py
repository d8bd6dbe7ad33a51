"""The passage of labelled data through one step: what it reads of what it is given, and what comes of that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from functools import cached_property
from inspect import signature as parameters_of
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_origin

from flujo_core.model.action import AgentAction, FunctionAction, HumanAction
from flujo_core.model.agent import ModelAgent
from flujo_core.model.boundary import Boundary, Outlet, agent_outlets, step_outlets
from flujo_core.model.check import bare, members
from flujo_core.model.draft import ATOMS
from flujo_core.model.inputs import From
from flujo_core.model.reader import Reader
from flujo_core.model.signature import Signature
from flujo_core.model.step import Step
from flujo_core.model.taint import (
    EVERYWHERE,
    NO_MARKS,
    Marks,
    Origin,
    OriginKind,
    Value,
    collapsed,
    declared,
    merged,
    through,
)
from flujo_core.model.template import Placeholder, Template
from flujo_core.model.tool import ToolFacts, tools_of
from flujo_core.model.usage import usage_of

if TYPE_CHECKING:
    from flujo_core.model.tool import Runs

TOOL_ROUNDS = 2
"""How often the tools of an agent are gone through: what one gives, another may be given."""


class Around(Protocol):
    """What a step has around it."""

    boundary: Boundary
    keys: Marks
    told: Marks

    def named(self, address: str, wanted: From, /) -> Value:
        """What a named input gives to a step."""
        ...

    def run_as_tool(self, runs: Runs, tool: str, address: str, marks: Marks, /) -> Marks:
        """What a pipeline gives that is a tool, and gets what its agent was told."""
        ...


class Passage:
    """What one step does with what it is given.

    Args:
        step: The step.
        address: Its address.
        value: Its input.
        context: The context.
        around: What else there is.
    """

    def __init__(self, step: Step[Any, Any], address: str, value: Value, context: Value, around: Around) -> None:
        self._step = step
        self._address = address
        self._value = value
        self._context = context
        self._around = around

    @cached_property
    def reads(self) -> Marks:
        """What of all that it is given it reads; of an agent, what it is told."""
        match self._step.action:
            case FunctionAction() as action:
                return merged(self._called(action), self._feedback if "info" in action.signature.injected else NO_MARKS)
            case AgentAction() as action:
                return self._told(action)
            case HumanAction() as action:
                return self._shown(action.ask)
        return collapsed(self._given(self._step.takes).marks)

    def outlets(self) -> Iterator[tuple[Outlet, Marks]]:
        """Where something of it leaves, and what."""
        step, boundary = self._step, self._around.boundary
        if isinstance(step.action, AgentAction):
            for outlet in agent_outlets(step, step.action, boundary):
                yield outlet, self.reads
            for tool in self._tools:
                if tool.egress:
                    name = tool.name if tool.egress is True else f"{tool.name} ({tool.egress})"
                    yield Outlet("tool", name), self.reads
            return
        for outlet in step_outlets(step):
            yield outlet, self.reads
        remote = step.policies.remote
        if remote is not None and not boundary.has_backend(remote):
            yield Outlet("backend", remote), self._crossing

    def output(self) -> Value:
        """What it gives."""
        labels, address = self._step.policies.labelling, self._address
        hint = self._step.gives
        declares = self._step.item if bare(hint) is str and self._step.item is not None else hint
        made = output_of(declares, self.reads, "step", address)
        marks = merged(made, self._added)
        return Value(marks, hint).without(labels.clears)

    def context(self) -> Value:
        """The context, as it leaves it."""
        cleared, found = self._step.policies.labelling.clears, self._context.marks
        written = [(origin, way) for (_, origin), way in self._written.items() if origin.label not in cleared]
        for function, signature in self._writers():
            for path in _written(function, signature, self._context):
                found = merged(found, {(path, origin): way for origin, way in written})
        return self._context._replace(marks=found)

    @property
    def _written(self) -> Marks:
        """What it may write into the context."""
        return merged(through(self.reads, self._address), self._added)

    @property
    def _added(self) -> Marks:
        adds = self._step.policies.labelling.adds
        return {(EVERYWHERE, Origin(label, "step", self._address, ())): () for label in adds}

    # ---- what it is given

    def _given(self, takes: Any) -> Value:
        """Its input, with what a declaration says of it."""
        return self._value.taken(takes, self._address)

    def _named(self, wanted: Any) -> Value:
        return self._around.named(self._address, wanted.source).taken(wanted.hint, self._address)

    def _called(self, action: FunctionAction) -> Marks:
        """What a function of it reads."""
        signature, function = action.signature, action.function
        found = [_used(function, name, self._named(wanted)) for name, wanted in signature.named.items()]
        if signature.has_input:
            found.append(_used(function, _first(function), self._given(signature.takes)))
        if "context" in signature.injected:
            found.append(_used(function, signature.injected["context"], self._context))
        if "info" in signature.injected:
            found.append(self._around.keys)
        return merged(*found)

    def _shown(self, template: Template) -> Marks:
        """What a text shows."""
        shown = [one for one in template.pieces if isinstance(one, Placeholder)]
        return merged(*(collapsed(self._source(one).at(one.path).marks) for one in shown))

    def _source(self, one: Placeholder) -> Value:
        if one.source is None:
            return self._given(self._step.takes)
        return self._around.named(self._address, one.source)

    @property
    def _feedback(self) -> Marks:
        """What its validators may say of the context."""
        readers = [(one.function, one.context_parameter) for one in self._step.readers]
        return merged(*(_used(function, name, self._context) for function, name in readers if name is not None))

    @property
    def _crossing(self) -> Marks:
        """All that crosses to a backend."""
        given = [self._given(self._step.takes), *(self._named(one) for one in self._step.named_inputs)]
        given += [self._context for one in self._step.signatures if one.context is not None]
        return merged(self._around.keys, *(collapsed(one.marks) for one in given))

    # ---- agents

    def _told(self, action: AgentAction) -> Marks:
        """What an agent is told, and what comes of its tools."""
        if isinstance(action.prompt, Template):
            asked = self._shown(action.prompt)
        elif isinstance(action.prompt, FunctionAction):
            asked = NO_MARKS
        else:
            asked = collapsed(self._given(action.takes).marks)
        allowed = self._step.policies.allow_reconfigure
        told = self._around.told if allowed is not None and allowed.instructions else NO_MARKS
        keys = NO_MARKS if isinstance(action.agent, ModelAgent) else self._around.keys
        found = merged(asked, told, keys, self._feedback, *(self._called(part) for part in action.parts))
        for _ in range(TOOL_ROUNDS):
            found = merged(found, *(self._from_tool(tool, found) for tool in self._tools))
        return found

    @cached_property
    def _tools(self) -> Sequence[ToolFacts]:
        """The tools that the agent has, or may be given."""
        action, allowed = self._step.action, self._step.policies.allow_reconfigure
        if not isinstance(action, AgentAction) or not isinstance(action.agent, ModelAgent):
            return ()
        more = [self._around.boundary.tool(name) for name in (allowed.tools if allowed is not None else ())]
        return [*tools_of(action.agent, action.added), *(one for one in more if one is not None)]

    def _from_tool(self, tool: ToolFacts, told: Marks) -> Marks:
        """What a tool gives its agent."""
        signature = tool.signature
        found: Marks = {(EVERYWHERE, origin): () for _, origin in declared(tool.gives, "tool", self._address)}
        if signature is None:
            return found
        if signature.runs is not None:
            return merged(found, collapsed(self._around.run_as_tool(signature.runs, tool.name, self._address, told)))
        injected = signature.step.injected
        if "info" in injected:
            found = merged(found, self._around.keys)
        if signature.function is None or "context" not in injected:
            return found
        return merged(found, _used(signature.function, injected["context"], self._context))

    def _writers(self) -> Iterator[tuple[Callable[..., Any] | None, Signature]]:
        """The functions that get the context's draft, with what they take."""
        action = self._step.action
        if isinstance(action, FunctionAction):
            yield action.function, action.signature
        elif isinstance(action, AgentAction):
            for part in action.parts:
                yield part.function, part.signature
            for tool in self._tools:
                if tool.signature is not None:
                    yield tool.signature.function, tool.signature.step


# ------------------------------------------------------------------------------------------------------------ functions


def output_of(hint: Any, reads: Marks, kind: OriginKind, address: str) -> Marks:
    """The labels of what a step gives: where its type has those that it has read, and else everywhere."""
    passed = through(collapsed(reads), address)
    found: dict[Any, Any] = {}
    spoken: set[str] = set()
    for path, origin in declared(hint, kind, address):
        spoken.add(origin.label)
        came = {(path, one): way for (_, one), way in passed.items() if one.label == origin.label}
        found.update(came or {(path, origin): ()})
    return merged(found, {mark: way for mark, way in passed.items() if mark[1].label not in spoken})


def made_of(reader: Reader, value: Value, context: Value, address: str) -> Value:
    """What a function of a node makes of a value, for what runs in the node."""
    first = _first(reader.function)
    usage = None if first is None else usage_of(reader.function, first)
    if usage is not None and usage.gives is not None and bare(reader.gives) is Any:
        return value.at(usage.gives, by_code=True)
    return Value(output_of(reader.gives, read_by(reader, value, context), "step", address), reader.gives)


def read_by(reader: Reader, value: Value, context: Value) -> Marks:
    """What a function of a node reads."""
    found = _used(reader.function, _first(reader.function), value)
    if reader.context_parameter is None:
        return found
    return merged(found, _used(reader.function, reader.context_parameter, context))


def _used(function: Callable[..., Any], parameter: str | None, value: Value) -> Marks:
    """What a function reads of a value that it gets as a parameter."""
    if not value.marks:
        return NO_MARKS
    usage = None if parameter is None else usage_of(function, parameter)
    if usage is None:
        return collapsed(value.marks)
    return merged(*(collapsed(value.at(chain, by_code=True).marks) for chain in usage.reads))


def _first(function: Callable[..., Any]) -> str | None:
    """The name of a function's first parameter."""
    try:
        return next(iter(parameters_of(function).parameters), None)
    except (TypeError, ValueError):  # a built-in that does not say
        return None


def _written(function: Callable[..., Any] | None, signature: Signature, context: Value) -> Iterator[tuple[str, ...]]:
    """The places of the context that a function may write to."""
    parameter = signature.injected.get("context")
    if parameter is None or signature.context is None:
        return
    usage = None if function is None else usage_of(function, parameter)
    fields = context.hint.model_fields
    if usage is None or any(chain[0] not in fields for chain in usage.reads):
        yield EVERYWHERE
        return
    changed = [chain[0] for chain in usage.reads if not _is_atom(fields[chain[0]].annotation)]
    yield from ((name,) for name in dict.fromkeys((*usage.sets, *changed)))


def _is_atom(hint: Any) -> bool:
    """Whether the values of a type cannot change in place."""
    kinds = [bare(one) for one in members(bare(hint))]
    return all(
        one in ATOMS or get_origin(one) is Literal or (isinstance(one, type) and issubclass(one, Enum)) for one in kinds
    )
