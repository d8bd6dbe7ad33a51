"""Labelled: the texts of a value whose type says that they are sensitive, whatever the detectors say."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from flujo_core import LabelledPath, labels_of

CLEARED = frozenset({"phi", "pii"})
"""The labels that are cleared."""

Change = Callable[[str, str], str]
"""Gives what stands for a text, from that and its label."""


@lru_cache(maxsize=512)
def sensitive(kind: type) -> tuple[LabelledPath, ...]:
    """Where the values of a model are sensitive."""
    return tuple(one for one in labels_of(kind) if CLEARED & {*one.labels})


def is_labelled(value: Any) -> bool:
    """Whether a value is a model with labelled fields."""
    return isinstance(value, BaseModel) and bool(sensitive(type(value)))


def relabelled(value: Any, change: Change) -> Any:
    """A copy of a model with its labelled texts changed; any other value as it is.

    Texts directly in fields, in models and lists of them, and in mappings are changed. A labelled value that is no
    text stays; where it comes to a prompt, the detectors and the gate are what there is.
    """
    if not isinstance(value, BaseModel):
        return value
    return _changed(value, [(one.path, one.labels[0]) for one in sensitive(type(value))], change)


def _changed(value: Any, places: list[tuple[tuple[str, ...], str]], change: Change) -> Any:
    if not places:
        return value
    whole = next((label for path, label in places if not path), None)
    if isinstance(value, str):
        return value if whole is None else change(value, whole)
    if isinstance(value, BaseModel):
        return value.model_copy(update={name: _changed(one, _below(places, name), change) for name, one in value})
    if isinstance(value, dict):
        return {key: _changed(one, _below(places, str(key)), change) for key, one in value.items()}
    if isinstance(value, list):
        return [_changed(one, _below(places, str(at)), change) for at, one in enumerate(value)]
    return value


def _below(places: list[tuple[tuple[str, ...], str]], name: str) -> list[tuple[tuple[str, ...], str]]:
    found = []
    for path, label in places:
        if not path:
            found.append((path, label))
        elif path[0] == "**":
            found += [(path, label), *_below([(path[1:], label)], name)]
        elif path[0] in ("*", name):
            found.append((path[1:], label))
    return found
