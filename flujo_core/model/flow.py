"""How steps are put together: Node, what all parts of a pipeline have in common, and Pipeline, a sequence of them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from functools import reduce
from typing import Any, Generic, Never, NoReturn, Self, TypeAlias, overload
from urllib.parse import quote

from typing_extensions import TypeVar

from flujo_core.errors import DefinitionError, EdgeError
from flujo_core.model.check import bare, check_edge, check_unique, fits, type_name
from flujo_core.model.clearance import Labels
from flujo_core.model.policy import NO_POLICY, Cache, Migrations, Policies, Retry, StepPolicy, Timeout
from flujo_core.model.rename import pattern_of
from flujo_core.model.slotted import NamedTuple, frozen

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)
Item = TypeVar("Item", covariant=True)
C = TypeVar("C")
J = TypeVar("J")

FALLBACK = "~fallback"
"""What follows a node's name in the addresses of its fallback."""


class Scope(NamedTuple):
    """A part of a node in which other nodes run, one after the other.

    Attributes:
        segment: What its address has after the node's: ``[left]``, ``[*]`` for iterations and items, nothing for a
            pipeline with a name.
        body: What runs in it.
    """

    segment: str
    body: Node[Any, Any]

    @property
    def nodes(self) -> tuple[Node[Any, Any], ...]:
        """The nodes that run in it."""
        return parts_of(self.body)


class Entry(NamedTuple):
    """A place where a node's input goes.

    Attributes:
        label: The step that takes it.
        takes: The type that is declared there.
    """

    label: str
    takes: Any


