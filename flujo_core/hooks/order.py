"""In which order plugins are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from heapq import heapify, heappop, heappush

from flujo_core.hooks.spec import Plugin


def circle(plugins: Mapping[str, Plugin]) -> Sequence[str]:
    """The names of plugins that are to be called before each other, in a circle; empty if there are none."""
    try:
        _sorter(plugins).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found[:-1]
    return ()


def declared_order(plugins: Mapping[str, Plugin]) -> list[str]:
    """The names of plugins as ``before`` and ``after`` say, and by name where they say nothing."""
    sorter = _sorter(plugins)
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


def _sorter(plugins: Mapping[str, Plugin]) -> TopologicalSorter[str]:
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for name in sorted(plugins):
        sorter.add(name, *(one for one in plugins[name].after if one in plugins))
        for one in plugins[name].before:
            if one in plugins:
                sorter.add(one, name)
    return sorter
