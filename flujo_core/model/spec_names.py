"""The names in specs, looked up: functions, types, exceptions, agents; and where in a spec something is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from flujo_core.errors import DefinitionError, SpecError
from flujo_core.model.import_path import function_of, is_path
from flujo_core.model.spec import exception_named, field_of
from flujo_core.model.spec_schema import Function, Place
from flujo_core.model.type_text import read_type


class Names(Protocol):
    """Where the names in a spec are looked up."""

    def find(self, path: str, /) -> Any:
        """What an import path names.

        Raises:
            LookupError: It may not be imported, or there is no such thing; the message says which.
        """
        ...

    def agent(self, spec: Mapping[str, Any], /) -> Any:
        """The agent that is described in place.

        Raises:
            DefinitionError: It cannot be.
        """
        ...


class Lookup:
    """Finds what the names in a spec stand for, and says where it has a wrong one.

    Args:
        names: Where they are looked up.
    """

    def __init__(self, names: Names) -> None:
        self.names = names

    def exception(self, name: str, place: Place) -> type[Exception]:
        """An exception, by its name or its path."""
        found = self.find(name, place) if is_path(name) else exception_named(name)
        if isinstance(found, type) and issubclass(found, Exception):
            return found
        raise SpecError(f"'{name}' is no exception of Python or Flujo; others are 'module:name'", place)

    def decider(self, said: Function, place: Place) -> Callable[..., Any]:
        """A function that decides something: one that takes a field, or one with a path."""
        if isinstance(said, str):
            return self.function(said, place)
        if not all(part and not part.startswith("__") for part in said.field.split(".")):
            raise SpecError("this is the path of a field, such as 'verdict.ok'", (*place, "field"))
        return field_of(said.field)

    def function(self, path: str, place: Place) -> Callable[..., Any]:
        """The function of a path."""
        found = function_of(self.find(path, place))
        with at(place):
            return as_function(found)

    def type(self, text: str, place: Place) -> Any:
        """A type."""
        try:
            return read_type(text, self.names.find)
        except LookupError as error:
            raise SpecError(str(error), place) from error.__cause__

    def find(self, path: str, place: Place) -> Any:
        """What an import path names."""
        try:
            return self.names.find(path)
        except LookupError as error:
            raise SpecError(str(error), place) from error.__cause__


@contextmanager
def at(place: Place) -> Iterator[None]:
    """Says of what is wrong where that is."""
    try:
        yield
    except SpecError:
        raise
    except DefinitionError as error:
        raise SpecError(str(error), place) from error


def as_function(found: Any) -> Callable[..., Any]:
    """``found``, if it can be called.

    Raises:
        DefinitionError: It cannot.
    """
    if not callable(found):
        raise DefinitionError(f"this names a {type(found).__name__!r}, and a function belongs here")
    return found  # type: ignore[no-any-return]
