"""Addresses of a run when nodes have got other names, and what the addresses of a node look like."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

ATTEMPT = r"(?:#\d+)?"
"""The number of an attempt, which may stand behind a node's name."""


def pattern_of(static: str) -> str:
    """An expression for the addresses in runs that an address stands for, as ``walk`` gives it."""
    parts = re.split(r"(\[\*\]|\[|/|~)", static)
    said = {"[*]": ATTEMPT + r"\[[^\]]*\]", "[": ATTEMPT + r"\[", "/": ATTEMPT + "/", "~": "~"}
    return "".join(said.get(part, re.escape(part)) for part in parts)


def plain_address(address: str) -> str:
    """An address without the numbers of attempts: what stays the same when a node around is tried again."""
    return re.sub(r"#\d+", "", address)


def renamed(address: str, renames: Mapping[str, str]) -> str:
    """The address in a run of a node whose name, or that of one around it, has changed.

    Args:
        address: An address, a scope's path, or empty.
        renames: The address of each node that has another name, as ``walk`` gives it, with its new one.
    """
    if not renames or not address:
        return address
    found: dict[int, tuple[int, str]] = {}
    for old, new in renames.items():
        if place := _prefix(old).match(address):
            found[place.start("name")] = (place.end("name"), new.rpartition("/")[2])
    for start in sorted(found, reverse=True):  # from the end, so that what is left stays where it is
        end, name = found[start]
        address = address[:start] + name + address[end:]
    return address


@lru_cache(maxsize=512)
def _prefix(static: str) -> re.Pattern[str]:
    """Finds a node's name in the addresses of the node, and of all that is in it."""
    around, slash, name = static.rpartition("/")
    return re.compile(rf"{pattern_of(around + slash)}(?P<name>{re.escape(name)})(?=[/\[#~!]|$)")
