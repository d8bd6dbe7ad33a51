"""What the recipes share: functions whose types are known when a recipe is used, and what they check."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Annotated, Any, TypeVar

from flujo_core import DefinitionError, From, Node, Pipeline

F = TypeVar("F", bound=Callable[..., Any])


def typed(function: F, **hints: Any) -> F:
    """``function`` with annotations that its own code cannot know: the types of the nodes around it.

    Args:
        function: A function that is made anew each time that a recipe is used.
        hints: Its annotations, all of them.
    """
    function.__annotations__ = hints
    return function


def hint_of(kind: Any, field: str) -> Any:
    """The type of a field of a model."""
    return kind.model_fields[field].annotation


def taken(hint: Any, source: From) -> Any:
    """The annotation of a parameter that is a named input.

    Args:
        hint: Its type.
        source: Where it comes from.
    """
    return Annotated[hint, source]


def last_of(node: Node[Any, Any]) -> str:
    """The name by which what ``node`` gives is taken: of a pipeline without a name, that of its last node."""
    return node.nodes[-1].label if isinstance(node, Pipeline) and node.name is None else node.label


def checked_node(given: Any, what: str) -> Any:
    """``given``, if it is a node.

    Raises:
        DefinitionError: It is something else.
    """
    if not isinstance(given, Node):
        raise DefinitionError(f"{what} is a step or a pipeline, not {type(given).__name__!r}; make it one with '@step'")
    return given


def checked_share(given: Any, what: str) -> float:
    """``given``, if it is a number from 0 to 1.

    Raises:
        DefinitionError: It is something else.
    """
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= 1:
        raise DefinitionError(f"{what} is a number from 0 to 1, not {given!r}")
    return float(given)


def checked_weight(given: Any, what: str) -> float:
    """``given``, if it is a number above 0.

    Raises:
        DefinitionError: It is something else.
    """
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < inf:
        raise DefinitionError(f"{what} is a number above 0, not {given!r}")
    return float(given)
