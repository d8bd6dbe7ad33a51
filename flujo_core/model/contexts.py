"""The contexts of a run's open scopes: which one a step's changes belong to, told by its address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from flujo_core.model.draft import State
from flujo_core.model.flow import FALLBACK
from flujo_core.model.patch import Patch, apply
from flujo_core.model.rename import renamed
from flujo_core.model.slotted import Compared


class Contexts(Compared):
    """The context of a run, and those of the scopes in it that have one of their own.

    Attributes:
        run: The values of the fields of the run's context.
        scopes: Those of the open scopes that have a context of their own, by path: ``fan[left]``.
        opened: The paths of the scopes that each node has opened, by the node's path.
        failed: The scopes that were open in what has failed for good.
        failed_opened: What nodes had opened there.
    """

    run: State = field(default_factory=dict)
    scopes: dict[str, State] = field(default_factory=dict)
    opened: dict[str, list[str]] = field(default_factory=dict)
    failed: dict[str, State] = field(default_factory=dict)
    failed_opened: dict[str, list[str]] = field(default_factory=dict)

    def open(self, address: str, attempt: int, scope: str) -> None:
        """Gives a scope of a node a context of its own; an empty ``scope`` is the whole attempt."""
        path = attempt_path(address, attempt)
        opened = path + scope
        around = self._around(path) if scope else self._around(outwards(path))
        self.scopes[opened] = dict(around)
        self.opened.setdefault(path, []).append(opened)

    def change(self, address: str, patch: Patch) -> None:
        """Applies a patch to the context that a leaf, or a node that has been closed, is in."""
        self.scopes.pop(address + FALLBACK, None)
        if patch:
            apply(self._around(address), patch)

    def close(self, address: str, attempt: int) -> None:
        """Forgets the contexts that an attempt of a node has opened."""
        for path in self.opened.pop(attempt_path(address, attempt), ()):
            self.scopes.pop(path, None)

    def drop(self, path: str, *, for_good: bool = False) -> None:
        """Takes away every context in what has failed; where that is for good, they may come back."""
        scopes: tuple[dict[str, Any], dict[str, Any]] = (self.scopes, self.failed)
        tables = (scopes, (self.opened, self.failed_opened))
        for table, failed in tables:
            for known in [one for one in table if one == path or is_below(one, path)]:
                found = table.pop(known)
                if for_good:
                    failed[known] = found

    def bring_back(self) -> None:
        """Takes in that what has failed for good is tried again: it goes on with the contexts that it had."""
        self.scopes |= self.failed
        self.opened |= self.failed_opened
        self.failed, self.failed_opened = {}, {}

    def rename(self, renames: Mapping[str, str]) -> None:
        """Takes in that nodes have other names: by their addresses, as ``walk`` gives them, with the new ones."""
        self.scopes, self.failed = (
            {renamed(path, renames): scope for path, scope in table.items()} for table in (self.scopes, self.failed)
        )
        self.opened, self.failed_opened = (
            {renamed(path, renames): [renamed(one, renames) for one in paths] for path, paths in table.items()}
            for table in (self.opened, self.failed_opened)
        )

    def _around(self, path: str) -> State:
        """The nearest context that contains ``path``."""
        if not self.scopes and FALLBACK not in path:
            return self.run
        while path:
            if path in self.scopes:
                return self.scopes[path]
            if path.endswith(FALLBACK):
                self.scopes[path] = dict(self._around(outwards(path)))
                return self.scopes[path]
            path = outwards(path)
        return self.run


def attempt_path(address: str, attempt: int) -> str:
    """The path of what runs in an attempt of a node: its address, with ``#2`` for the second, and so on."""
    return f"{address}#{attempt}" if attempt > 1 else address


def is_below(address: str, path: str) -> bool:
    """Whether something is in a node or scope."""
    return address.startswith(path) and address[len(path) : len(path) + 1] in ("/", "[", "~")


def outwards(path: str) -> str:
    """The path of the scope or node around; empty for the run's."""
    if path.endswith("]"):
        return path[: path.rindex("[")]
    return path.rpartition("/")[0]
