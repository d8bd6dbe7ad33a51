"""Which plugins are installed, and whether what their distributions require is there. Nothing is imported for it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, cast

from flujo_core.config import normalised
from flujo_core.log import warning

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
        readable: Whether its metadata could be read; if not, it goes by the name of its entry point.
    """

    distribution: str
    version: str
    entry: str
    target: str
    point: EntryPoint
    source: Distribution
    readable: bool = True


@cache
def scan() -> tuple[Installed, ...]:
    """Every plugin that an installed distribution offers, by distribution and name; read once in a process."""
    from importlib_metadata import entry_points  # noqa: PLC0415 - only a Flujo needs it, `import flujo_core` does not

    try:
        points: Iterable[EntryPoint] = entry_points(group=GROUP)
    except Exception:  # some distribution, which may have nothing to do with us, has entry points that cannot be read
        points = _readable_points()
    return tuple(sorted(map(_installed, points), key=lambda one: one[:3]))


def _readable_points() -> list[EntryPoint]:
    """The entry points of plugins, of those distributions whose entry points can be read; the others are logged."""
    from importlib_metadata import distributions  # noqa: PLC0415 - as in `scan`

    found: dict[str, list[EntryPoint]] = {}
    for source in distributions():
        try:
            found.setdefault(normalised(source.name), list(source.entry_points.select(group=GROUP)))
        except Exception as error:
            warning("plugin.unreadable_distribution", path=str(source.locate_file("")), error=type(error).__name__)
    return [point for points in found.values() for point in points]


def _installed(point: EntryPoint) -> Installed:
    source = cast("Distribution", point.dist)
    try:
        return Installed(normalised(source.name), source.version, point.name, point.value, point, source)
    except Exception:
        return Installed(normalised(point.name), "?", point.name, point.value, point, source, readable=False)


@cache
def unmet_requirement(found: Installed) -> str | None:
    """The first thing that a plugin's distribution requires and that is not there, as the end of a sentence, or None.

    Extras are not looked at. The names and versions are those of the metadata (PEP 508, PEP 440).
    """
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415 - only who has plugins needs it

    try:
        requirements = found.source.requires or ()
    except UnicodeDecodeError:
        return "requires what cannot be read"
    for text in requirements:
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
