"""The plain data that specs are: what JSON can hold, and not without end."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import Any

from flujo_core.errors import SpecError
from flujo_core.model.spec_schema import Place

DEEPEST = 100
LARGEST = 100_000
"""How deep a spec may be, and how many values it may have: what a text of a few lines stands for can be without end."""


def check_data(data: Any) -> None:
    """Checks that JSON can hold all of a spec, and that it is not without end.

    Raises:
        SpecError: It cannot; or the spec is too deep or too large.
    """
    waiting: list[tuple[Any, Place]] = [(data, ())]
    for _ in range(LARGEST):
        if not waiting:
            return
        value, place = waiting.pop()
        if len(place) > DEEPEST:
            raise SpecError(f"it is more than {DEEPEST} levels deep", place[:3])
        waiting += [(one, (*place, key)) for key, one in _held(value, place)]
    raise SpecError(f"it has more than {LARGEST} values")


def _held(value: Any, place: Place) -> Iterator[tuple[str | int, Any]]:
    """What a value of JSON holds, by keys or indexes."""
    if isinstance(value, list):
        yield from enumerate(value)
    elif isinstance(value, dict):
        for key, one in value.items():
            if type(key) is not str:
                raise SpecError(f"a key is text, not {type(key).__name__!r}; put it in quotes", place)
            yield key, one
    elif type(value) not in (str, int, float, bool, type(None)):
        raise SpecError(f"JSON has no {type(value).__name__!r}; if it is a text, put it in quotes", place)
    elif isinstance(value, float) and not isfinite(value):
        raise SpecError(f"JSON has no number '{value}'", place)
