"""Which plugins are installed, and whether what their distributions require is there. Nothing is imported for it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from flujo_core.config import normalised

if TYPE_CHECKING:
    from importlib_metadata import Distribution, EntryPoint

GROUP = "flujo.plugins"
"""The entry point group of plugins."""


class Installed(NamedTuple):
    """A plugin that an installed distribution offers.

    Attributes:
        distribution: The distribution's name, normalised (``flujo-local-model``).
        version: Its version.
        entry: The entry point's name.
        target: What the entry point names: ``module:attr``.
        point: The entry point.
        source: The distribution.
    """

    distribution: str
    version: str
    entry: str
    target: str
    point: EntryPoint
    source: Distribution


@cache
def scan() -> tuple[Installed, ...]:
    """Every plugin that an installed distribution offers, by distribution and name; read once in a process."""
    from importlib_metadata import entry_points  # noqa: PLC0415 - only a Flujo needs it, `import flujo_core` does not

    found = [
        Installed(normalised(point.dist.name), point.dist.version, point.name, point.value, point, point.dist)
        for point in entry_points(group=GROUP)
        if point.dist is not None
    ]
    return tuple(sorted(found, key=lambda one: one[:3]))


@cache
def unmet_requirement(found: Installed) -> str | None:
    """The first thing that a plugin's distribution requires and that is not there, as the end of a sentence, or None.

    Extras are not looked at. The names and versions are those of the metadata (PEP 508, PEP 440).
    """
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415 - only who has plugins needs it

    for text in found.source.requires or ():
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            return f"requires '{text}', which cannot be read"
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        there = _version(wanted.name)
        if there is None:
            return f"requires '{wanted.name}{wanted.specifier}', which is not installed"
        if not wanted.specifier.contains(there, prereleases=True):
            return f"requires '{wanted.name}{wanted.specifier}', and {there} is installed"
    return None


@cache
def _version(distribution: str) -> str | None:
    from importlib_metadata import PackageNotFoundError, version  # noqa: PLC0415 - as in `scan`

    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
