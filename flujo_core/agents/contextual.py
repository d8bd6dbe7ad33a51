"""ContextualAgentFactory: an agent that is built of what its step is given, just before it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, Generic, TypeVar, get_args, get_type_hints

from flujo_core.errors import DefinitionError
from flujo_core.model.agent import output_type as type_of

if TYPE_CHECKING:
    from pydantic_ai.agent import AbstractAgent

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)


class ContextualAgentFactory(Generic[In, Out]):
    """Builds the agent of a step from the step's input, and from what else the builder takes, just before it runs.

    For ``Step.agent``, in an agent's place. The builder is a function of the step's input that gives a pydantic-ai
    agent; beside the input it may take what a step may: the context, ``Resources``, ``RunInfo``, named inputs. A digest
    of what it has built is journaled: where a run that goes on after a crash builds another agent, what is recorded of
    the first one's calls is not used. Where a plugin authorizes, it is asked again, with the model's name, once that is
    known.

    Args:
        build: The builder; async or not.
        output_type: The type of the output; that of the agent that ``build`` is annotated to give, unless given.

    Raises:
        DefinitionError: ``build`` is no function, or does not say what its agents give.
    """

    def __init__(
        self, build: Callable[Concatenate[In, ...], AbstractAgent[Any, Out]], *, output_type: type[Out] | None = None
    ) -> None:
        if not callable(build):
            raise DefinitionError(f"a ContextualAgentFactory takes a function, not {type(build).__name__!r}")
        self.build: Callable[..., Any] = build
        self.scope: Mapping[str, Any] = dict(sys._getframe(1).f_locals)
        self.output_type: Any = _said(build, self.scope) if output_type is None else output_type
        self.deps_type: type = type(None)
        self.model: Any = None

    def __repr__(self) -> str:
        return "<ContextualAgentFactory>"


def _said(build: Callable[..., Any], scope: Mapping[str, Any]) -> Any:
    """The type of output of the agents that a builder is annotated to give."""
    try:
        hint = get_type_hints(build, localns=dict(scope)).get("return")
    except (NameError, TypeError):
        hint = None
    found = get_args(hint)
    if len(found) != 2:
        raise DefinitionError(
            "the builder of a ContextualAgentFactory does not say what its agents give; annotate it, as in"
            " '-> Agent[None, Plan]', or give 'output_type='"
        )
    return type_of(found[1])