class Node(Generic[In, Out]):
    """A part of a pipeline: takes ``In``, gives ``Out``. Frozen; making a pipeline from it leaves it as it is."""

    policies: StepPolicy = NO_POLICY

    @property
    def label(self) -> str:
        """How messages and listings name this part."""
        raise NotImplementedError

    @property
    def takes(self) -> Any:
        """The type of its input."""
        return narrowest(self.entries)

    @property
    def gives(self) -> Any:
        """The type of its output."""
        raise NotImplementedError

    @property
    def item(self) -> Any:
        """The type of the pieces that it gives as they come; None if it gives one value."""
        return None

    @property
    def takes_item(self) -> Any:
        """The type of the pieces that it takes as they come; None if it takes one value."""
        return None

    @property
    def entries(self) -> Sequence[Entry]:
        """Where its input goes: more than one place where it has branches."""
        return (Entry(self.label, self.takes),)

    @property
    def scopes(self) -> Sequence[Scope]:
        """Its parts, if other nodes run in it; without the fallback."""
        return ()

    def named(self, name: str, *, was: str | None = None) -> Self:
        """The same part under another name; a pipeline becomes a scope of its own.

        Args:
            name: The name.
            was: The name that it had before, so that runs that were begun under that name go on.
        """
        made = self._changed(name=checked_name(name))
        return made if was is None else made._with_policies(Policies(was=was))

    def policy(
        self,
        *,
        retry: Retry | None = None,
        timeout: float | Timeout | None = None,
        fallback: Node[In, Out] | None = None,  # pyright: ignore[reportGeneralTypeIssues]
        cache: Cache | None = None,
        version: str | None = None,
        was: str | None = None,
        migrations: Migrations | None = None,
        labels: Labels | None = None,
    ) -> Self:
        """The same part with other policies; what is not given stays as it is.

        Of a part in which others run, they hold for the whole: when it is tried again, all of it begins anew.

        Args:
            retry: When it is tried again.
            timeout: How long one attempt may take, in seconds; or a ``Timeout``.
            fallback: What runs, with the same input, when it has failed for good.
            cache: Whether its outputs are kept for equal inputs.
            version: Changed by the author when its meaning changes, so that what was cached is not used any more.
            was: The name that it had before, so that runs that were begun under that name go on.
            migrations: How runs go on that were begun under another ``version``; see ``Policies``.
            labels: What it does to the labels of data that goes through it.

        Raises:
            DefinitionError: It is a pipeline without a name, or a policy cannot be.
            EdgeError: The fallback takes or gives something else.
        """
        return self._with_policies(
            Policies(
                retry=retry,
                timeout=timeout,
                fallback=fallback,
                cache=cache,
                version=version,
                was=was,
                migrations=migrations,
                labels=labels,
            )
        )

    def check(self) -> None:
        """Checks all that can be checked before a run: edges, names, named inputs, placeholders, cases.

        The node is taken for the whole: a name that only a pipeline around it would have is not known.

        Raises:
            DefinitionError: Something cannot be right; the message names the step.
        """
        from flujo_core.model.wiring import wire  # noqa: PLC0415 - it walks nodes of all kinds, which are made of this

        wire(self)

    def rebuilt(self, remake: Callable[[Node[Any, Any]], Node[Any, Any]]) -> Self:
        """The same node with each part that runs in it remade, and checked again."""
        fallback = self.policies.fallback
        if fallback is None:
            return self
        return self._changed(policies=self.policies.changed({"fallback": remake(fallback)}))

    @overload
    def __rshift__(self, other: StreamingNode[Out, C, J], /) -> StreamingPipeline[In, C, J]: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def __rshift__(self, other: Node[Out, C], /) -> Pipeline[In, C]: ...
    def __rshift__(self, other: Any, /) -> Any:
        """``a >> b``: first a, then b with a's output; or with its pieces as they come, if b takes a stream.

        Raises:
            EdgeError: b does not take what a gives.
            DefinitionError: Two steps have the same name; or are joined, and have policies of their own.
        """
        if not isinstance(other, Node):
            return NotImplemented
        kind = StreamingPipeline if isinstance(other, StreamingNode) else Pipeline
        return kind(None, (*parts_of(self), *parts_of(other)))

    def _with_policies(self, policies: Policies) -> Self:
        made = self._changed(policies=self.policies.changed(policies))
        made.check_fallback()
        return made

    def check_fallback(self) -> None:
        """Checks that the fallback can stand in for this node.

        Raises:
            DefinitionError: It is no node, or a pipeline without a name has policies.
            EdgeError: It takes or gives something else.
        """
        fallback = self.policies.fallback
        if fallback is None:
            return
        if not isinstance(fallback, Node):
            raise DefinitionError(
                f"the fallback of '{self.label}' is a step or a pipeline, not {type(fallback).__name__!r}"
            )
        for entry in fallback.entries:
            if not fits(self.takes, entry.takes):
                raise EdgeError(
                    f"step '{self.label}' takes '{type_name(self.takes)}' and its fallback, '{entry.label}', takes"
                    f" '{type_name(entry.takes)}'; it gets the same input"
                )
        if not fits(fallback.gives, self.gives):
            raise EdgeError(
                f"step '{self.label}' gives '{type_name(self.gives)}' and its fallback, '{fallback.label}', gives"
                f" '{type_name(fallback.gives)}'; it stands in for it"
            )

    def _changed(self, **changes: Any) -> Self:
        """A copy with other attributes."""
        made = copy(self)
        for name, value in changes.items():
            object.__setattr__(made, name, value)
        return made

    def __repr__(self) -> str:
        return f"<{type(self).__name__} '{self.label}'>"


class StreamingNode(Node[In, Out], Generic[In, Out, Item]):
    """A node that ends in a stream of ``Item``; a neighbour that takes no stream gets ``Out``, the whole."""

    @overload  # type: ignore[override]
    def __rshift__(self, other: StreamingNode[AsyncIterator[Item], C, J], /) -> StreamingPipeline[In, C, J]: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def __rshift__(self, other: Node[AsyncIterator[Item], C], /) -> Pipeline[In, C]: ...
    @overload
    def __rshift__(self, other: StreamingNode[Out, C, J], /) -> StreamingPipeline[In, C, J]: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def __rshift__(self, other: Node[Out, C], /) -> Pipeline[In, C]: ...
    def __rshift__(self, other: Any, /) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """As of any node."""
        return super().__rshift__(other)


