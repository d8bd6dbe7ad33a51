"""Pipelines from plain data: nodes from specs, each thing that has a name looked up by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from typing import Any

from pydantic import ValidationError

from flujo_core.errors import DefinitionError, SpecError
from flujo_core.model.action import FunctionAction, agent_action, function_action
from flujo_core.model.branch import Branch
from flujo_core.model.field import field_type
from flujo_core.model.flow import Node, Pipeline, checked_name
from flujo_core.model.hints import ResourceHints
from flujo_core.model.human import HumanInput
from flujo_core.model.import_path import is_path
from flujo_core.model.loop import Loop
from flujo_core.model.map import Map
from flujo_core.model.outcome import Default, OnExpiry
from flujo_core.model.parallel import Parallel
from flujo_core.model.policy import Cache, Policies, Retry, Timeout
from flujo_core.model.reconfiguration import Reconfigurable
from flujo_core.model.spec import DURATION
from flujo_core.model.spec_data import check_data
from flujo_core.model.spec_names import Lookup, Names, as_function, at
from flujo_core.model.spec_schema import (
    FORMAT,
    Again,
    Ask,
    CacheShape,
    Call,
    Case,
    Choice,
    DefaultAnswer,
    Each,
    Human,
    MadePrompt,
    Member,
    Place,
    Policed,
    RetryShape,
    Scope,
    Shape,
    Side,
    Taken,
    TimeoutShape,
    Use,
    shape_at,
)
from flujo_core.model.step import Step

NO_SCOPE: Mapping[str, Any] = {}


def node_from_spec(spec: Mapping[str, Any], names: Names) -> Node[Any, Any]:
    """The pipeline that a spec says.

    Args:
        spec: What ``spec_of`` gives.
        names: Where its names are looked up.

    Raises:
        SpecError: It says what cannot be; the message has the place.
    """
    check_data(spec)
    said = dict(spec)
    if (version := said.pop("format", None)) != FORMAT:
        what = "it has no 'format'" if version is None else "its format is not known"
        raise SpecError(f"{what}; this version of Flujo reads 'format: {FORMAT}'")
    reader = _Reader(names)
    if "steps" not in said or "pipeline" in said:
        return reader.node(said, ())
    if others := [key for key in said if key != "steps"]:
        raise SpecError(
            f"'{others[0]}' means nothing beside 'steps'; a pipeline with a name, 'pipeline: NAME', has policies",
            (others[0],),
        )
    return reader.sequence(said["steps"], ("steps",))


class _Reader(Lookup):
    """Makes nodes of what a spec says."""

    def body(self, data: Any, place: Place) -> Node[Any, Any]:
        """A node, or a sequence of them."""
        return self.sequence(data, place) if isinstance(data, list) else self.node(data, place)

    def sequence(self, data: Any, place: Place) -> Pipeline[Any, Any]:
        """A pipeline without a name."""
        if not isinstance(data, list):
            raise SpecError(f"this is a list of nodes, not a {type(data).__name__!r}", place)
        nodes = tuple(self.node(one, (*place, index)) for index, one in enumerate(data))
        with at(place):
            return Pipeline(None, nodes)

    def node(self, data: Any, place: Place) -> Node[Any, Any]:
        """One node, with its policies."""
        if not isinstance(data, dict):
            raise SpecError(f"a node is a mapping, such as 'use: acme/mask', not a {type(data).__name__!r}", place)
        shape = shape_at(data, place)
        made, policies = self.made(shape, place), self.policies(shape, place)
        with at(place):
            return made._with_policies(policies) if policies else made

    def made(self, shape: Shape, place: Place) -> Node[Any, Any]:
        """One node, without its policies."""
        match shape:
            case Call():
                return self.call(shape, place)
            case Use():
                return self.use(shape, place)
            case Ask():
                return self.ask(shape, place)
            case Human():
                return self.human(shape, place)
            case Scope():
                with at(place):
                    return self.sequence(shape.steps, (*place, "steps")).named(shape.pipeline)
            case Side():
                return self.parallel(shape, place)
            case Each():
                return self.map(shape, place)
            case Again():
                return self.loop(shape, place)
            case _:
                return self.branch(shape, place)

    # ---- steps

    def call(self, shape: Call, place: Place) -> Step[Any, Any]:
        """A step of a function; the step that is where the function was defined, if there is one."""
        found = self.find(shape.call, (*place, "call"))
        with at(place):
            if not isinstance(found, Step):
                own: str = getattr(found, "__name__", type(found).__name__)
                name = checked_name(own if shape.name is None else shape.name)
                return Step(name, function_action(as_function(found), name, NO_SCOPE))
            if not isinstance(found.action, FunctionAction):
                raise DefinitionError(f"'{shape.call}' is a step that calls no function; say in the spec what it does")
            return found if shape.name is None else found.named(shape.name)

    def use(self, shape: Use, place: Place) -> Step[Any, Any]:
        """A step that a plugin has registered."""
        takes = self.type(shape.takes, (*place, "takes"))
        gives = self.type(shape.gives, (*place, "gives"))
        with at((*place, "use")):
            made = Step.registered(shape.use, takes=takes, gives=gives)
            return made if shape.name is None else made.named(shape.name)

    def ask(self, shape: Ask, place: Place) -> Step[Any, Any]:
        """A step that asks an agent."""
        agent, source = self.agent(shape, (*place, "of"))
        kind = None if shape.input is None else self.type(shape.input, (*place, "input"))
        prompt: Any = shape.prompt
        if isinstance(prompt, MadePrompt):
            prompt = self.function(prompt.call, (*place, "prompt", "call"))
        deps = None if shape.deps is None else self.function(shape.deps, (*place, "deps"))
        with at(place):
            name = checked_name(shape.agent)
            action = agent_action(name, agent, kind, prompt, deps, NO_SCOPE)
            made: Step[Any, Any] = Step(name, action if source is None else replace(action, source=source))
            return made.streaming() if shape.stream else made

    def agent(self, shape: Ask, place: Place) -> tuple[Any, str | Mapping[str, Any] | None]:
        """An agent, and what the spec says of it, where that is more than a registered name."""
        if isinstance(shape.of, str):
            return (self.find(shape.of, place), shape.of) if is_path(shape.of) else (shape.of, None)
        with at(place):
            return self.names.agent(shape.of), deepcopy(shape.of)

    def human(self, shape: Human, place: Place) -> Step[Any, Any]:
        """A step that asks a person."""
        kind = self.type(shape.answer, (*place, "answer"))
        expires_in = None if shape.expires_in is None else _duration(shape.expires_in, (*place, "expires_in"))
        late = shape.on_expiry
        on_expiry: OnExpiry[Any] = Default(late.default) if isinstance(late, DefaultAnswer) else late
        with at(place):
            return HumanInput(
                shape.human, kind, ask=shape.ask, approvers=shape.approvers, quorum=shape.quorum,
                expires_in=expires_in, on_expiry=on_expiry,
            )  # fmt: skip

    # ---- nodes in which others run

    def parallel(self, shape: Side, place: Place) -> Node[Any, Any]:
        """Branches side by side."""
        branches = {key: self.body(one, (*place, "branches", key)) for key, one in shape.branches.items()}
        into: Any = None if shape.into is None else self.type(shape.into, (*place, "into"))
        with at(place):
            made: Node[Any, Any] = Parallel(
                shape.parallel, branches, into=into, max_concurrency=shape.max_concurrency, on_error=shape.on_error
            )
            return made

    def map(self, shape: Each, place: Place) -> Node[Any, Any]:
        """A body for each item."""
        body = self.body(shape.body, (*place, "body"))
        given: dict[str, Any] = {
            name: self.decider(one, (*place, name))
            for name, one in (("over", shape.over), ("key", shape.key)) if one is not None
        }  # fmt: skip
        with at(place):
            made: Node[Any, Any] = Map(
                shape.map, body, max_concurrency=shape.max_concurrency, on_error=shape.on_error, **given
            )
            return made

    def loop(self, shape: Again, place: Place) -> Node[Any, Any]:
        """A body, again and again."""
        body = self.body(shape.body, (*place, "body"))
        until = self.decider(shape.until, (*place, "until"))
        with at(place):
            if isinstance(shape.until, Taken):
                what = f"'until' of loop '{shape.loop}' is field '{shape.until.field}'"
                field_type(shape.until.field.split("."), body.gives, what)
            return Loop(
                shape.loop, body, until=until, max_iterations=shape.max_iterations, on_exhausted=shape.on_exhausted
            )

    def branch(self, shape: Choice, place: Place) -> Node[Any, Any]:
        """One of several cases."""
        on = self.decider(shape.on, (*place, "on"))
        with at(place):
            made: Branch[Any, Any, Any] = Branch(shape.branch, on=on)
        for value, node, where in self.cases(shape, (*place, "cases")):
            with at(where):
                made = made.case(value, node)
        if shape.default is None:
            return made
        return made.default(self.body(shape.default, (*place, "default")))

    def cases(self, shape: Choice, place: Place) -> Iterator[tuple[Any, Node[Any, Any], Place]]:
        """The cases of a branch, and where the spec has them."""
        if isinstance(shape.cases, dict):
            for value, one in shape.cases.items():
                yield value, self.body(one, (*place, value)), (*place, value)
            return
        for index, case in enumerate(shape.cases):
            where = (*place, index)
            yield self.value(case, where), self.body(case.then, (*where, "then")), where

    def value(self, case: Case, place: Place) -> Any:
        """The value of a case."""
        if isinstance(case.value, Member):
            return self.find(case.value.member, (*place, "value", "member"))
        return case.value

    # ---- policies

    def policies(self, shape: Shape, place: Place) -> Policies:
        """The policies that a node's spec has."""
        said = Policies()
        if shape.version is not None:
            said["version"] = shape.version
        if shape.was is not None:
            said["was"] = shape.was
        if shape.migrations is not None:
            said["migrations"] = {
                version: None if path is None else self.function(path, (*place, "migrations", version))
                for version, path in shape.migrations.items()
            }
        if not isinstance(shape, Human):
            self.guards(shape, place, said)
        if isinstance(shape, Call | Use | Ask):
            self.of_step(shape, place, said)
        return said

    def of_step(self, shape: Call | Use | Ask, place: Place, to: Policies) -> None:
        """Adds what only steps have."""
        if shape.validators:
            to["validators"] = [
                self.function(one, (*place, "validators", index)) if is_path(one) else one
                for index, one in enumerate(shape.validators)
            ]
        if shape.backend is not None:
            to["backend"] = shape.backend
        if shape.resources is not None:
            with at((*place, "resources")):
                to["resources"] = ResourceHints(**shape.resources.model_dump(exclude_unset=True))
        if shape.allow_reconfigure is not None:
            with at((*place, "allow_reconfigure")):
                to["allow_reconfigure"] = Reconfigurable(**shape.allow_reconfigure.model_dump())

    def guards(self, shape: Policed, place: Place, to: Policies) -> None:
        """Adds what holds around an attempt."""
        if shape.retry is not None:
            to["retry"] = self.retry(shape.retry, (*place, "retry"))
        if shape.timeout is not None:
            with at((*place, "timeout")):
                limits = shape.timeout
                to["timeout"] = Timeout(limits.run, limits.idle) if isinstance(limits, TimeoutShape) else limits
        if shape.fallback is not None:
            to["fallback"] = self.body(shape.fallback, (*place, "fallback"))
        if shape.cache is not None:
            to["cache"] = self.cache(shape.cache, (*place, "cache"))

    def retry(self, shape: RetryShape, place: Place) -> Retry:
        """When a node is tried again."""
        given = {name: getattr(shape, name) for name in shape.model_fields_set - {"on"}}
        if shape.on is not None:
            given["on"] = tuple(self.exception(one, (*place, "on", index)) for index, one in enumerate(shape.on))
        with at(place):
            return Retry(**given)

    def cache(self, shape: CacheShape, place: Place) -> Cache:
        """Whether outputs are kept."""
        key = None if shape.key is None else self.decider(shape.key, (*place, "key"))
        with at(place):
            return Cache(key, shape.ttl)


def _duration(text: str, place: Place) -> timedelta:
    try:
        return DURATION.validate_strings(text)
    except ValidationError:
        raise SpecError("this is no duration of ISO 8601, such as 'P2D' or 'PT30M'", place) from None
