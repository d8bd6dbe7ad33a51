"""How long runs are kept after they have ended."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from flujo_core.errors import ConfigurationError, did_you_mean
from flujo_core.model.event import RunStatus
from flujo_core.model.slotted import frozen

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
"""Seconds of each unit."""

FOREVER = "forever"

ENDED: Sequence[RunStatus] = ("completed", "stopped", "failed", "refused", "cancelled")
"""The statuses of runs that have ended."""


@frozen()
class Retention:
    """How long runs are kept after they have ended. Runs that have not ended are kept.

    Attributes:
        ages: After how many seconds those of a status may be deleted; one that is not there: never.
        at_least: For how many seconds all are kept, whatever somebody says who prunes.
    """

    ages: Mapping[RunStatus, float] = field(default_factory=dict)
    at_least: float = 0.0


def seconds_of(age: str) -> float:
    """An age, ``30d``, in seconds.

    Raises:
        ConfigurationError: It is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", age.strip())
    if found is None:
        raise ConfigurationError(f"'{age}' is no age; write '30d', '12h', '45m' or '2w'")
    return float(found[1]) * UNITS[found[2]]


def retention_of(table: Mapping[str, Any], source: object) -> Retention:
    """What a table ``[retention]`` says.

    Args:
        table: The table.
        source: The file that it is in, for messages.

    Raises:
        ConfigurationError: It says something that cannot be.
    """
    known = ("keep", "at_least", *ENDED)
    for key in table:
        if key not in known:
            hint = did_you_mean(key, known)
            raise ConfigurationError(f"{source} has a key 'retention.{key}', which means nothing{hint}")
    found = {key: _age(age, f"'retention.{key}' in {source}") for key, age in table.items()}
    least = found.pop("at_least", 0.0)
    if least is None:
        raise ConfigurationError(
            f"'retention.at_least' in {source} is an age, such as '30d'; '{FOREVER}' is for the others"
        )
    for key, age in found.items():
        if age is not None and age < least:
            raise ConfigurationError(f"'retention.{key}' in {source} is less than 'retention.at_least' there")
    ages: dict[RunStatus, float] = {}
    for status in ENDED:
        age = found.get(status, found.get("keep"))
        if age is not None:
            ages[status] = age
    return Retention(ages, least)


def _age(given: Any, what: str) -> float | None:
    if not isinstance(given, str):
        raise ConfigurationError(f"{what} is a text, such as '30d' or '{FOREVER}'")
    if given == FOREVER:
        return None
    try:
        return seconds_of(given)
    except ConfigurationError as error:
        raise ConfigurationError(f"{what}: {error}, or '{FOREVER}'") from None
