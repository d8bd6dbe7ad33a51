"""A plugin that stands in for another one: its hooks go through what is put around them."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any, TypeAlias

from flujo_core.hooks.spec import HOOKS, Plugin
from flujo_core.hooks.validation import overridden

Method: TypeAlias = Callable[..., Any]

Around: TypeAlias = Callable[[str, Method], Method]
"""Makes, of a hook's name and the plugin's own method for it, what is called instead."""


def standing_in(plugin: Plugin, around: Around) -> Plugin:
    """A plugin with the name, the order and the hooks of ``plugin``, whose async hooks are called through ``around``.

    Args:
        plugin: One that loads; it is left as it is.
        around: What is called in the place of each async hook that it overrides; a coroutine function.
    """
    space: dict[str, Any] = {name: getattr(plugin, name) for name in ("name", "api", "before", "after")}
    for name, hook in HOOKS.items():
        if (method := overridden(plugin, name)) is not None:
            space[name] = _called(around(name, method)) if hook.is_async else _delegated(method)
            update_wrapper(space[name], method, assigned=("__name__", "__qualname__", "__doc__"))  # and the marks
            del space[name].__wrapped__  # so that its parameters are its own
    made: Plugin = type("StandIn", (Plugin,), space)()
    return made


def lifecycle_hooks(plugin: Plugin) -> tuple[str, ...]:
    """The async hooks that a plugin overrides."""
    return tuple(name for name, hook in HOOKS.items() if hook.is_async and overridden(plugin, name) is not None)


def _called(method: Method) -> Method:
    async def called(self: Plugin, /, *given: Any) -> Any:
        return await method(*given)

    return called


def _delegated(method: Method) -> Method:
    def delegated(self: Plugin, /, *given: Any) -> Any:
        return method(*given)

    return delegated
