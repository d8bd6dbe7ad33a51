"""The boundary: what is inside, and where what steps are given leaves it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from flujo_core.model.action import AgentAction
from flujo_core.model.agent import BuildsAgents, DeclaresEgress, ModelAgent, model_name
from flujo_core.model.policy import StepPolicy
from flujo_core.model.slotted import NamedTuple
from flujo_core.model.step import Step
from flujo_core.model.tool import ToolFacts

OutletKind: TypeAlias = Literal["model", "agent", "tool", "backend", "step"]

BUILT = "a model that is known when its agent is built"
UNKNOWN_MODEL = "a model that is known when the agent runs"

FOR_TESTS = {("pydantic_ai.models.test", "TestModel"), ("pydantic_ai.models.function", "FunctionModel")}
"""pydantic-ai's models that ask nobody."""


class Outlet(NamedTuple):
    """A place where what a step is given leaves the boundary.

    Attributes:
        kind: What it leaves through.
        name: The name of the model, agent, tool, backend or destination.
        masked: Whether it goes through the plugins' capabilities before.
    """

    kind: OutletKind
    name: str
    masked: bool = False


class Boundary(Protocol):
    """What is inside."""

    @property
    def masks(self) -> frozenset[str]:
        """The labels that plugins clear in what pydantic-ai's agents send to their models."""
        ...

    def has_model(self, name: str, /) -> bool:
        """Whether a model is inside, by its name: ``local:smollm2``."""
        ...

    def has_backend(self, name: str, /) -> bool:
        """Whether a backend is inside, by its name."""
        ...

    def tool(self, name: str, /) -> ToolFacts | None:
        """A registered tool, by its name."""
        ...


def agent_outlets(step: Step[Any, Any], action: AgentAction, boundary: Boundary) -> list[Outlet]:
    """Where what an agent is told leaves."""
    said, agent = step.policies.labelling.egress, action.agent
    if said:
        return [Outlet("agent", _named(said, step.name))]
    if isinstance(agent, ModelAgent):
        own = () if said is False else _outside(agent, boundary)
        given = (name for name in _given(action, step.policies) if not _is_inside(name, boundary))
        return [Outlet("model", name, masked=True) for name in dict.fromkeys((*own, *given))]
    if said is False:
        return []
    if isinstance(agent, str):
        return [Outlet("agent", agent)]
    egress = agent.egress if isinstance(agent, DeclaresEgress) else True
    return [Outlet("agent", _named(egress, type(agent).__name__))] if egress else []


def step_outlets(step: Step[Any, Any]) -> list[Outlet]:
    """Where a step that calls a function says that what it is given leaves."""
    said = step.policies.labelling.egress
    return [Outlet("step", _named(said, step.name))] if said else []


def _named(egress: bool | str, otherwise: str) -> str:
    return egress if isinstance(egress, str) else otherwise


def _outside(agent: ModelAgent, boundary: Boundary) -> Iterator[str]:
    """The names of the models outside that an agent asks."""
    if isinstance(agent, BuildsAgents):
        yield BUILT
    else:
        yield from (name for one in _asked(agent.model) if (name := _name_outside(one, boundary)) is not None)


def _given(action: AgentAction, policies: StepPolicy) -> Iterator[str]:
    """The names of the models that a run has given an agent, or may give it."""
    if action.changed is not None and action.changed.model is not None:
        yield action.changed.model
    if policies.allow_reconfigure is not None:
        yield from policies.allow_reconfigure.models


@runtime_checkable
class _Several(Protocol):
    """pydantic-ai's ``FallbackModel``."""

    models: Sequence[Any]


@runtime_checkable
class _Around(Protocol):
    """pydantic-ai's ``WrapperModel``."""

    wrapped: Any


def _asked(model: Any) -> Iterator[Any]:
    """The models that a model asks; itself, as a rule."""
    if isinstance(model, _Around):
        yield from _asked(model.wrapped)
    elif isinstance(model, _Several):
        for one in model.models:
            yield from _asked(one)
    else:
        yield model


def _name_outside(model: Any, boundary: Boundary) -> str | None:
    """The name of a model that is outside; None of one that is inside."""
    if any((one.__module__, one.__name__) in FOR_TESTS for one in type(model).__mro__):
        return None
    name = model_name(model)
    if name is None:
        return UNKNOWN_MODEL
    return None if _is_inside(name, boundary) else name


def _is_inside(name: str, boundary: Boundary) -> bool:
    return name == "test" or boundary.has_model(name)