@frozen(eq=False, repr=False)
class Pipeline(Node[In, Out]):
    """A sequence: each node gets the output of the one before it. Made by ``>>``; itself a node.

    Attributes:
        name: Set by ``named``; makes the pipeline a scope, which its steps' addresses begin with. A pipeline without
            a name is dissolved in the pipeline that it becomes part of.
        nodes: At least one.
        policies: What holds for the whole, if it has a name.
    """

    name: str | None
    nodes: tuple[Node[Any, Any], ...]
    policies: StepPolicy = NO_POLICY

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(part for node in self.nodes for part in parts_of(node)))
        if not self.nodes:
            raise DefinitionError("a pipeline needs at least one step")
        for left, right in zip(self.nodes, self.nodes[1:], strict=False):
            if joined(left, right):
                check_edge(left.label, _stream(left.item), right.label, right.takes)
                _check_joined(left, right)
                continue
            for entry in right.entries:
                check_edge(left.label, left.gives, entry.label, entry.takes)
        check_unique([node.label for node in self.nodes], f"pipeline '{self.label}'")
        _check_was(self.nodes)

    @property
    def label(self) -> str:
        return self.name or " >> ".join(node.label for node in self.nodes)

    @property
    def entries(self) -> Sequence[Entry]:
        return self.nodes[0].entries

    @property
    def gives(self) -> Any:
        return self.nodes[-1].gives

    @property
    def scopes(self) -> Sequence[Scope]:
        return (Scope("", self._changed(name=None, policies=NO_POLICY)),)

    def rebuilt(self, remake: Callable[[Node[Any, Any]], Node[Any, Any]]) -> Self:
        made = super().rebuilt(remake)._changed(nodes=tuple(remake(node) for node in self.nodes))
        made.__post_init__()
        return made

    def _with_policies(self, policies: Policies) -> Self:
        if self.name is None:
            raise DefinitionError(
                f"pipeline '{self.label}' has no name, and policies hold for a scope; write '.named(...).policy(...)'"
            )
        return super()._with_policies(policies)


class StreamingPipeline(StreamingNode[In, Out, Item], Pipeline[In, Out]):
    """A sequence whose last step is a streaming one."""


def joined(left: Node[Any, Any], right: Node[Any, Any]) -> bool:
    """Whether the pieces of ``left`` go into ``right``, its neighbour, as they come."""
    return right.takes_item is not None and left.item is not None


def _stream(item: Any) -> Any:
    """The type of a stream of these pieces."""
    return AsyncIterator[item]


def streaming_on(node: Node[Any, Any], path: str = "") -> Iterator[str]:
    """The addresses, as ``walk`` gives them, of the steps whose pieces go into another step."""
    for group in streams_of(parts_of(node)):
        yield from (join(path, one.label) for one in group[:-1])
        for part in group:
            for scope in scopes_of(part):
                yield from streaming_on(scope.body, join(path, part.label) + scope.segment)


def streams_of(nodes: Iterable[Node[Any, Any]]) -> list[list[Node[Any, Any]]]:
    """The nodes of a scope, those together that are joined."""
    found: list[list[Node[Any, Any]]] = []
    for node in nodes:
        if found and joined(found[-1][-1], node):
            found[-1].append(node)
        else:
            found.append([node])
    return found


def _check_joined(left: Node[Any, Any], right: Node[Any, Any]) -> None:
    """Checks that neither of two steps that are joined would begin again alone."""
    for node in (left, right):
        policies = node.policies
        for name, one in (("retry", policies.retry), ("fallback", policies.fallback), ("cache", policies.cache)):
            if one is not None:
                raise DefinitionError(
                    f"step '{node.label}' has '{name}', and streams from '{left.label}' to '{right.label}': what has"
                    f" left cannot be taken back; write '({left.label} >> {right.label}).named(...).policy({name}=...)'"
                )


def parts_of(node: Node[Any, Any]) -> tuple[Node[Any, Any], ...]:
    """What ``node`` adds to a sequence: itself, or the nodes of a pipeline without a name."""
    return node.nodes if isinstance(node, Pipeline) and node.name is None else (node,)


def _check_was(siblings: Sequence[Node[Any, Any]]) -> None:
    """Checks that no node of a scope claims a name, from before, that another has, or claims too."""
    renamed: dict[str, str] = {}
    for node in siblings:
        was, name = node.policies.was, node.label
        if was is None:
            continue
        if was in renamed:
            raise DefinitionError(
                f"steps '{renamed[was]}' and '{name}' both have 'was=\"{was}\"'; only one of them can go on as what was"
                f" '{was}'"
            )
        if any(other.label == was for other in siblings if other is not node):
            raise DefinitionError(
                f"step '{name}' has 'was=\"{was}\"', and there is a step '{was}' beside it; if that is another one,"
                " give it a name that none had before"
            )
        renamed[was] = name


def walk(node: Node[Any, Any], path: str = "") -> Iterator[tuple[str, Node[Any, Any]]]:
    """Every leaf below ``node``, with its address, in order.

    Iterations and items, which only a run knows, are ``[*]``: ``refine[*]/critique``.
    """
    return ((address, part) for address, part in everything(node, path) if not part.scopes)


