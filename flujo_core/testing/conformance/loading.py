"""Whether a plugin loads, and registers the same each time."""

from __future__ import annotations

from collections.abc import Iterator

from flujo_core.builtin import Builtin
from flujo_core.config import PluginSettings
from flujo_core.errors import FlujoError, PluginLoadError
from flujo_core.hooks.host import Host
from flujo_core.testing.conformance.finding import Finding, said
from flujo_core.testing.conformance.subject import Subject

ALONE = PluginSettings(allow=())


def check_loading(subject: Subject) -> Iterator[Finding]:
    """It can be made, and the host takes it: ``name``, ``api``, methods, signatures, what it registers."""
    try:
        plugin = subject.shown
    except Exception as error:
        yield Finding("loading", f"making it raised {said(error)}; it is made without arguments, with nothing around")
        return
    try:
        Host(ALONE, [Builtin(), plugin])
    except PluginLoadError as error:
        yield Finding("loading", str(error))


def check_registrations(subject: Subject, *, import_targets: bool) -> Iterator[Finding]:
    """It registers the same names each time, and its targets can be imported.

    Args:
        subject: The plugin.
        import_targets: Whether to import targets that are written as ``module:attr``.
    """
    try:
        plugins = [subject.make(), subject.make()]
        first, second = (Host(ALONE, [plugin]) for plugin in plugins)
    except Exception as error:
        told = str(error) if isinstance(error, PluginLoadError) else f"making it raised {said(error)}"
        yield Finding("registrations", f"it loads once, and not again: {told}")
        return
    if plugins[0].name != plugins[1].name:
        told = f"'{plugins[0].name}' at one load and '{plugins[1].name}' at the next"
        yield Finding("registrations", f"its name is {told}; give its class a 'name'")
        return
    names = [
        {(each.what, entry.name) for each in host.registries for entry in each.entries()} for host in (first, second)
    ]
    for what, name in sorted(names[0] ^ names[1]):
        yield Finding(
            "registrations",
            f"{what} '{name}' is registered at one load and not at the next; what is registered must not depend on"
            " anything but the plugin",
        )
    if import_targets:
        yield from _unimportable(first)


def _unimportable(host: Host) -> Iterator[Finding]:
    for registry in host.registries:
        for entry in registry.entries():
            if isinstance(entry.target, str):
                try:
                    registry.get(entry.name)
                except FlujoError as error:
                    yield Finding("registrations", f"{error}; mend the target, or give 'import_targets=False'")
