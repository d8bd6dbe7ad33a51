"""How the runs of a pipeline have changed it, as diagrams show that: all that was ever in a scope, and who did what."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from pydantic_core import from_json

from flujo_core.model.event import AgentReconfigured, ChangeEvent, ChangeRefused
from flujo_core.model.flow import Node, join, located, parts_of, scope_at


class Reshaped:
    """A pipeline with what a run has put into it.

    Args:
        whole: The pipeline.
        changes: What the run has changed, and what it was refused, in order.

    Attributes:
        scopes: The nodes of the changed scopes, by the scopes' addresses as ``walk`` gives them: what was there, and
            what was put in, in any instance.
    """

    def __init__(self, whole: Node[Any, Any], changes: Iterable[ChangeEvent]) -> None:
        self._whole = whole
        self.scopes: dict[str, list[Node[Any, Any]]] = {}
        self._marks: dict[str, list[str]] = defaultdict(list)
        for one in changes:
            try:
                static, _ = located(whole, one.address, self.scopes)
            except LookupError:  # its step is not in this pipeline
                continue
            self._take(one, static)

    def nodes(self, body: Node[Any, Any], path: str) -> Sequence[Node[Any, Any]]:
        """The nodes of a scope.

        Args:
            body: What runs in it.
            path: Its address.
        """
        return self.scopes.get(path) or parts_of(body)

    def marks(self, address: str) -> list[str]:
        """What is said of how a node was changed, or has changed others."""
        return self._marks.get(address, [])

    def _take(self, event: ChangeEvent, static: str) -> None:
        if isinstance(event, ChangeRefused):
            self._marks[static].append(f"{event.change} refused ({event.reason})")
            return
        path, said = static.rpartition("/")[0], from_json(event.change)
        if isinstance(event, AgentReconfigured):
            what = [name for name in ("model", "instructions", "settings", "tools") if said.get(name)]
            self._marks[join(path, said["target"])].append(f"{' and '.join(what)} set by '{_name(static)}'")
        else:
            self._mutate(path, said, _name(static))

    def _mutate(self, path: str, said: Mapping[str, Any], by: str) -> None:
        if path not in self.scopes:
            self.scopes[path] = [*parts_of(scope_at(self._whole, path, self.scopes))]
        nodes = self.scopes[path]
        for name in said["remove"]:
            self._marks[join(path, name)].append(f"removed by '{by}'")
        for name, spec in said["replace"].items():
            self._marks[join(path, name)].append(f"replaced by '{by}'")
            self._add(nodes, path, name, [spec], by)
        for name, specs in said["insert_after"].items():
            self._add(nodes, path, name, specs, by)

    def _add(
        self, nodes: list[Node[Any, Any]], path: str, anchor: str, specs: Sequence[Mapping[str, Any]], by: str
    ) -> None:
        """Puts nodes in behind another, those that are not there yet."""
        from flujo_core.model.mutation import read  # noqa: PLC0415 - dear to import, and few runs change their pipeline

        place = next((place for place, node in enumerate(nodes, 1) if node.label == anchor), len(nodes))
        for node in (node for spec in specs for node in read(spec)):
            known = next((index for index, other in enumerate(nodes) if other.label == node.label), None)
            if known is None:
                nodes.insert(place, node)
                place += 1
                self._marks[join(path, node.label)].append(f"added by '{by}'")
            elif node.label == anchor:
                nodes[known] = node


def _name(static: str) -> str:
    return unquote(static.rpartition("/")[2])
