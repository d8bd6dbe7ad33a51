"""What can run on a backend: a step that is a name and data, and nothing that only this process has."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from types import FunctionType
from typing import TYPE_CHECKING, Any

from flujo_core.errors import DefinitionError, SignatureError
from flujo_core.model.action import FunctionAction, RegisteredAction, function_action
from flujo_core.model.body import MAIN
from flujo_core.model.step import Step

if TYPE_CHECKING:
    from flujo_core.model.context import PipelineContext


def check_step_crosses(step: Step[Any, Any], address: str) -> None:
    """Checks that a step can run on the backend that it names.

    Raises:
        DefinitionError: It takes, or is, what only this process has.
    """
    if isinstance(step.action, RegisteredAction):
        return  # what it stands for is looked at
    what = f"step '{address}' runs on backend '{step.policies.backend}'"
    if not isinstance(step.action, FunctionAction):
        raise DefinitionError(f"{what}, which calls functions, and it is none; leave 'backend' out")
    if step.item is not None or step.takes_item is not None:
        raise DefinitionError(f"{what}, and streams, which only steps that run here can; leave 'backend' out")
    if step.action.signature.resources is not None:
        raise DefinitionError(f"{what}, and takes resources, which only this process has; let it make what it needs")
    if step.action.signature.changes:
        raise DefinitionError(f"{what}, and may change the pipeline, which is here; leave 'backend' out")
    function = step.action.function
    if not isinstance(function, FunctionType):
        raise DefinitionError(f"{what}, and is {type(function).__name__!r}; make it of a function of a module")
    if (flaw := _flaw(function, lambda found: _function(found) is function)) is not None:
        raise DefinitionError(f"{what}, which finds it by its name, and {flaw}")


def check_context_crosses(step: Step[Any, Any], address: str, context: type[PipelineContext]) -> None:
    """Checks that the context can be had on the backend of a step that takes it.

    Raises:
        DefinitionError: Its class is not found by its name.
    """
    if (flaw := _flaw(context, lambda found: found is context)) is not None:
        what = f"step '{address}' takes the context on backend '{step.policies.backend}'"
        raise DefinitionError(f"{what}, which finds '{context.__name__}' by its name, and {flaw}")


def place_of(one: Any) -> str:
    """Where a function or a class is found: ``module:qualname``; the module of a program is ``__main__``."""
    module = "__main__" if one.__module__ in MAIN else one.__module__
    return f"{module}:{one.__qualname__}"


def at_place(place: str) -> Any:
    """What is found at a place; its module is imported.

    Raises:
        ImportError: There is no such module, or it cannot be imported.
        AttributeError: The module has no such name.
    """
    module, _, qualname = place.partition(":")
    found: Any = import_module(module)
    for name in qualname.split("."):
        found = getattr(found, name)
    return found


def action_at(place: str, name: str) -> FunctionAction:
    """What a step does whose function is at a place; the function may stand there by itself, or as a step.

    Args:
        place: Where it is.
        name: The step's name, for messages.

    Raises:
        ImportError: There is no such module, or it cannot be imported.
        AttributeError: The module has no such name.
        SignatureError: It is nothing that can be a step.
    """
    found = at_place(place)
    if isinstance(found, Step) and isinstance(found.action, FunctionAction):
        return found.action
    if not callable(found):
        raise SignatureError(f"step '{name}' is to be '{place}', which is {type(found).__name__!r}, and no function")
    return function_action(found, name, {})


@cache
def field_types(kind: type[PipelineContext]) -> dict[str, Any]:
    """The types of the fields of a context class, by name."""
    return {name: info.rebuild_annotation() for name, info in kind.model_fields.items()}


def _flaw(one: Any, is_it: Callable[[Any], bool]) -> str | None:
    """Why something is not found by its name, or None."""
    name, module = one.__name__, sys.modules.get(one.__module__)
    if "<" in one.__qualname__:
        what = "it is a lambda" if name == "<lambda>" else f"'{name}' is made inside a function"
        return f"{what}; move it to the top of its module"
    known = {} if module is None else vars(module)
    if one.__module__ in MAIN and known.get("__spec__") is None and "__file__" not in known:
        return f"'{name}' is in a program without a file; put it into a module"
    try:
        found = at_place(place_of(one))
    except (ImportError, AttributeError):
        found = None
    return None if is_it(found) else f"'{one.__module__}' has another '{name}' or none; give it a name of its own there"


def _function(found: Any) -> Any:
    """The function of what is found at its place."""
    if isinstance(found, Step) and isinstance(found.action, FunctionAction):
        return found.action.function
    return found
