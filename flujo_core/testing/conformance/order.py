"""Whether the order in which plugins are called depends on anything but what they declare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import permutations
from typing import Any

from flujo_core.hooks.spec import HOOKS, Plugin
from flujo_core.testing.conformance.finding import Finding, Remark
from flujo_core.testing.conformance.scenario import FAILING, SOUND
from flujo_core.testing.conformance.subject import Subject
from flujo_core.testing.conformance.trial import Setup, tried
from flujo_core.testing.recorder import HookCall, HookRecorder, recorded

MIRRORS = {
    "on_startup": "on_shutdown",
    "on_pipeline_start": "on_pipeline_end",
    "pre_step_execution": "post_step_execution",
}
"""Hooks that are called on the way in, and those that are called in the reverse order on the way out."""

Order = Mapping[str, tuple[str, ...]]
"""The names of the plugins in the order in which they were called, by the hook's name."""


def check_order(subject: Subject) -> Iterator[Finding | Remark]:
    """It is called in the same place in whatever order plugins are given; what is wrapped first is unwrapped last."""
    found = [_order(subject, places) for places in permutations(range(3))]
    for hook in (name for name, one in HOOKS.items() if one.is_async):
        orders = {order[hook] for order in found if len(order.get(hook, ())) == (3 if subject.overrides(hook) else 2)}
        if len(orders) > 1:
            told = " and ".join(sorted(", ".join(f"'{name}'" for name in order) for order in orders))
            yield Finding(
                "order",
                f"'{hook}' is called in different orders ({told}) for the same plugins, given in different orders;"
                " 'name', 'before' and 'after' must not change",
            )
    yield from _not_mirrored(found[0], subject.name)


def _not_mirrored(order: Order, plugin: str) -> Iterator[Remark]:
    for way_in, way_out in MIRRORS.items():
        there, back = order.get(way_in, ()), order.get(way_out, ())
        if plugin in there and plugin in back and there != back[::-1]:
            yield Remark(
                "order",
                f"it is not unwrapped in '{way_out}' in the reverse of the order of '{way_in}'; if it undoes there what"
                " it did here, mark both hooks alike",
            )


def _order(subject: Subject, places: tuple[int, ...]) -> Order:
    """In which order three plugins are called that are given in this order."""
    calls: list[HookCall] = []
    for scenario in (SOUND, FAILING):
        plugins: list[Plugin] = [
            _neighbour("flujo-testing-first", calls, before=(subject.name,)),
            recorded(subject.make(), calls),
            _neighbour("flujo-testing-last", calls, after=(subject.name,)),
        ]
        tried([Setup(scenario, [plugins[place] for place in places])])
    return _called(calls)


def _neighbour(name: str, calls: list[HookCall], **order: Any) -> Plugin:
    made: Plugin = type("Neighbour", (HookRecorder,), order)(name, calls)
    return made


def _called(calls: list[HookCall]) -> Order:
    """Who was called first, second and third in each hook; ``on_event`` apart, where each has a task of its own."""
    found: dict[str, list[str]] = {}
    for call in calls:
        order = found.setdefault(call.hook, [])
        if call.plugin not in order and call.hook != "on_event":
            order.append(call.plugin)
    return {hook: tuple(order) for hook, order in found.items()}
