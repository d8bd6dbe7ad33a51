"""Lexicon: the lists of words, names and places that come with the package; each is read on first use."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def entries(name: str) -> frozenset[str]:
    """The lines of one of the files in ``data``, without its ``.txt``."""
    text = (files("flujo_deidentifier") / "data" / f"{name}.txt").read_text(encoding="utf8")
    return frozenset(text.splitlines())


@cache
def lowered(name: str) -> frozenset[str]:
    """The lines of a file, in lower case."""
    return frozenset(line.lower() for line in entries(name))


@cache
def places() -> frozenset[str]:
    """Countries, states, regions and cities, in lower case."""
    return lowered("countries") | lowered("cities")


# States and countries that share their names with cities count as cities.
_CITIES = frozenset(
    ("georgia", "luxembourg", "mexico", "new york", "panama", "singapore", "washington", "kuwait", "djibouti")
)


@cache
def regions() -> frozenset[str]:
    """Countries, states and regions, in lower case, but for those that are cities as well."""
    return lowered("countries") - _CITIES


@cache
def nations() -> frozenset[str]:
    """Regions that mean nothing else where they have a capital, unlike turkeys and reunions."""
    return regions() - {"chile", "jersey", "mediterranean", "midlands", "reunion", "turkey"}


@cache
def place_starts() -> frozenset[str]:
    """The first words of places that have several."""
    return frozenset(place.partition(" ")[0] for place in places() if " " in place)
