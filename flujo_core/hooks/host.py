"""The plugin host: the plugins of one Flujo, loaded, in order, and compiled into what the engine calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import pluggy

from flujo_core.agents.tool import FlujoTool
from flujo_core.backend.protocol import BackendFactory
from flujo_core.config import PluginSettings, normalised
from flujo_core.errors import ConfigurationError, PluginLoadError
from flujo_core.hooks.call import AgentInfo, PluginInfo
from flujo_core.hooks.dispatch import Hooks, compile_hooks
from flujo_core.hooks.failure import Implementation
from flujo_core.hooks.load import Candidate, Loading
from flujo_core.hooks.order import declared_order
from flujo_core.hooks.registry import Registry
from flujo_core.hooks.spec import HOOKS, PROJECT, Plugin
from flujo_core.hooks.validation import overridden
from flujo_core.log import warning
from flujo_core.model.agent import ModelFactory
from flujo_core.model.flow import Check
from flujo_core.model.policy import Validator
from flujo_core.model.step import Step
from flujo_core.store.byte_codec import Codec, CodecFactory, Codecs
from flujo_core.store.protocol import Store, StoreFactory


class Host:
    """The plugins of one ``Flujo``, loaded and validated.

    Args:
        settings: Which installed distributions are allowed, denied and required.
        given: Plugins beside the installed ones.
        kernel: The kernel's own plugin, which only contributes.
        last: The host whose place this one takes: an installed plugin that it has is not made again.
        lenient: Whether what cannot be loaded is left out, whatever its policy: to look at it.

    Attributes:
        plugins: The plugins that take part, by name, in order.
        reports: What became of each plugin.
        hooks: The lifecycle hooks of those that take part.

    Raises:
        PluginLoadError: An allowed plugin cannot be loaded, or a required one is missing.
    """

    def __init__(
        self,
        settings: PluginSettings,
        given: Sequence[Plugin] = (),
        *,
        kernel: Plugin | None = None,
        last: Host | None = None,
        lenient: bool = False,
    ) -> None:
        made = {} if last is None else {one.found: one.loaded for one in last.plugins.values() if one.found is not None}
        loading = Loading(settings, given, kernel, made)
        self.reports = loading.reports
        taking_part = loading.passed() if lenient else loading.loaded()
        found = {one.name: one for one in taking_part if one.plugin is not kernel}
        order = _in_order(list(found), found, lambda name: settings.rank(found[name].known_as))
        self.plugins: dict[str, Candidate] = {name: found[name] for name in order}
        self._settings = settings
        self._kernel = kernel
        self._registries = loading.registries
        self._manager = _manager(self.plugins)
        chains = {hook.name: self.chain(hook.name) for hook in HOOKS.values() if hook.is_async}
        self.hooks: Hooks = compile_hooks(chains, settings.hook_timeout)

    @property
    def required(self) -> dict[str, str]:
        """The versions of the plugins that the deployment requires, by the names of what brought them."""
        wanted = {normalised(name) for name in self._settings.required}
        found = {normalised(one.known_as): one for one in self.plugins.values()}
        return {name: one.found.version if one.found else "" for name, one in found.items() if name in wanted}

    @property
    def inventory(self) -> tuple[PluginInfo, ...]:
        """What is known of each plugin, in order."""
        return tuple(self._info(one) for one in self.plugins.values())

    def _info(self, one: Candidate) -> PluginInfo:
        called = [name for name, hook in HOOKS.items() if one.acts or hook.kind in ("configure", "contribute")]
        hooks = tuple(sorted(name for name in called if overridden(one.loaded, name) is not None))
        clears = tuple(one.loaded.clears) if one.acts else ()
        return PluginInfo(one.name, *one.brought_by, self._settings.policy(one.known_as), hooks, clears)

    @property
    def steps(self) -> Registry[Step[Any, Any]]:
        """The registered steps."""
        return self._registries["register_steps"]

    @property
    def agents(self) -> Registry[Any]:
        """The registered agents."""
        return self._registries["register_agents"]

    @property
    def models(self) -> Registry[ModelFactory]:
        """The registered prefixes of model names."""
        return self._registries["register_models"]

    @property
    def tools(self) -> Registry[FlujoTool[Any, Any]]:
        """The registered tools."""
        return self._registries["register_tools"]

    @property
    def stores(self) -> Registry[StoreFactory]:
        """The registered schemes of store URLs."""
        return self._registries["register_stores"]

    @property
    def backends(self) -> Registry[BackendFactory]:
        """The registered backends."""
        return self._registries["register_backends"]

    @property
    def codecs(self) -> Registry[CodecFactory]:
        """The registered codecs."""
        return self._registries["register_codecs"]

    @property
    def checks(self) -> Registry[Check]:
        """The registered checks of pipelines."""
        return self._registries["register_checks"]

    @property
    def validators(self) -> Registry[Validator]:
        """The registered validators of outputs."""
        return self._registries["register_validators"]

    @property
    def commands(self) -> Registry[Any]:
        """The registered commands."""
        return self._registries["register_commands"]

    @property
    def registries(self) -> Sequence[Registry[Any]]:
        """All registries."""
        return list(self._registries.values())

    def find_model(self, name: str, /) -> Any:
        """The model that a plugin has for a model name such as ``local:smollm2``, or None if no plugin claims it."""
        prefix, colon, rest = name.partition(":")
        return self.models.get(prefix)(rest) if colon and self.models.find(prefix) else None

    def is_inside(self, registry: Registry[Any], name: str) -> bool:
        """Whether the plugin that has registered a name says of it that what goes there stays within the boundary."""
        try:
            entry = registry.find(name)
        except ConfigurationError:  # several plugins have it
            return False
        if entry is None:
            return False
        plugin = self.plugins[entry.plugin].loaded if entry.plugin in self.plugins else self._kernel
        return plugin is not None and entry.short in plugin.inside

    @property
    def clears(self) -> frozenset[str]:
        """The labels that plugins clear in what agents send to their models."""
        return frozenset(label for plugin in self._closed for label in plugin.clears)

    @property
    def assured(self) -> frozenset[str]:
        """What plugins assure a regulated deployment of."""
        return frozenset(word for plugin in self._closed for word in plugin.assures)

    @property
    def _closed(self) -> Iterator[Plugin]:
        """The plugins that act, and an error in which ends the run."""
        acting = (one for one in self.plugins.values() if one.acts)
        return (one.loaded for one in acting if self._settings.policy(one.known_as) == "closed")

    def model_prefixes(self) -> Sequence[str]:
        """The prefixes of the model names that plugins claim."""
        return [entry.short for entry in self.models.entries()]

    def codecs_of(self, given: Sequence[Codec | str]) -> Codecs | None:
        """Codecs, in the order in which they write: those that plugins bring, then those given; None if there are none.

        Args:
            given: Codecs, and names of registered ones; one that is given is not brought too.

        Raises:
            ConfigurationError: A name is not registered, or a codec cannot be had.
        """
        if isinstance(given, str):
            raise ConfigurationError(f"'codecs' is a list, such as ['{given}'], and not a text")
        listed = [self.codecs.get(one)() if isinstance(one, str) else one for one in given]
        brought = [codec for one in self.plugins.values() if one.acts for codec in one.loaded.codecs]
        names = {getattr(one, "name", None) for one in listed}  # what is no codec is refused below
        found = [*(one for one in brought if one.name not in names), *listed]
        return Codecs(found, self._settings.hook_timeout) if found else None

    def open_store(self, url: str) -> Store:
        """The store that a URL names, by its scheme.

        Raises:
            ConfigurationError: It names none.
        """
        scheme, colon, _ = url.partition("://")
        if not colon or self.stores.find(scheme) is None:
            known = ", ".join(f"'{entry.short}://...'" for entry in self.stores.entries())
            raise ConfigurationError(f"'{url}' names no store; write 'sqlite:///runs.db', or a URL of one of {known}")
        short = scheme.rpartition("/")[2]
        return self.stores.get(scheme)(short + url.removeprefix(scheme))

    def chain(self, hook: str) -> list[Implementation]:
        """The implementations of a hook, in calling order."""
        found: dict[str, pluggy.HookImpl] = {
            impl.plugin_name: impl for impl in getattr(self._manager.hook, hook).get_hookimpls()
        }

        def rank(name: str) -> tuple[int, int]:
            return self._settings.rank(self.plugins[name].known_as), found[name].trylast - found[name].tryfirst

        order = _in_order(list(found), self.plugins, rank)
        chain = [self._implementation(hook, self.plugins[name]) for name in order]
        return chain[::-1] if HOOKS[hook].mirrored else chain

    def _implementation(self, hook: str, one: Candidate) -> Implementation:
        function = getattr(one.loaded, hook)
        return Implementation(function, hook, one.name, *one.brought_by, self._settings.policy(one.known_as))

    def capabilities(self, agent: AgentInfo) -> tuple[Any, ...]:
        """The pydantic-ai capabilities that the plugins have for an agent.

        Raises:
            PluginLoadError: A plugin failed, or gave what would not be called.
        """
        found: list[Any] = []
        for one in self.chain("agent_capabilities"):
            try:
                found += _capabilities(one, agent)
            except PluginLoadError as error:
                if one.policy == "closed":
                    raise
                warning("plugin.left_out", plugin=one.plugin, hook=one.hook, failure=str(error))
        return tuple(found)


def _in_order(names: Sequence[str], plugins: Mapping[str, Candidate], rank: Callable[[str], Any]) -> list[str]:
    """Names by rank, and those of one rank as the plugins declare."""
    others = {name: one.loaded for name, one in plugins.items() if name not in names}
    groups = ([*group] for _, group in groupby(sorted(names, key=rank), rank))
    return [
        name for group in groups for name in declared_order(group, others | {one: plugins[one].loaded for one in group})
    ]


def _capabilities(by: Implementation, agent: AgentInfo) -> list[Any]:
    origin = f" ({by.distribution} {by.version})" if by.distribution else ""
    refused = f"plugin '{by.plugin}'{origin} is refused: its '{by.hook}'"
    try:
        given = list(by.function(agent))
    except (Exception, SystemExit) as error:
        raise PluginLoadError(f"{refused} raised {type(error).__name__} for step '{agent.address}'") from error
    if not given:
        return []
    from flujo_core.agents.pydantic_ai import capability_flaw  # noqa: PLC0415 - imports pydantic_ai

    for capability in given:
        if (flaw := capability_flaw(capability)) is not None:
            raise PluginLoadError(f"{refused} gives step '{agent.address}' {flaw}")
    return given


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
            if (method := overridden(plugin, hook)) is not None:
                setattr(self, hook, _by_position(method))


def _by_position(method: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: method(*arguments)


def _manager(plugins: dict[str, Candidate]) -> pluggy.PluginManager:
    manager = _Manager(PROJECT)
    manager.add_hookspecs(Plugin)
    for name, one in plugins.items():
        if one.acts:
            manager.register(_Overrides(one.loaded), name=name)
    return manager