AsWritten: Mapping[str, Sequence[Node[Any, Any]]] = {}
"""The scopes that have other nodes than the pipeline says: none."""


def everything(
    node: Node[Any, Any], path: str = "", changed: Mapping[str, Sequence[Node[Any, Any]]] = AsWritten
) -> Iterator[tuple[str, Node[Any, Any]]]:
    """Every node below ``node``, those too in which others run, with its address as ``walk`` gives it, in order.

    Args:
        node: The node.
        path: Its address.
        changed: The nodes of scopes that have others than the pipeline says, by the scopes' addresses.
    """
    for part in changed.get(path) or parts_of(node):
        address = join(path, part.label)
        yield address, part
        for scope in scopes_of(part):
            yield from everything(scope.body, address + scope.segment, changed)


def scope_at(
    whole: Node[Any, Any], path: str, changed: Mapping[str, Sequence[Node[Any, Any]]] = AsWritten
) -> Node[Any, Any]:
    """What runs in a scope as it was written, by its address as ``walk`` gives it; empty for the whole.

    Args:
        whole: The pipeline.
        path: The address.
        changed: The nodes of scopes around it that have others than the pipeline says.

    Raises:
        LookupError: There is no such scope.
    """
    if not path:
        return whole
    for address, node in everything(whole, "", changed):
        if path.startswith(address):
            for scope in scopes_of(node):
                if address + scope.segment == path:
                    return scope.body
    raise LookupError(path)


def located(
    whole: Node[Any, Any], address: str, changed: Mapping[str, Sequence[Node[Any, Any]]] = AsWritten
) -> tuple[str, Node[Any, Any]]:
    """A node by its address in a run, with its address as ``walk`` gives it.

    Args:
        whole: The pipeline.
        address: The address.
        changed: The nodes of scopes around it that have others than the pipeline says.

    Raises:
        LookupError: There is no such node.
    """
    for static, node in everything(whole, "", changed):
        if re.fullmatch(pattern_of(static), address):
            return static, node
    raise LookupError(address)


def scopes_of(node: Node[Any, Any]) -> Iterator[Scope]:
    """The scopes of a node, its fallback's last."""
    yield from node.scopes
    if node.policies.fallback is not None:
        yield Scope(FALLBACK, node.policies.fallback)


def join(path: str, name: str) -> str:
    """The address of ``name`` within the scope ``path``; names are percent-encoded."""
    segment = encoded_name(name)
    return f"{path}/{segment}" if path else segment


def encoded_name(name: str) -> str:
    """A name as it stands in an address, where '~', '[', '#', '!', '*' and '/' mean something."""
    if name.isascii() and name.replace("_", "").isalnum():
        return name  # as most are, and seen at once
    return quote(name, safe="").replace("~", "%7E")


def checked_name(name: str) -> str:
    """``name``, if it can be the name of a node.

    Raises:
        DefinitionError: It is no text, or empty.
    """
    if not isinstance(name, str):
        raise DefinitionError(f"a step's name is text, not {type(name).__name__!r}")
    if not name.strip():
        raise DefinitionError("a step's name is text that is not empty")
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        raise DefinitionError("a step's name is text that can be written: it has half of a surrogate pair")
    return name


def checked_body(node: Any, what: str) -> Node[Any, Any]:
    """``node``, if it is one.

    Raises:
        DefinitionError: It is something else.
    """
    if not isinstance(node, Node):
        raise DefinitionError(f"{what} is a step or a pipeline, not {type(node).__name__!r}; make it one with '@step'")
    return node


def narrowest(entries: Sequence[Entry]) -> Any:
    """The type that fits all entries; ``Any`` if none of theirs does."""
    kinds = [entry.takes for entry in entries if bare(entry.takes) not in (object, Any)]
    if not kinds:
        return entries[0].takes if entries else object
    smallest = reduce(lambda one, other: other if fits(other, one) else one, kinds)
    return smallest if all(fits(smallest, kind) for kind in kinds) else Any


def exits(gives: Any) -> bool:
    """Whether a node of this output type ever gives something."""
    return bare(gives) not in (Never, NoReturn)


Check: TypeAlias = Callable[[Node[Any, Any]], Iterable[str]]
"""Looks at a pipeline, and gives what is wrong with it, a sentence each."""
