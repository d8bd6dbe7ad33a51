"""How a plugin comes to take part: the checks that it passes, in order, and the state that the first it fails gives it.

``docs/explanation/plugins.md`` has the table of the states.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, cast

from flujo_core.config import PluginSettings, normalised
from flujo_core.errors import FlujoError, PluginLoadError, did_you_mean
from flujo_core.hooks.order import circle
from flujo_core.hooks.registry import Registry
from flujo_core.hooks.scan import Installed, scan, unmet_requirement
from flujo_core.hooks.spec import HOOK_API, HOOKS, Plugin
from flujo_core.hooks.validation import flaws, overridden
from flujo_core.log import warning
from flujo_core.model.slotted import NamedTuple

State: TypeAlias = Literal[
    "loaded", "denied", "missing", "duplicate", "unmet", "unlocked", "changed", "foreign", "broken", "incompatible",
    "invalid", "refused",
]  # fmt: skip


KERNEL = "the kernel"
"""Where the kernel's own plugin is from."""

DENY_ONE = "deny one of them, or give it another name"
"""What mends two plugins of one name."""


class Report(NamedTuple):
    """What became of a plugin.

    Attributes:
        plugin: Its name, or its entry point's where it has not come to have one.
        distribution: What brought it, or None when it was given to ``Flujo`` directly.
        version: That distribution's version, or None.
        state: Whether it takes part, or what was found instead.
        reason: What was found, as the end of a sentence about it; empty for one that takes part.
        remedy: What would mend it.
        entry: The name of its entry point, or None.
    """

    plugin: str
    distribution: str | None
    version: str | None
    state: State
    reason: str
    remedy: str
    entry: str | None = None

    def __str__(self) -> str:
        origin = f" ({self.distribution} {self.version})" if self.version else ""
        reason = self.reason if self.reason.endswith("?") else f"{self.reason};"
        return f"plugin '{self.plugin}'{origin} is {self.state}: it {reason} {self.remedy}"


@dataclass(eq=False)
class Candidate:
    """A plugin on its way.

    Attributes:
        found: Where it was found, or None when it was given to ``Flujo`` directly.
        plugin: The plugin, once it is there.
        state: How far it came.
        reason: What was found, if it goes no further.
        remedy: What would mend it.
        cause: The exception behind it, or None.
        origin: Where it is from, for messages.
        acts: Whether its hooks are called, beside those that configure and contribute.
    """

    found: Installed | None
    plugin: Plugin | None = None
    state: State = "loaded"
    reason: str = ""
    remedy: str = ""
    cause: BaseException | None = None
    origin: str = "'Flujo(plugins=...)'"
    acts: bool = True

    def __post_init__(self) -> None:
        if self.found is not None:
            self.origin = f"'{self.found.distribution} {self.found.version}'"

    @property
    def name(self) -> str:
        """The plugin's name; its entry point's until it has one."""
        if isinstance(self.plugin, Plugin):
            name = getattr(self.plugin, "name", None)
            if isinstance(name, str) and name and "/" not in name:
                return name
        return self.found.entry if self.found else type(self.plugin).__name__

    @property
    def known_as(self) -> str:
        """The name that the configuration calls it by."""
        return self.found.distribution if self.found else self.name

    @property
    def brought_by(self) -> tuple[str | None, str | None]:
        """The name and the version of its distribution, if it has one."""
        return (self.found.distribution, self.found.version) if self.found else (None, None)

    @property
    def loaded(self) -> Plugin:
        """The plugin, which has come through all checks."""
        assert self.plugin is not None and self.state == "loaded"
        return self.plugin

    @property
    def report(self) -> Report:
        """What became of it."""
        distribution, version = self.brought_by
        entry = self.found.entry if self.found else None
        return Report(self.name, distribution, version, self.state, self.reason, self.remedy, entry)

    def fail(self, state: State, reason: str, remedy: str, cause: BaseException | None = None) -> None:
        """Takes it out."""
        self.state, self.reason, self.remedy, self.cause = state, reason, remedy, cause


