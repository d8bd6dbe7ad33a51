"""In which order plugins are called."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from heapq import heapify, heappop, heappush

from flujo_core.hooks.spec import Plugin


def circle(plugins: Mapping[str, Plugin]) -> Sequence[str]:
    """The names of plugins that are to be called before each other, in a circle; empty if there are none."""
    try:
        TopologicalSorter(earlier(plugins)).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found[:-1]
    return ()


def declared_order(names: Collection[str], plugins: Mapping[str, Plugin]) -> list[str]:
    """Some of the plugins as ``before`` and ``after`` say, and by name where these say nothing.

    What they say of a plugin that is not among the names counts where it leads from one that is to another.

    Args:
        names: The names to put in order.
        plugins: All plugins, by name; no circle is among them.
    """
    before = earlier(plugins)
    sorter = TopologicalSorter({name: set(_reached(name, names, before)) for name in names})
    sorter.prepare()
    ready = list(sorter.get_ready())
    heapify(ready)
    order = []
    while ready:
        order.append(heappop(ready))
        sorter.done(order[-1])
        for name in sorter.get_ready():
            heappush(ready, name)
    return order


def earlier(plugins: Mapping[str, Plugin]) -> dict[str, set[str]]:
    """The plugins that are to be called before each plugin, by name."""
    found = {name: {one for one in plugin.after if one in plugins} for name, plugin in plugins.items()}
    for name, plugin in plugins.items():
        for one in plugin.before:
            if one in plugins:
                found[one].add(name)
    return found


def _reached(name: str, names: Collection[str], before: Mapping[str, set[str]]) -> Iterator[str]:
    """Those of ``names`` that come before ``name``, directly or by way of plugins that are not among them."""
    waiting, seen = [*before[name]], set()
    while waiting:
        one = waiting.pop()
        if one in names:
            yield one
        elif one not in seen:
            seen.add(one)
            waiting += before[one]
