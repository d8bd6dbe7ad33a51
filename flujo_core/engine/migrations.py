"""Which recorded outputs are of an earlier version of their node, and what turns them into ones of the present one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from flujo_core.model.rename import renamed

if TYPE_CHECKING:
    from flujo_core.model.flow import Node
    from flujo_core.model.manifest import Facts

Migrate: TypeAlias = Callable[[Any], Any]
"""Turns what an earlier version gave, as plain data, into an output of this one."""


class Era(NamedTuple):
    """The part of a journal that was written with one pipeline.

    Attributes:
        first: The sequence of its first record.
        manifest: What the pipeline was, as JSON.
        renamed: The nodes that have another name than in the era before.
    """

    first: int
    manifest: str
    renamed: Mapping[str, str]


class Migrations:
    """What turns recorded outputs into ones of the present versions.

    Args:
        eras: The eras of the journal, in order; the last is the one that begins.
        nodes: The nodes of the pipeline, by their addresses as ``walk`` gives them.
    """

    def __init__(self, eras: Sequence[Era] = (), nodes: Mapping[str, Node[Any, Any]] | None = None) -> None:
        self._nodes = nodes or {}
        self._versions: list[tuple[int, Mapping[str, str]]] = []
        for place, era in enumerate(eras):
            versions = _versions(era.manifest)
            for later in eras[place + 1 :]:
                versions = {renamed(address, later.renamed): version for address, version in versions.items()}
            self._versions.append((era.first, versions))

    def of(self, address: str, sequence: int) -> Migrate | None:
        """What turns an output into one of the present version; None if nothing needs to.

        Args:
            address: The address of its node, as ``walk`` gives it.
            sequence: The sequence of the record that has it.
        """
        node = self._nodes.get(address)
        if node is None or not node.policies.migrations:
            return None
        version = ""
        for first, versions in self._versions:
            if first <= sequence:
                version = versions.get(address, "")
        return None if version == (node.policies.version or "") else node.policies.migrations.get(version)


NO_MIGRATIONS = Migrations()


def _versions(manifest: str) -> dict[str, str]:
    """The versions of the nodes of a manifest, by their addresses as ``walk`` gives them."""
    from flujo_core.model.manifest import Manifest  # noqa: PLC0415 - only code that has changed needs it

    return dict(_in_scope(Manifest.from_json(manifest).nodes, ""))


def _in_scope(nodes: Iterable[Facts], path: str) -> Iterator[tuple[str, str]]:
    for one in nodes:
        address = f"{path}/{one.segment}" if path else one.segment
        yield address, one.version
        for segment, inside in one.scopes.items():
            yield from _in_scope(inside, address + segment)
