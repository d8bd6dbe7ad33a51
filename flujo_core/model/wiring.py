"""Where named inputs come from: each is looked up in the scopes around its step, when the whole pipeline is known."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any
from urllib.parse import unquote

from flujo_core.errors import DefinitionError, EdgeError, did_you_mean
from flujo_core.model.action import HumanAction
from flujo_core.model.branch import Branch
from flujo_core.model.check import bare, fits, type_name
from flujo_core.model.field import field_type
from flujo_core.model.flow import (
    FALLBACK,
    AsWritten,
    Entry,
    Node,
    Scope,
    encoded_name,
    everything,
    exits,
    join,
    joined,
    narrowest,
    parts_of,
    scopes_of,
)
from flujo_core.model.inputs import RUN_INPUT, SCOPE_INPUT, From, NamedInput
from flujo_core.model.loop import Loop
from flujo_core.model.map import Map, items_of
from flujo_core.model.slotted import NamedTuple, frozen
from flujo_core.model.step import Step
from flujo_core.model.surroundings import check_backend, check_policies

SEGMENT = r"(?P<name>.*?)(?:\[(?P<inner>[^\]]*)\])?"


class Source(NamedTuple):
    """Where a named input comes from, as one goes through the scopes that are open when its step runs.

    Attributes:
        up: How many scopes to go outwards.
        previous: Whether to go from there to the iteration before.
        into: The scopes to go into from there, by their places in the scope before: ``refine``, ``fan[left]``.
        name: The node whose output it is; ``RUN_INPUT`` or ``SCOPE_INPUT`` for an input.
        path: A field of that.
        hint: The type that it is declared with.
    """

    up: int
    previous: bool
    into: tuple[str, ...]
    name: str
    path: tuple[str, ...]
    hint: Any = Any


@frozen()
class Wiring:
    """The named inputs of a pipeline.

    Addresses are those of ``walk``: iterations and items are ``[*]``.

    Attributes:
        sources: Where each named input of a step comes from, by the step's address.
        kept: The addresses of the nodes whose outputs are kept for others.
        entered: The addresses of the scopes that are kept for others, after they have ended.
        inputs: The addresses of the scopes whose inputs are kept for others; empty for that of the run.
        run_input: The steps that take the run's input by name where the pipeline itself ignores it.
        streamed: Where all is kept, the addresses of the nodes that stream into others: their outputs are not.
    """

    sources: dict[str, dict[From, Source]] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    entered: set[str] = field(default_factory=set)
    inputs: set[str] = field(default_factory=set)
    run_input: list[Entry] = field(default_factory=list)
    streamed: set[str] = field(default_factory=set)

    def takes(self, whole: Node[Any, Any]) -> Any:
        """The type of a run's input: what the pipeline takes, or what steps that name it do.

        Raises:
            EdgeError: Two steps take it as what it cannot be at once.
        """
        found = narrowest(self.run_input) if self.run_input else whole.takes
        if found is Any and len(self.run_input) > 1 and (apart := _apart(self.run_input)):
            one, other = apart
            raise EdgeError(
                f"step '{one.label}' takes the input of the run as '{type_name(one.takes)}', and step '{other.label}'"
                f" as '{type_name(other.takes)}'; one value cannot be both"
            )
        return found


def _apart(entries: Sequence[Entry]) -> tuple[Entry, Entry] | None:
    """Two entries of which neither takes what the other does."""
    pairs = ((one, other) for one in entries for other in entries)
    return next(
        (pair for pair in pairs if not fits(pair[0].takes, pair[1].takes) and not fits(pair[1].takes, pair[0].takes)),
        None,
    )


class Place:
    """A scope, while the nodes in it are walked.

    Args:
        path: Its address.
        nodes: What runs in it.
        around: The scope around it, or None for the run.
        owner: The map or loop whose item or iteration it is, or None.

    Attributes:
        names: The nodes in it, by name.
        ran: The names of those that have run when the present one does, or stream into it.
        streaming: The names of those that stream into the present one.
    """

    def __init__(
        self,
        path: str,
        nodes: Sequence[Node[Any, Any]],
        around: Place | None,
        owner: Node[Any, Any] | None,
    ) -> None:
        self.path = path
        self.names = {node.label: node for node in nodes}
        self.around = around
        self.owner = owner
        self.ran: list[str] = []
        self.streaming: list[str] = []

    def outwards(self) -> Iterator[Place]:
        """This scope, and those around it."""
        place: Place | None = self
        while place is not None:
            yield place
            place = place.around


def wire(
    whole: Node[Any, Any],
    changed: Mapping[str, Sequence[Node[Any, Any]]] = AsWritten,
    *,
    keeps_all: bool = False,
) -> Wiring:
    """Checks a pipeline, and finds where its named inputs come from.

    Args:
        whole: The pipeline.
        changed: The nodes of scopes that have others than it says, by the scopes' addresses.
        keeps_all: Whether all is kept that a step could name which is put in later; but not what streams.

    Raises:
        DefinitionError: Something cannot be right; the message names the step.
    """
    wiring = Wiring()
    wirer = _Wirer(whole, wiring, changed, keeps_all)
    wirer.scope(wirer.place("", parts_of(whole), None, None), whole.takes)
    wiring.takes(whole)
    return wiring


class _Wirer:
    """Walks a pipeline."""

    def __init__(
        self,
        whole: Node[Any, Any],
        wiring: Wiring,
        changed: Mapping[str, Sequence[Node[Any, Any]]],
        keeps_all: bool,
    ) -> None:
        self._whole = whole
        self._wiring = wiring
        self._changed = changed
        self._keeps_all = keeps_all

    def place(
        self, path: str, nodes: Sequence[Node[Any, Any]], around: Place | None, owner: Node[Any, Any] | None
    ) -> Place:
        """A scope, with the nodes that it has."""
        if self._keeps_all:
            self._wiring.entered.add(path)
            self._wiring.inputs.add(path)
        return Place(path, self._changed.get(path, nodes), around, owner)

    def scope(self, place: Place, given: Any) -> None:
        """Walks the nodes of a scope.

        Args:
            place: The scope.
            given: The type of what the first of them is given.
        """
        nodes = list(place.names.values())
        for index, node in enumerate(nodes):
            if index and joined(nodes[index - 1], node):
                place.streaming.append(nodes[index - 1].label)
            elif node.takes_item is not None:
                raise DefinitionError(
                    f"step '{node.label}' takes a stream, and what comes before it gives one value; let it take"
                    " that, or put a step before it that yields"
                )
            else:
                place.streaming.clear()
            self._node(node, place, given)
            if self._keeps_all:
                streams = index + 1 < len(nodes) and joined(node, nodes[index + 1])
                (self._wiring.streamed if streams else self._wiring.kept).add(join(place.path, node.label))
            given = node.gives
            if not exits(node.gives) and index + 1 < len(nodes):
                raise DefinitionError(
                    f"step '{nodes[index + 1].label}' never runs: '{node.label}' before it never gives an output;"
                    " leave it out, or let the one before give something"
                )
            place.ran.append(node.label)

    def _node(self, node: Node[Any, Any], place: Place, given: Any) -> None:
        address = join(place.path, node.label)
        node.check_fallback()
        if isinstance(node, Branch):
            node.check_cases()
        check_policies(node)
        if isinstance(node, Step):
            check_backend(node, address)
            if node.template is not None and bare(node.takes) is Any:
                node.template.check(given)
            self._leaf(node, address, place)
        for scope in scopes_of(node):
            around = self.place(address + scope.segment, scope.nodes, place, _owner(node, scope))
            self.scope(around, _entering(node, scope, given))

    def _leaf(self, step: Step[Any, Any], address: str, place: Place) -> None:
        for wanted in step.named_inputs:
            who = f"step '{step.label}' takes '{wanted.parameter}' from {wanted.source.said}"
            found = _Search(self._whole, self._changed, place, wanted, who, _remedy(step, wanted))
            source = found.source()
            if source.name == RUN_INPUT and found.gives is Any and not source.path:
                self._wiring.run_input.append(Entry(step.label, wanted.hint))
            gives = field_type(wanted.source.path, found.gives, who)
            if not fits(gives, wanted.hint):
                raise EdgeError(
                    f"{who}, which gives '{type_name(gives)}', and declares '{type_name(wanted.hint)}'; change one of"
                    " the two"
                )
            hint = gives if wanted.is_placeholder else wanted.hint
            self._wiring.sources.setdefault(address, {})[wanted.source] = source._replace(hint=hint)
            self._wiring.kept.update(found.kept)
            self._wiring.entered.update(found.entered)
            self._wiring.inputs.update(found.inputs)


def _remedy(step: Step[Any, Any], wanted: NamedInput) -> str:
    """What can be done about an input that may not be there."""
    if not wanted.is_placeholder:
        return "give it a default"
    if isinstance(step.action, HumanAction):
        return "show it by a step before this one, which takes it with a default"
    return "take it in a prompt function, with a default"


def _entering(node: Node[Any, Any], scope: Scope, given: Any) -> Any:
    """The type of what a scope of a node is given; of a loop, as the first iteration is and as the others are."""
    if isinstance(node, Map) and scope.segment != FALLBACK:
        return items_of(given if node.over is None else node.over.gives) if bare(node.item) is Any else node.item
    if isinstance(node, Loop) and scope.segment != FALLBACK:
        return given if given == node.gives else Any
    return given


def _owner(node: Node[Any, Any], scope: Scope) -> Node[Any, Any] | None:
    """The node whose items or iterations a scope is; those of other nodes have no input of their own."""
    return node if isinstance(node, Loop | Map) and scope.segment != FALLBACK else None


class _Search:
    """Looks one named input up.

    Attributes:
        gives: The type of what was found.
        kept: The addresses of the nodes whose outputs must be kept for it.
        entered: The addresses of the scopes that must be kept for it.
        inputs: The addresses of the scopes whose inputs must be kept for it.
    """

    def __init__(
        self,
        whole: Node[Any, Any],
        changed: Mapping[str, Sequence[Node[Any, Any]]],
        place: Place,
        wanted: NamedInput,
        who: str,
        remedy: str,
    ) -> None:
        self._whole = whole
        self._changed = changed
        self._place = place
        self._wanted = wanted
        self._who = who
        self._remedy = remedy
        self._previous = False
        self._uncertain: str | None = None
        self.gives: Any = None
        self.kept: set[str] = set()
        self.entered: set[str] = set()
        self.inputs: set[str] = set()

    def source(self) -> Source:
        """Where it comes from.

        Raises:
            DefinitionError: It comes from nowhere, or may not be there.
        """
        if self._wanted.source.name == RUN_INPUT:
            self.gives = open_type(self._whole.takes)
            self.inputs.add("")
            return self._made(0, (), RUN_INPUT)
        if self._wanted.source.name == SCOPE_INPUT:
            return self._scope_input()
        return self._output(self._wanted.source.name)

    def _scope_input(self) -> Source:
        for up, place in enumerate(self._place.outwards()):
            if place.owner is not None:
                self.gives = open_type(place.owner.item if isinstance(place.owner, Map) else place.owner.takes)
                self.inputs.add(place.path)
                return self._made(up, (), SCOPE_INPUT)
        raise DefinitionError(f"{self._who}, and no map or loop is around it; write 'From.run_input'")

    def _output(self, name: str) -> Source:
        segments = [(name, None)] if self._is_declared(name) else [_segment(one) for one in name.split("/")]
        top = segments[0][0]
        for up, place in enumerate(self._place.outwards()):
            if top not in place.names:
                continue
            if top in place.streaming:
                raise DefinitionError(
                    f"{self._who}, which streams at the same time and has no output yet; take it behind the stream"
                )
            if top not in place.ran:
                if not isinstance(place.owner, Loop):
                    break
                self._previous = True
                self._uncertain = "has not run in the first iteration"
            return self._below(up, place, segments)
        raise DefinitionError(f"{self._who}, which {self._missing(top)}")

    def _missing(self, name: str) -> str:
        """Why a name is not one of what has run, as the end of a message."""
        for place in self._place.outwards():
            if name in place.names:
                is_current = list(place.names)[len(place.ran)] == name
                return (
                    ("is the step itself" if place is self._place else "it runs in") if is_current else "runs after it"
                )
        known = everything(self._whole, "", self._changed)
        inner = (address for address, _ in known if address.endswith("/" + encoded_name(name)))
        if (address := next(inner, None)) is None:
            return f"does not run before it{did_you_mean(name, self._visible())}"
        path = unquote(address.replace("[*]", ""))
        is_over = _segment(path.partition("/")[0])[0] in self._visible()
        return f"runs in '{path.rpartition('/')[0]}'" + (f"; did you mean '{path}'?" if is_over else " beside it")

    def _is_declared(self, name: str) -> bool:
        """Whether a node has this very name, whatever is in it."""
        return any(name in place.names for place in self._place.outwards())

    def _visible(self) -> list[str]:
        known = [name for place in self._place.outwards() for name in place.ran]
        return [*known, "input"] if self._wanted.is_placeholder else known

    def _below(self, up: int, place: Place, segments: Sequence[tuple[str, str | None]]) -> Source:
        """Follows the path downwards from a scope."""
        names, address = place.names, place.path
        into: list[str] = []
        for index, (name, inner) in enumerate(segments):
            if name not in names:
                raise DefinitionError(
                    f"{self._who}: there is no '{name}' in '{segments[index - 1][0]}'{did_you_mean(name, names)}"
                )
            node, address = names[name], join(address, name)
            if index == len(segments) - 1 and inner is None:
                self.gives = node.gives
                self.kept.add(address)
                return self._made(up, tuple(into), name)
            scope = self._entered(node, name, inner)
            place_of = name if scope.segment in ("", "[*]") else name + scope.segment
            into.append(place_of)
            address += scope.segment
            self.entered.add(address)
            names = {one.label: one for one in self._changed.get(address, scope.nodes)}
        raise DefinitionError(f"{self._who}: name the step in it, as in '{self._wanted.source.name}/step'")

    def _entered(self, node: Node[Any, Any], name: str, inner: str | None) -> Scope:
        """The scope of a node that a path goes into."""
        if isinstance(node, Map):
            raise DefinitionError(
                f"{self._who}: what runs in map '{name}' has no name outside; take the list, '{name}'"
            )
        if not node.scopes:
            raise DefinitionError(f"{self._who}: '{name}' is a step, and nothing runs in it")
        if isinstance(node, Branch):
            self._uncertain = f"has run only if branch '{name}' has taken that case"
        if node.policies.fallback is not None or node.policies.cache is not None:
            self._uncertain = f"has not run where the fallback or the cache of '{name}' stood in"
        known = {scope.segment: scope for scope in node.scopes}
        if known.keys() <= {"", "[*]"}:
            if inner is not None:
                raise DefinitionError(f"{self._who}: '{name}' is named without brackets: the last iteration is meant")
            return next(iter(known.values()))
        places = [unquote(segment[1:-1]) for segment in known]
        if inner is None:
            raise DefinitionError(f"{self._who}: say which branch of '{name}', as in '{name}[{places[0]}]/...'")
        if unquote(inner) not in places:
            raise DefinitionError(f"{self._who}: '{name}' has no branch '{inner}'{did_you_mean(inner, places)}")
        return list(known.values())[places.index(unquote(inner))]

    def _made(self, up: int, into: tuple[str, ...], name: str) -> Source:
        if self._uncertain is not None and not self._wanted.has_default:
            raise DefinitionError(f"{self._who}, which {self._uncertain}; {self._remedy}")
        return Source(up, self._previous, into, name, self._wanted.source.path)


def open_type(takes: Any) -> Any:
    """The type of an input: of one that is ignored, anything."""
    return Any if bare(takes) is object else takes


def _segment(written: str) -> tuple[str, str | None]:
    """The name, and what is in brackets after it."""
    found = re.fullmatch(SEGMENT, written)
    assert found is not None
    return found["name"], found["inner"]
