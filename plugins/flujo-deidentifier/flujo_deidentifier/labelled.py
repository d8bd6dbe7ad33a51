"""Labelled: the places of a value whose types say that they are sensitive, whatever the detectors say."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import is_dataclass, replace
from datetime import date, datetime, time
from enum import Enum
from functools import lru_cache
from typing import Any, Final, TypeAlias

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python

from flujo_core import labels_of
from flujo_deidentifier.plugin import CLEARED

Change: TypeAlias = Callable[[Any, str], Any]
"""Gives what stands for a labelled value, from that and its label."""

Place: TypeAlias = tuple[tuple[str, ...], str]
"""A path, as labels have it, and the label that holds there and below."""

_KEY: Final = "~key"
_NONE: Final[tuple[Place, ...]] = ()


def relabelled(value: Any, change: Change) -> Any:
    """A value with what is labelled in it changed; the value itself if nothing was.

    Models, dataclasses, lists, tuples and mappings in each other are gone through, as what they are: an attribute that
    is declared as any model has the labels of the one that it is.

    Args:
        value: The value.
        change: Gives what stands for a labelled text, number, date or what else is no container; and for a key.
    """
    return _changed(value, _NONE, change)


def everywhere(value: Any, change: Callable[[Any], Any]) -> Any:
    """A value with all in it changed that is no container, and keys; the value itself if nothing was."""
    return _changed(value, [((), "")], lambda one, _: change(one))


def labelled_in(value: Any) -> list[tuple[Any, str]]:
    """What is labelled in a value, and with what."""
    found: list[tuple[Any, str]] = []

    def note(one: Any, label: str) -> Any:
        found.append((one, label))
        return one

    relabelled(value, note)
    return found


def written(value: Any) -> list[str]:
    """A value as it may stand in a text: as Python writes it, and as JSON has it, where that differs.

    None and empty texts are nothing that could be looked for.
    """
    if value is None:
        return []
    forms = [str(value.value if isinstance(value, Enum) else value)]
    try:
        forms.append(to_json(value).decode().strip('"'))
        forms.append(str(to_jsonable_python(value)))
    except PydanticSerializationError:
        pass
    if isinstance(value, date | datetime | time):
        forms.append(value.isoformat())
    return [one for one in dict.fromkeys(forms) if one.strip()]


@lru_cache(maxsize=512)
def sensitive(kind: Hashable) -> tuple[Place, ...]:
    """Where the values of a type are sensitive."""
    found = [(one.path, next((label for label in one.labels if label in CLEARED), "")) for one in labels_of(kind)]
    return tuple((path, label) for path, label in found if label)


def _changed(value: Any, above: Iterable[Place], change: Change) -> Any:
    kind: Any = type(value)
    if isinstance(value, BaseModel):
        places = (*above, *sensitive(kind))
        fields = _fields(dict(value), places, change)
        return value.model_copy(update=fields) if fields else value
    if _is_record(value):
        places = (*above, *sensitive(kind))
        fields = _fields(vars(value), places, change)
        return replace(value, **fields) if fields else value
    places = tuple(above)
    if isinstance(value, Mapping):
        return _mapping(value, places, change)
    if type(value) in (list, tuple):
        items = [_changed(one, _below(places, str(at)), change) for at, one in enumerate(value)]
        return value if _same(items, value) else type(value)(items)
    label = next((label for path, label in places if not path or {*path} == {"**"}), None)
    return value if label is None or value is None else change(value, label)


def _is_record(value: Any) -> bool:
    return is_dataclass(value) and not isinstance(value, type)


def _fields(given: Mapping[str, Any], places: Iterable[Place], change: Change) -> dict[str, Any]:
    """The fields that are changed."""
    made = {name: _changed(one, _below(places, name), change) for name, one in given.items()}
    return {name: one for name, one in made.items() if one is not given[name]}


def _mapping(value: Mapping[Any, Any], places: Iterable[Place], change: Change) -> Any:
    places = (*places,)
    label = next((label for path, label in places if not path or path == (_KEY,)), None)
    made = [
        (key if label is None else change(key, label), _changed(one, _below(places, str(key)), change))
        for key, one in value.items()
    ]
    same = _same([part for pair in made for part in pair], [part for pair in value.items() for part in pair])
    return value if same else dict(made)


def _same(made: Iterable[Any], given: Iterable[Any]) -> bool:
    return all(one is other for one, other in zip(made, given, strict=True))


def _below(places: Iterable[Place], name: str) -> tuple[Place, ...]:
    found: list[Place] = []
    for path, label in places:
        if not path:
            found.append((path, label))
        elif path[0] == "**":
            found += [(path, label), *_below([(path[1:], label)], name)]
        elif path[0] in ("*", name):
            found.append((path[1:], label))
    return tuple(found)
