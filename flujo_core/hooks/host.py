"""The plugin host: which plugins are installed, which are allowed, and what those that are loaded contribute.

Loading: one scan of the installed distributions (cached for the process) → allow and deny lists, before anything is
imported → import → validation → registration → required plugins present. What is allowed and cannot be loaded refuses
the start.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import pluggy

from flujo_core.config import PluginSettings, normalised
from flujo_core.errors import PluginLoadError, did_you_mean
from flujo_core.hooks.dispatch import Hooks, Implementation, compile_hooks
from flujo_core.hooks.registry import Registry
from flujo_core.hooks.spec import HOOKS, LIFECYCLE, NOT_CALLED, PROJECT, REGISTRATIONS, Plugin
from flujo_core.model.agent import ModelFactory

GROUP = "flujo.plugins"


class Installed(NamedTuple):
    """A plugin that an installed distribution offers.

    Attributes:
        distribution: The distribution's name, normalised (``flujo-local-model``).
        version: Its version.
        entry: The entry point's name.
        target: What the entry point names: ``module:attr``.
        load: Imports the target.
    """

    distribution: str
    version: str
    entry: str
    target: str
    load: Callable[[], Any]


class Loaded(NamedTuple):
    """A plugin that takes part.

    Attributes:
        plugin: The plugin.
        distribution: What brought it, or None when it was given to ``Flujo`` directly.
        version: That distribution's version, or None.
    """

    plugin: Plugin
    distribution: str | None
    version: str | None

    @property
    def known_as(self) -> str:
        """The name that the configuration calls it by."""
        return self.distribution or self.plugin.name


class Host:
    """The plugins of one ``Flujo``, loaded and validated.

    Args:
        settings: Which installed distributions are allowed, denied and required.
        given: Plugins beside the installed ones.

    Raises:
        PluginLoadError: An allowed plugin cannot be loaded, or a required one is missing.
    """

    def __init__(self, settings: PluginSettings, given: Sequence[Plugin] = ()) -> None:
        self.agents: Registry[Any] = Registry("agent")
        self.models: Registry[ModelFactory] = Registry("model prefix")
        installed = [found for found in scan() if settings.allows(found.distribution)]
        _check_required(settings, installed)
        loaded = [_load(found) for found in installed] + [Loaded(plugin, None, None) for plugin in given]
        self._manager = _manager(loaded)
        self._loaded = {one.plugin.name: one for one in loaded}
        self.plugins = [self._loaded[name] for name in sorted(self._loaded)]
        self._register()
        chains = {hook: self._chain(hook, settings) for hook in LIFECYCLE}
        self.hooks: Hooks = compile_hooks(chains, settings.hook_timeout)

    def find_model(self, name: str, /) -> Any:
        """The model that a plugin has for a model name such as ``local:smollm2``, or None if no plugin claims it."""
        prefix, colon, rest = name.partition(":")
        return self.models.get(prefix)(rest) if colon and self.models.find(prefix) else None

    def model_prefixes(self) -> Sequence[str]:
        """The prefixes of the model names that plugins claim."""
        return [entry.name.partition("/")[2] for entry in self.models.entries()]

    def _register(self) -> None:
        registries: Mapping[str, Registry[Any]] = {"register_agents": self.agents, "register_models": self.models}
        for one in self.plugins:
            for hook in REGISTRATIONS:
                registry = registries[hook]
                registry.open_for(one.plugin.name)
                try:
                    getattr(one.plugin, hook)(registry)
                except PluginLoadError as error:
                    raise _refused(one, f"contributes what cannot be: {error}") from error
                except Exception as error:
                    raise _refused(one, f"raised {type(error).__name__} in '{hook}'") from error
                finally:
                    registry.open_for(None)

    def _chain(self, hook: str, settings: PluginSettings) -> list[Implementation]:
        def place(impl: pluggy.HookImpl) -> tuple[int, int, str]:
            rank = settings.rank(self._loaded[impl.plugin_name].known_as)
            return rank, impl.trylast - impl.tryfirst, impl.plugin_name

        found = sorted(getattr(self._manager.hook, hook).get_hookimpls(), key=place)
        chain = [self._implementation(hook, impl.plugin_name, settings) for impl in found]
        return chain[::-1] if hook in ("post_step_execution", "on_pipeline_end") else chain

    def _implementation(self, hook: str, name: str, settings: PluginSettings) -> Implementation:
        one = self._loaded[name]
        policy = settings.policy(one.known_as)
        return Implementation(getattr(one.plugin, hook), hook, name, one.distribution, one.version, policy)


@cache
def scan() -> tuple[Installed, ...]:
    """Every plugin that an installed distribution offers, by distribution and name; read once in a process."""
    from importlib_metadata import entry_points  # noqa: PLC0415 - only a Flujo needs it, `import flujo_core` does not

    found = []
    for entry in entry_points(group=GROUP):
        name, version = (entry.dist.name, entry.dist.version) if entry.dist else ("?", "?")
        found.append(Installed(normalised(name), version, entry.name, entry.value, entry.load))
    return tuple(sorted(found, key=lambda one: one[:3]))


class _Manager(pluggy.PluginManager):
    """pluggy's manager, for which a plugin's overridden methods are its hook implementations."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        if name not in HOOKS or not isinstance(plugin, _Overrides):
            return None
        unmarked: pluggy.HookimplOpts = {
            "wrapper": False, "hookwrapper": False, "optionalhook": False,
            "tryfirst": False, "trylast": False, "specname": None,
        }  # fmt: skip
        return super().parse_hookimpl_opts(plugin.methods, name) or unmarked