def registries() -> Mapping[str, Registry[Any]]:
    """An empty registry for each ``register_*`` hook, by the hook's name."""
    return {hook.name: Registry(hook.what, hook.accepts) for hook in HOOKS.values() if hook.kind == "contribute"}


class Loading:
    """One load of all plugins.

    Args:
        settings: Which installed distributions are allowed, denied, required and locked.
        given: Plugins beside the installed ones.
        kernel: The kernel's own plugin.
        made: Installed plugins that were made before and are to be taken again.

    Attributes:
        registries: What they contribute, by the name of the hook.
        missing: Reports of plugins that have to be there and are not.
    """

    def __init__(
        self,
        settings: PluginSettings,
        given: Sequence[Plugin] = (),
        kernel: Plugin | None = None,
        made: Mapping[Installed, Plugin] = MappingProxyType({}),
    ) -> None:
        self.registries = registries()
        self._made = made
        self._settings = settings
        self._locked = {} if settings.lock is None else _locked_plugins(settings.lock)
        self._all = [Candidate(found) for found in scan()] + [Candidate(None, plugin) for plugin in given]
        if kernel is not None:
            self._all.append(Candidate(None, kernel, origin=KERNEL))
        checks = (self._denied, self._unreadable, self._duplicate_entry, self._unmet, self._unlocked, self._imported)
        for check in checks:
            for one in self.passed():
                if one.found is not None:
                    check(one, one.found)
        for look in (
            self._is_plugin,
            self._api,
            self._methods,
            self._names,
            self._circles,
            self._configured,
            self._registered,
        ):
            look()
        self.missing = [
            *self._missing_allowed(),
            *self._missing_required(),
            *self._missing_locked(),
            *self._missing_configured(),
        ]

    @property
    def reports(self) -> list[Report]:
        """What became of each plugin, by name; those that are missing come last."""
        reports = (one.report for one in self._all if one.origin != KERNEL)
        return sorted(reports, key=lambda one: (one.plugin, one.distribution or "")) + self.missing

    def loaded(self) -> list[Candidate]:
        """The plugins that take part.

        Raises:
            PluginLoadError: One that has to take part cannot.
        """
        for one in self._all:
            if one.state in ("loaded", "denied"):
                continue
            if self._settings.policy(one.known_as) == "closed" or self._is_required(one):
                raise PluginLoadError(str(one.report)) from one.cause
            warning("plugin.left_out", plugin=one.name, state=one.state, failure=str(one.report))
        for report in self.missing:
            raise PluginLoadError(str(report))
        return list(self.passed())

    def passed(self) -> Iterator[Candidate]:
        """Those that have come through all checks so far."""
        return (one for one in list(self._all) if one.state == "loaded")

    def _is_required(self, one: Candidate) -> bool:
        return normalised(one.known_as) in map(normalised, self._settings.required)

    # ------------------------------------------------------------------------------------- before it is imported

    def _denied(self, one: Candidate, found: Installed) -> None:
        if not self._settings.allows(found.distribution):
            one.fail("denied", "is left out by the configuration", "nothing, if that is what is wanted")

    def _unreadable(self, one: Candidate, found: Installed) -> None:
        if not found.readable:
            one.fail("broken", "has metadata that cannot be read: no name, no version or no text", _mend(one))

    def _duplicate_entry(self, one: Candidate, found: Installed) -> None:
        for other in self._all:
            rival = other.found
            if other is not one and rival is not None and rival.entry == found.entry and other.state != "denied":
                one.fail("duplicate", f"has the entry point '{found.entry}', as has {other.origin}", DENY_ONE)

    def _unmet(self, one: Candidate, found: Installed) -> None:
        if (reason := unmet_requirement(found)) is not None:
            one.fail("unmet", reason, f"install '{found.distribution}' again with what it requires, {_or_deny(found)}")

    def _unlocked(self, one: Candidate, found: Installed) -> None:
        if self._settings.lock is None:
            return
        from flujo_core.hooks.integrity import changed_file, unlocked  # noqa: PLC0415 - dear to import

        again = f"if that is what is wanted, write the lock again with 'flujo plugins lock', {_or_deny(found)}"
        locked = self._locked.get(found.distribution)
        if locked is None:
            one.fail("unlocked", f"is not in the lock '{self._settings.lock}'", again)
        elif (reason := unlocked(found, locked["version"])) is not None:
            one.fail("unlocked", reason, f"install the locked version from a wheel; {again}")
        elif (reason := changed_file(found, tuple(sorted(locked["files"].items())))) is not None:
            one.fail("changed", reason, f"install it again; {again}")

    # ------------------------------------------------------------------------------------------------- importing

    def _imported(self, one: Candidate, found: Installed) -> None:
        if found in self._made:
            one.plugin = self._made[found]
            return
        from flujo_core.hooks.integrity import foreign_module, foreign_package  # noqa: PLC0415 - dear to import

        apart = f"take the other one out of the path, {_or_deny(found)}"
        if (reason := foreign_package(found)) is not None:
            one.fail("foreign", reason, f"install it again with pip or uv; {apart}")
            return
        try:
            made = found.point.load()
            if (reason := foreign_module(found)) is not None:
                one.fail("foreign", reason, apart)
                return
            one.plugin = cast(Plugin, made() if callable(made) else made)
        except (Exception, SystemExit) as error:
            reason = f"cannot be loaded from '{found.target}' ({type(error).__name__}: {error})"
            one.fail("broken", reason, _mend(one), error)

    # ------------------------------------------------------------------------------------------------ validation

    def _is_plugin(self) -> None:
        for one in self.passed():
            if not isinstance(one.plugin, Plugin):
                what = f"is of type {type(one.plugin).__name__!r}"
                one.fail("invalid", f"{what}, not an instance of a 'flujo_core.Plugin' class", _mend(one))
            elif one.name != (name := getattr(one.plugin, "name", None)):
                named = f"the name {name!r}" if name else "no name"
                what = f"is of class {type(one.plugin).__name__!r}, and has {named}"
                one.fail("invalid", f"{what}; a name is a text without '/'", _mend(one))

    def _api(self) -> None:
        for one in self.passed():
            wanted: object = one.loaded.api
            if wanted == Plugin.api:
                continue
            from packaging.specifiers import InvalidSpecifier, SpecifierSet  # noqa: PLC0415 - dear to import

            try:
                known = SpecifierSet(wanted if isinstance(wanted, str) else "?")
            except InvalidSpecifier:
                one.fail("invalid", f"has an 'api' {wanted!r}, which is no range of versions", _mend(one))
                continue
            if HOOK_API not in known:
                reason = f"is written for the hook specification '{wanted}', and this kernel's is {HOOK_API}"
                one.fail("incompatible", reason, "install a version of it, or of flujo-core, that goes with the other")

    def _methods(self) -> None:
        for one in self.passed():
            if one.origin != KERNEL and (reason := next(flaws(one.loaded), None)) is not None:
                one.fail("invalid", reason, _mend(one))

    def _names(self) -> None:
        given = {one.name for one in self.passed() if one.found is None}
        for one in self.passed():
            if one.found is not None and one.name in given and not self._is_meant(one):
                one.fail("denied", "gives its place to the one that was given to 'Flujo'", "nothing, if that is wanted")
        for one, other in permutations(list(self.passed()), 2):
            if one.name == other.name and one.origin != KERNEL:
                one.fail("duplicate", f"is named '{one.name}', as is the plugin of {other.origin}", DENY_ONE)

    def _circles(self) -> None:
        while names := circle({one.name: one.loaded for one in self.passed()}):
            told = " before ".join(f"'{name}'" for name in (*names, names[0]))
            for one in self.passed():
                if one.name in names:
                    one.fail("invalid", f"is to be called in a circle: {told}", "take a 'before' or an 'after' out")

    # --------------------------------------------------------------------------- configuration and registration

    def _is_meant(self, one: Candidate) -> bool:
        """Whether the deployment means an installed plugin to act."""
        is_named = self._settings.table(one.known_as, one.name) is not None or self._is_required(one)
        return is_named or not one.loaded.dormant

    def _configured(self) -> None:
        for one in self.passed():
            table = self._settings.table(one.known_as, one.name)
            one.acts = one.found is None or self._is_meant(one)
            if one.found is not None and one.found in self._made:
                continue
            if table is None and one.loaded.dormant and self._is_required(one):
                table = {}
            if table is not None:
                self._configure(one, table)

    def _configure(self, one: Candidate, table: Mapping[str, Any]) -> None:
        if overridden(one.loaded, "configure") is None:
            remedy = f"take '[plugins.{one.known_as}]' out of the configuration"
            one.fail("refused", "is configured, and has no 'configure' that would take it", remedy)
            return
        try:
            one.loaded.configure(table)
        except (Exception, SystemExit) as error:
            said = f": {error}" if isinstance(error, FlujoError) else ""
            remedy = f"mend '[plugins.{one.known_as}]' in the configuration"
            one.fail("refused", f"raised {type(error).__name__} in 'configure'{said}", remedy, error)

    def _registered(self) -> None:
        for one in self.passed():
            for hook, registry in self.registries.items():
                if one.state == "loaded" and (method := overridden(one.loaded, hook)) is not None:
                    self._register(one, hook, method, registry)

    def _register(self, one: Candidate, hook: str, method: Callable[..., Any], registry: Registry[Any]) -> None:
        try:
            with registry.contributor(one.name, one.origin):
                method(registry)
        except (Exception, SystemExit) as error:
            said = f": {error}" if isinstance(error, PluginLoadError) else ""
            one.fail("refused", f"raised {type(error).__name__} in '{hook}'{said}", _mend(one), error)
            for other in self.registries.values():
                other.forget(one.name)

    # ----------------------------------------------------------------------------------------------- what lacks

    def _missing_allowed(self) -> Iterator[Report]:
        """What is allowed and not installed, unless it is locked or required: those are told of as such."""
        told = {*self._installed(), *self._locked, *map(normalised, self._settings.required)}
        for name in self._settings.allow or ():
            if normalised(name) not in told and self._settings.allows(name):
                yield _missing(name, "is allowed, and not installed", "install it, or do not list it")

    def _missing_required(self) -> Iterator[Report]:
        """What is required and not installed, or denied; a plugin that was given stands for none that is installed."""
        installed = self._installed()
        for name in self._settings.required:
            one = installed.get(normalised(name))
            if one is None:
                yield _missing(name, "is required, and not installed", "install it, or do not require it")
            elif one.state == "denied":
                yield _missing(name, "is required, and denied", "allow it, or do not require it")

    def _missing_locked(self) -> Iterator[Report]:
        """What is locked and neither installed nor given."""
        there = {one.known_as for one in self._all}
        for name in self._locked:
            if name not in there and self._settings.allows(name):
                version = self._locked[name]["version"]
                reason = f"is in the lock '{self._settings.lock}' at version {version}, and not installed"
                yield _missing(name, reason, "install it, or write the lock again with 'flujo plugins lock'", version)

    def _missing_configured(self) -> Iterator[Report]:
        """What is configured, and neither installed nor given."""
        there = {normalised(name) for one in self._all for name in (one.known_as, one.name)}
        told = {normalised(name) for name in (*self._settings.required, *(self._settings.allow or ()))}
        for name in self._settings.tables:
            if normalised(name) not in there | told:
                close = did_you_mean(name, sorted(one.known_as for one in self._all if one.origin != KERNEL))
                yield _missing(name, f"is configured, and not installed{close}", "install it, or take its table out")

    def _installed(self) -> dict[str, Candidate]:
        return {one.known_as: one for one in self._all if one.found is not None}


def _locked_plugins(file: Path) -> Mapping[str, Any]:
    from flujo_core.hooks.integrity import locked_plugins  # noqa: PLC0415 - dear to import

    return locked_plugins(file)


def _missing(name: str, reason: str, remedy: str, version: str | None = None) -> Report:
    return Report(name, normalised(name), version, "missing", reason, remedy)


def _or_deny(found: Installed) -> str:
    return f"or deny it: '[plugins] deny = [\"{found.distribution}\"]' in flujo.toml"


def _mend(one: Candidate) -> str:
    return f"mend it, uninstall it, {_or_deny(one.found)}" if one.found else "mend it"
