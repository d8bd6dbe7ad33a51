"""Import paths: ``module:qualname``, by which a function, a class or a member of an enum is named outside of code."""

from __future__ import annotations

import re
import sys
from enum import Enum
from functools import partial
from types import MethodType
from typing import Any, Protocol, runtime_checkable

from flujo_core.model.action import FunctionAction
from flujo_core.model.body import identity_of, module_name
from flujo_core.model.step import Step

PATH = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")


@runtime_checkable
class _Named(Protocol):
    """What a ``def``, a ``class``, ``NewType`` or ``TypeAliasType`` makes."""

    __name__: str


def is_path(text: str) -> bool:
    """Whether a text is an import path, and not the name that something is registered by."""
    return PATH.fullmatch(text) is not None


def path_of(thing: Any) -> str:
    """The import path of a function, a class, a type alias or a member of an enum.

    Raises:
        LookupError: It has none; the message says why, to be put behind its name.
    """
    if isinstance(thing, Enum):
        return f"{path_of(type(thing))}.{thing.name}"
    if isinstance(thing, partial | MethodType) or not isinstance(thing, _Named):
        raise LookupError(f"is a {type(thing).__name__!r}, which has no name of its own")
    if thing.__name__ == "<lambda>":
        raise LookupError("is a lambda, which has no name")
    name = getattr(thing, "__qualname__", thing.__name__)  # an alias has none
    if "<locals>" in name:
        raise LookupError(f"is '{thing.__name__}', made inside a function, where no other process finds it")
    module: str = getattr(thing, "__module__", "")
    if function_of(_found(module, name)) is not thing:
        raise LookupError(f"is '{name}', which is not what module '{module}' has under that name")
    return f"{module_name(module)}:{name}"


def function_of(found: Any) -> Any:
    """The function of a step that stands where its function was defined, as ``@step`` puts it; else ``found``."""
    if isinstance(found, Step) and isinstance(found.action, FunctionAction):
        return found.action.function
    return found


def step_at(function: Any) -> Step[Any, Any] | None:
    """The step that ``@step`` has put where a function with a path was defined, or None."""
    found = _found(function.__module__, identity_of(function).partition(":")[2])
    return found if isinstance(found, Step) else None


def _found(module: str, name: str) -> Any:
    """What a loaded module has under a name, or None."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found