class _Overrides:
    """What pluggy sees of a plugin: the hooks that it overrides, whatever it calls their parameters."""

    def __init__(self, plugin: Plugin) -> None:
        self.methods = plugin
        for hook in HOOKS:
            if (method := _overridden(plugin, hook)) is not None:
                setattr(self, hook, _by_position(method))


def _by_position(method: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: method(*arguments)


def _manager(loaded: Sequence[Loaded]) -> pluggy.PluginManager:
    manager = _Manager(PROJECT)
    manager.add_hookspecs(Plugin)
    known: dict[str, Loaded] = {}
    for one in map(_checked, loaded):
        name = one.plugin.name
        if name in known:
            raise _refused(
                one, f"is named '{name}', as is the plugin of {_origin(known[name])}; a plugin's name is unique"
            )
        known[name] = one
        manager.register(_Overrides(one.plugin), name=name)
    return manager


def _load(found: Installed) -> Loaded:
    where = f"plugin '{found.entry}' of '{found.distribution} {found.version}'"
    try:
        plugin = found.load()
        if callable(plugin):
            plugin = plugin()
    except (Exception, SystemExit) as error:
        raise PluginLoadError(
            f"{where} cannot be loaded from '{found.target}' ({type(error).__name__}: {error}); mend it, uninstall it,"
            f" or deny it: '[plugins] deny = [\"{found.distribution}\"]' in flujo.toml"
        ) from error
    if not isinstance(plugin, Plugin):
        raise PluginLoadError(f"{where} is a {type(plugin).__name__!r}, not a 'flujo_core.Plugin'")
    return Loaded(plugin, found.distribution, found.version)


def _checked(one: Loaded) -> Loaded:
    """``one``, whose methods were found to be what hooks must be."""
    plugin = one.plugin
    if not isinstance(plugin, Plugin):
        raise PluginLoadError(f"'plugins' was given a {type(plugin).__name__!r}, not an instance of a 'Plugin' class")
    name = getattr(plugin, "name", None)
    if not isinstance(name, str) or not name or "/" in name:
        raise PluginLoadError(
            f"plugin class '{type(plugin).__name__}' of {_origin(one)} needs a 'name', a text without '/'"
        )
    for hook in _unknown_hooks(plugin):
        raise _refused(one, f"has a method '{hook}', which is no hook of this version{did_you_mean(hook, HOOKS)}")
    for hook in HOOKS:
        if (function := _overridden(plugin, hook)) is not None:
            _check_kind(one, hook, function)
    return one


def _check_kind(one: Loaded, hook: str, function: Callable[..., Any]) -> None:
    is_async = inspect.iscoroutinefunction(function)
    if hook in LIFECYCLE and not is_async:
        raise _refused(one, f"has a '{hook}' that is not async; write 'async def {hook}'")
    if hook in REGISTRATIONS and is_async:
        raise _refused(one, f"has a '{hook}' that is async; write 'def {hook}'")
    expected = len(inspect.signature(getattr(Plugin, hook)).parameters) - 1
    try:
        inspect.signature(function).bind(*range(expected))
    except TypeError as error:
        raise _refused(
            one, f"has a '{hook}' that cannot be called with {expected} argument{'s' * (expected > 1)} ({error})"
        ) from error


def _overridden(plugin: object, name: str) -> Callable[..., Any] | None:
    """The plugin's own method of that name, or None where it has the empty one."""
    method = getattr(plugin, name)
    return None if getattr(method, "__func__", method) is getattr(Plugin, name) else method


def _unknown_hooks(plugin: Plugin) -> list[str]:
    prefixes = ("on_", "pre_", "post_", "register_", "around_")
    likely = (name for name in dir(type(plugin)) if name.startswith(prefixes) or name in NOT_CALLED)
    return [name for name in likely if name not in HOOKS]


def _origin(one: Loaded) -> str:
    return f"'{one.distribution} {one.version}'" if one.distribution else "'Flujo(plugins=...)'"


def _refused(one: Loaded, what: str) -> PluginLoadError:
    origin = f" ({one.distribution} {one.version})" if one.distribution else ""
    return PluginLoadError(f"plugin '{one.plugin.name}'{origin} {what}")


def _check_required(settings: PluginSettings, installed: Sequence[Installed]) -> None:
    present = {found.distribution for found in installed}
    for name in settings.required:
        if normalised(name) not in present:
            state = "is denied" if normalised(name) in {one.distribution for one in scan()} else "is not installed"
            raise PluginLoadError(f"required plugin '{name}' {state}; install it, allow it, or do not require it")
