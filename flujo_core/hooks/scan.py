"""Which plugins are installed, and whether what their distributions require is there. Nothing is imported for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, cast

from flujo_core.config import normalised
from flujo_core.log import warning
from flujo_core.model.slotted import NamedTuple

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
    if _are_none():
        return ()
    from importlib_metadata import entry_points  # noqa: PLC0415 - only a Flujo needs it, `import flujo_core` does not

    try:
        points: Iterable[EntryPoint] = entry_points(group=GROUP)
    except Exception:  # some distribution, which may have nothing to do with us, has entry points that cannot be read
        return tuple(sorted(_one_by_one(), key=lambda one: one[:3]))
    return tuple(
        sorted((_installed(point, cast("Distribution", point.dist)) for point in points), key=lambda one: one[:3])
    )


def _are_none() -> bool:
    """Whether it is seen at once that no distribution has plugins: where they are listed, nobody names the group.

    It saves the import of what reads metadata, which takes longer than that. What is not a plain folder of installed
    distributions is left to that.
    """
    if any(hasattr(finder, "find_distributions") and not _reads_folders(finder) for finder in sys.meta_path):
        return False
    try:
        return not any(_lists_plugins(place or os.curdir) for place in sys.path if os.path.exists(place or os.curdir))
    except OSError:
        return False


def _reads_folders(finder: object) -> bool:
    """Whether a finder looks for distributions where Python itself does."""
    kind = finder if isinstance(finder, type) else type(finder)
    return kind.__module__.startswith(("_frozen_importlib", "importlib_metadata"))


def _lists_plugins(place: str) -> bool:
    """Whether a distribution in a folder may have plugins.

    Raises:
        OSError: It is no folder, or a file in it cannot be read.
    """
    group = GROUP.encode()
    for name in os.listdir(place):
        kind = name.lower().rpartition(".")[2]
        if kind in ("dist-info", "egg-info"):
            try:
                with open(os.path.join(place, name, "entry_points.txt"), "rb") as file:
                    if group in file.read():
                        return True
            except (FileNotFoundError, NotADirectoryError):
                continue
    return False


def _one_by_one() -> list[Installed]:
    """The plugins of each distribution by itself; entry points that cannot be read, and may be plugins, are broken."""
    from importlib_metadata import EntryPoint, distributions  # noqa: PLC0415 - as in `scan`

    found: dict[str, list[Installed]] = {}
    for source in cast("Iterable[Distribution]", distributions()):
        try:
            points = list(source.entry_points.select(group=GROUP))
            found.setdefault(normalised(source.name), [_installed(point, source) for point in points])
        except Exception as error:
            if not _may_have_plugins(source):
                warning("plugin.unreadable_distribution", path=str(source.locate_file("")), error=type(error).__name__)
                continue
            point = EntryPoint("unreadable", "unreadable:entry_points", GROUP)
            one = _installed(point, source)._replace(readable=False)
            found.setdefault(one.distribution, [one])
    return [one for group in found.values() for one in group]


def _may_have_plugins(source: Distribution) -> bool:
    try:
        return f"[{GROUP}]" in (source.read_text("entry_points.txt") or "")
    except Exception:
        return True


def _installed(point: EntryPoint, source: Distribution) -> Installed:
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
