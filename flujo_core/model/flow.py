"""How steps are put together: Node, what all parts of a pipeline have in common, and Pipeline, a sequence of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Generic, Self, TypeAlias
from urllib.parse import quote

from typing_extensions import TypeVar

from flujo_core.errors import DefinitionError
from flujo_core.model.check import check_edge, check_unique

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)
C = TypeVar("C")


class Node(Generic[In, Out]):
    """A part of a pipeline: takes ``In``, gives ``Out``. Frozen; making a pipeline from it leaves it as it is."""

    @property
    def label(self) -> str:
        """How messages and listings name this part."""
        raise NotImplementedError

    @property
    def takes(self) -> Any:
        """The type of its input."""
        raise NotImplementedError

    @property
    def gives(self) -> Any:
        """The type of its output."""
        raise NotImplementedError

    def named(self, name: str) -> Self:
        """The same part under another name; a pipeline becomes a scope of its own."""
        raise NotImplementedError

    def check(self) -> None:
        """Checks all that does not depend on where the node will be used.

        Raises:
            DefinitionError: Something cannot be right; the message names the step.
        """
        raise NotImplementedError

    def __rshift__(self, other: Node[Out, C], /) -> Pipeline[In, C]:
        """``a >> b``: first a, then b with a's output.

        Raises:
            EdgeError: b does not take what a gives.
            DefinitionError: Two steps have the same name.
        """
        if not isinstance(other, Node):
            return NotImplemented
        return Pipeline(None, (*parts_of(self), *parts_of(other)))


@dataclass(frozen=True, eq=False, repr=False)
class Pipeline(Node[In, Out]):
    """A sequence: each node gets the output of the one before it. Made by ``>>``; itself a node.

    Attributes:
        name: Set by ``named``; makes the pipeline a scope, which its steps' addresses begin with. A pipeline without
            a name is dissolved in the pipeline that it becomes part of.
        nodes: At least one.
    """

    name: str | None
    nodes: tuple[Node[Any, Any], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(part for node in self.nodes for part in parts_of(node)))
        if not self.nodes:
            raise DefinitionError("a pipeline needs at least one step")
        for left, right in zip(self.nodes, self.nodes[1:], strict=False):
            check_edge(left.label, left.gives, right.label, right.takes)
        check_unique([node.label for node in self.nodes], f"pipeline '{self.label}'")

    @property
    def label(self) -> str:
        return self.name or " >> ".join(node.label for node in self.nodes)

    @property
    def takes(self) -> Any:
        return self.nodes[0].takes

    @property
    def gives(self) -> Any:
        return self.nodes[-1].gives

    def named(self, name: str) -> Self:
        return replace(self, name=checked_name(name))

    def check(self) -> None:
        for node in self.nodes:
            node.check()

    def __repr__(self) -> str:
        return f"<Pipeline '{self.label}'>"


def parts_of(node: Node[Any, Any]) -> tuple[Node[Any, Any], ...]:
    """What ``node`` adds to a sequence: itself, or the nodes of a pipeline without a name."""
    return node.nodes if isinstance(node, Pipeline) and node.name is None else (node,)


def walk(node: Node[Any, Any], path: str = "") -> Iterator[tuple[str, Node[Any, Any]]]:
    """Every leaf below ``node``, with its address, in order."""
    if isinstance(node, Pipeline):
        below = join(path, node.name) if node.name else path
        for part in node.nodes:
            yield from walk(part, below)
    else:
        yield join(path, node.label), node


def join(path: str, name: str) -> str:
    """The address of ``name`` within the scope ``path``; names are percent-encoded."""
    segment = quote(name, safe="").replace("~", "%7E")  # '~', '[', '#', '!' and '/' mean something in an address
    return f"{path}/{segment}" if path else segment


def checked_name(name: str) -> str:
    """``name``, if it can be the name of a node.

    Raises:
        DefinitionError: It is no text, or empty.
    """
    if not isinstance(name, str):
        raise DefinitionError(f"a step's name is text, not {type(name).__name__!r}")
    if not name.strip():
        raise DefinitionError("a step's name is text that is not empty")
    return name


Check: TypeAlias = Callable[[Node[Any, Any]], Iterable[str]]
"""Looks at a pipeline, and gives what is wrong with it, a sentence each."""
