"""What is wrong with a plugin's methods: found when it is loaded, so that no hook fails to be called later."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flujo_core.errors import did_you_mean
from flujo_core.hooks.spec import HOOKS, PROJECT, Hook, Plugin
from flujo_core.store.value_codec import ValueCodec


def overridden(plugin: Plugin, hook: str) -> Callable[..., Any] | None:
    """The plugin's own method for a hook, or None where it has the empty one."""
    method = getattr(plugin, hook)
    return None if getattr(method, "__func__", method) is getattr(Plugin, hook) else method


MARK = f"{PROJECT}_impl"
"""What pluggy's marker leaves at a function."""


def flaws(plugin: Plugin) -> Iterator[str]:
    """What is wrong with a plugin's methods."""
    prefixes = ("on_", "pre_", "post_", "register_", "around_")
    for name in dir(type(plugin)):
        if (mark := getattr(getattr(type(plugin), name), MARK, None)) is not None and _misses(name, mark):
            yield f"has a method '{name}' that is marked {_misses(name, mark)}"
        elif name not in HOOKS and (name.startswith(prefixes) or _is_nearly_a_hook(plugin, name)):
            yield f"has a method '{name}', which is no hook of this version{did_you_mean(name, HOOKS)}"
    for hook in HOOKS.values():
        if (method := overridden(plugin, hook.name)) is not None:
            yield from _method_flaws(hook, method)
    for what in ("before", "after"):
        names = getattr(plugin, what)
        if not isinstance(names, list | tuple | set | frozenset) or not all(isinstance(name, str) for name in names):
            yield f"has a '{what}' that is no list of plugins' names"
    for what in ("clears", "inside", "assures"):
        words = getattr(plugin, what)
        if not isinstance(words, list | tuple | set | frozenset) or not all(isinstance(one, str) for one in words):
            yield f"has '{what}', which is a list of words, as {type(words).__name__!r}"
    codecs = plugin.codecs
    if not isinstance(codecs, list | tuple) or not all(isinstance(one, ValueCodec) for one in codecs):
        yield "has 'codecs' that is no list of value codecs"


def _misses(name: str, mark: Mapping[str, Any]) -> str:
    """What ``hookimpl`` says of a method that would not come true, as the end of a sentence; empty if all does."""
    said = [option for option in ("wrapper", "hookwrapper", "optionalhook", "specname") if mark.get(option)]
    if said:
        return f"with '{said[0]}', which means nothing here; 'tryfirst' and 'trylast' do"
    return "" if name in HOOKS else f"as a hook, and is none{did_you_mean(name, HOOKS)}"


def _is_nearly_a_hook(plugin: Plugin, name: str) -> bool:
    """Whether a method is named like a hook but for a slip: it would never be called."""
    from difflib import get_close_matches  # noqa: PLC0415 - dear to import

    method = getattr(type(plugin), name)
    if not inspect.isfunction(method) or name.startswith("_"):
        return False
    return bool(get_close_matches(name, HOOKS, 1, 0.81))


def _method_flaws(hook: Hook, method: Callable[..., Any]) -> Iterator[str]:
    if hook.is_async and not inspect.iscoroutinefunction(method):
        yield f"has a '{hook.name}' that is not async; write 'async def {hook.name}'"
    if not hook.is_async and inspect.iscoroutinefunction(method):
        yield f"has a '{hook.name}' that is async; write 'def {hook.name}'"
    expected = len(inspect.signature(getattr(Plugin, hook.name)).parameters) - 1
    try:
        inspect.signature(method).bind(*range(expected))
    except TypeError as error:
        yield f"has a '{hook.name}' that cannot be called with {expected} argument{'s' * (expected != 1)} ({error})"
