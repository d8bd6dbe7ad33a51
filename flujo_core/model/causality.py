"""What of a run is causally after one of its steps: what would have to run again if that step did.

After a step come: all that is later in its sequence, and steps that stream beside it; the later iterations of the loop
that it is in, and whether there are any; the later attempts of what it is in; the ends of all that it is in; and, for
each of these, what is later in its sequence. What runs beside it in a ``Parallel`` or ``Map`` does not, nor which case,
branches and items it is in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from flujo_core.model.event import (
    AttemptFailed,
    BranchDecided,
    ItemTaken,
    LoopDecided,
    NodeCompleted,
    NodeFailed,
    NodeKind,
    NodeStarted,
    RunEvent,
    RunResumed,
    RunStarted,
    StepCompleted,
    StepFailed,
)
from flujo_core.model.rename import renamed
from flujo_core.model.slotted import NamedTuple

TOKEN = re.compile(r"/?(?P<name>[^/\[#~]+)|#(?P<attempt>\d+)|\[(?P<scope>[^\]]*)\]|~(?P<aside>[^/\[#]+)")
"""A part of an address: a node's name, the number of an attempt of it, a scope in that, or what stands aside of it."""

Token: TypeAlias = tuple[str, str]
Path: TypeAlias = tuple[Token, ...]


class Span(NamedTuple):
    """Where a part of a run lies in its journal.

    Attributes:
        first: The sequence of the first event of it, or in it.
        last: That of the last one.
    """

    first: int
    last: int


class History:
    """A run's events by the parts of the run that they are of.

    Args:
        events: The events, in order, from the first.
    """

    def __init__(self, events: Sequence[RunEvent]) -> None:
        self.events = events
        self._paths = [path_of(address) for address in present_addresses(events)]
        self._spans: dict[Path, Span] = {}
        self._kinds: dict[Path, NodeKind] = {}
        for event, path in zip(events, self._paths, strict=True):
            for end in range(1, len(path) + 1):
                known = self._spans.get(path[:end])
                first = event.sequence if known is None else known.first
                self._spans[path[:end]] = Span(first, event.sequence)
            if isinstance(event, NodeStarted):
                self._kinds[(*path, ("attempt", str(event.attempt)))] = event.node

    @property
    def addresses(self) -> Sequence[str]:
        """The addresses of the steps and nodes that have begun, by the names that they have now."""
        found = present_addresses(self.events)
        return list(dict.fromkeys(address.partition("!")[0] for address in found if address))

    def before(self, roots: Iterable[str]) -> list[RunEvent]:
        """The events that are not causally after any of ``roots``: addresses of steps or nodes, which run again.

        What is of the run as a whole is left out, but how it began, and that it went on.
        """
        paths = [path_of(root) for root in roots]
        placed = zip(self.events, self._paths, strict=True)
        return [event for event, path in placed if not any(self._is_after(event, path, root) for root in paths)]

    def _is_after(self, event: RunEvent, path: Path, root: Path) -> bool:
        if not path:
            return not isinstance(event, RunStarted | RunResumed)
        common = next((n for n, (one, two) in enumerate(zip(path, root, strict=False)) if one != two), None)
        if common is None:
            return len(path) >= len(root) or _closes(event, root[len(path) :])
        return self._comes_after(path[: common + 1], root[: common + 1])

    def _comes_after(self, path: Path, root: Path) -> bool:
        """Whether one part of a node or scope comes after another one: they differ in their last tokens."""
        (kind, value), (root_kind, root_value) = path[-1], root[-1]
        if kind != root_kind:  # a fallback, and an attempt
            return kind == "aside"
        if kind == "attempt":
            return int(value) > int(root_value)
        if kind == "scope":
            return self._kinds.get(path[:-1]) == "loop" and int(value) > int(root_value)
        return self._spans[path].last > self._spans[root].first  # steps that stream run at the same time


def _closes(event: RunEvent, inside: Path) -> bool:
    """Whether an event of a node comes after something in that node."""
    kind, value = inside[0]
    if kind == "aside":  # its fallback: what it did itself was before that
        return isinstance(event, StepCompleted | StepFailed | NodeCompleted | NodeFailed)
    attempt = int(value)
    match event:
        case NodeStarted() | BranchDecided() | ItemTaken():
            return event.attempt > attempt
        case AttemptFailed():
            return event.attempt >= attempt
        case LoopDecided():
            return (event.attempt, event.iteration) >= (attempt, int(inside[1][1]))
    return True


def path_of(address: str) -> Path:
    """An address as its parts, with the numbers of all attempts; without the calls in a step."""
    tokens: list[Token] = []
    for found in TOKEN.finditer(address.partition("!")[0]):
        kind = str(found.lastgroup)
        if tokens and tokens[-1][0] == "name" and kind in ("name", "scope"):
            tokens.append(("attempt", "1"))
        tokens.append((kind, found[kind]))
    return tuple(tokens)


def present_addresses(events: Iterable[RunEvent]) -> list[str]:
    """The address of each event, by the names that nodes have at the end."""
    found: list[str] = []
    for event in events:
        if isinstance(event, RunResumed) and event.renamed:
            found = [renamed(address, event.renamed) for address in found]
        found.append(event.address)
    return found
