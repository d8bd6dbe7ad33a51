"""Which node of a pipeline is which in other code, and in what two nodes differ that are the same one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from flujo_core.model.flow import FALLBACK
from flujo_core.model.manifest import Facts

Nodes: TypeAlias = Sequence[Facts]
NOT_GIVEN = "-"


def places_of(old: Nodes, new: Nodes) -> dict[int, int]:
    """Where the nodes of a scope are now: their places in ``new`` by those in ``old``.

    A node is known by what it was, else by its name.
    """
    were = {one.name: place for place, one in enumerate(old)}
    found = {were[one.was]: place for place, one in enumerate(new) if one.was in were}
    used = {*found.values()}
    for place, one in enumerate(new):
        if place not in used and one.name in were:
            found.setdefault(were[one.name], place)
    return dict(sorted(found.items()))


def pairs(old: Nodes, new: Nodes) -> Iterator[tuple[Facts, Facts]]:
    """The nodes that are the same ones."""
    return ((old[before], new[now]) for before, now in places_of(old, new).items())


def heir_of(gone: Facts, new: Nodes) -> Facts | None:
    """The new node that one seems to be now, if there is one: by its function, its name, or what it does."""
    alike = [one for one in new if one.kind == gone.kind]
    from difflib import get_close_matches  # noqa: PLC0415 - an error's price, not an import's

    close = get_close_matches(gone.name, [one.name for one in alike], n=1)
    for seems in (
        lambda one: one.action and one.action == gone.action,
        lambda one: one.name in close,
        lambda one: one.body == gone.body,
    ):
        if found := [one for one in alike if seems(one)]:
            return found[0]
    return None


def address_in(path: str, one: Facts) -> str:
    """The address of a node in a scope."""
    return f"{path}/{one.segment}" if path else one.segment


def parts_in(one: Facts) -> list[str]:
    """The segments of the scopes of a node, without its fallback's."""
    return [segment for segment in one.scopes if segment != FALLBACK]


def changes(old: Facts, new: Facts, *, asks: bool) -> Iterator[tuple[str, str, str]]:
    """What an open node must keep and has not kept: what that is, and how it was and is.

    Args:
        old: What the node was.
        new: What it is.
        asks: Whether its predicates may be asked again.
    """
    facts = [
        ("function" if old.kind == "step" else "agent", old.action, new.action),
        ("input type", old.takes or NOT_GIVEN, new.takes or NOT_GIVEN),
        ("output type", old.gives or NOT_GIVEN, new.gives or NOT_GIVEN),
    ]
    if asks:
        places = {**old.asks, **new.asks}
        facts += [(f"'{one}'", old.asks.get(one, NOT_GIVEN), new.asks.get(one, NOT_GIVEN)) for one in places]
    return (one for one in facts if one[1] != one[2])


def sources_of(one: Facts, names: Mapping[str, str]) -> list[str]:
    """What a node's named inputs are named after; where ``names`` has other names for these, by those."""
    found = []
    for parameter, said in one.named.items():
        source, _, path = said.rpartition(" ")
        parts = [part.partition("[") for part in source.split("/")]
        found.append(f"{parameter} {'/'.join(names.get(a, a) + b + c for a, b, c in parts)} {path}")
    return found
