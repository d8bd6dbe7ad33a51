"""Registry: the names that plugins contribute, and what stands behind each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Generic, TypeVar, cast

from flujo_core.errors import ConfigurationError, PluginLoadError, did_you_mean
from flujo_core.model.slotted import NamedTuple

T = TypeVar("T")


class Entry(NamedTuple):
    """One contribution.

    Attributes:
        name: Its full name: ``plugin/name``.
        target: The thing itself, or ``module:attr``, imported on first use.
        plugin: The plugin that added it.
        origin: The distribution that brought the plugin, and its version; or ``Flujo(plugins=...)``.
    """

    name: str
    target: object
    plugin: str
    origin: str

    @property
    def short(self) -> str:
        """The name without the plugin's."""
        return self.name.partition("/")[2]


def anything(_: object) -> bool:
    """Accepts whatever there is: what can be registered where nothing else is said."""
    return True


class Registry(Generic[T]):
    """Names of one kind, each contributed by a plugin as ``plugin/name``.

    The short name stands for it as long as only one plugin has it.

    Args:
        what: What is registered, for messages: "agent", "model prefix".
        accepts: Whether something can be one.
    """

    def __init__(self, what: str, accepts: Callable[[object], bool] = anything) -> None:
        self.what = what
        self._accepts = accepts
        self._entries: dict[str, Entry] = {}
        self._plugin: str | None = None
        self._origin = ""

    def add(self, name: str, target: T | str, /) -> None:
        """Contributes ``target`` under ``name``; called by a plugin's ``register_*`` method.

        Args:
            name: The short name.
            target: The thing itself, or where it is, as ``module:attr``, which is imported on first use.

        Raises:
            PluginLoadError: The name is empty, holds a '/', or was added by the same plugin before; or the target
                cannot be what is registered here.
        """
        if self._plugin is None:
            raise PluginLoadError(f"{self.what} '{name}' comes too late: names are registered while plugins load")
        full = f"{self._plugin}/{name}"
        if not name or "/" in name:
            raise PluginLoadError(f"plugin '{self._plugin}' adds {self.what} '{name}'; give a name without '/'")
        if full in self._entries:
            raise PluginLoadError(f"plugin '{self._plugin}' adds {self.what} '{name}' twice")
        if not isinstance(target, str) and not self._accepts(target):
            raise PluginLoadError(f"{self.what} '{name}' is {type(target).__name__!r}, which is none")
        self._entries[full] = Entry(full, target, self._plugin, self._origin)

    @contextmanager
    def contributor(self, plugin: str, origin: str) -> Iterator[None]:
        """Takes contributions while the block lasts; before and after it, the registry is frozen.

        Args:
            plugin: Whose they are; if the block fails, none of them are kept.
            origin: Where the plugin is from.
        """
        self._plugin, self._origin = plugin, origin
        try:
            yield
        except BaseException:
            self.forget(plugin)
            raise
        finally:
            self._plugin = None

    def forget(self, plugin: str) -> None:
        """Drops what a plugin has contributed."""
        self._entries = {name: entry for name, entry in self._entries.items() if entry.plugin != plugin}

    def entries(self) -> list[Entry]:
        """All contributions, by name."""
        return [self._entries[name] for name in sorted(self._entries)]

    def find(self, name: str) -> Entry | None:
        """The contribution of that full or short name, or None.

        Raises:
            ConfigurationError: Several plugins have the short name.
        """
        if name in self._entries:
            return self._entries[name]
        same = [entry for entry in self.entries() if entry.short == name]
        if len(same) > 1:
            names = " and ".join(f"'{entry.name}' of {entry.origin}" for entry in same)
            raise ConfigurationError(f"{self.what} '{name}' could be {names}; write the full name")
        return same[0] if same else None

    def get(self, name: str) -> T:
        """What is registered under a full or short name.

        Raises:
            ConfigurationError: Nothing is, or its target cannot be imported.
        """
        entry = self.find(name)
        if entry is None:
            known = [*self._entries, *(one.short for one in self._entries.values())]
            raise ConfigurationError(f"no {self.what} is named '{name}'{did_you_mean(name, known)}")
        found = _load(entry.target, f"{self.what} '{entry.name}'")
        if not self._accepts(found):
            raise ConfigurationError(
                f"{self.what} '{entry.name}' of {entry.origin} is {type(found).__name__!r}, not one"
            )
        return cast(T, found)


def _load(target: object, what: str) -> object:
    if not isinstance(target, str):
        return target
    module, colon, attribute = target.partition(":")
    if not colon:
        raise ConfigurationError(f"{what} is registered as '{target}'; its target is written 'module:attr'")
    try:
        loaded: object = import_module(module)
        for name in attribute.split("."):
            loaded = getattr(loaded, name)
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"{what} is registered as '{target}', which cannot be imported ({type(error).__name__}: {error})"
        ) from error
    return loaded
