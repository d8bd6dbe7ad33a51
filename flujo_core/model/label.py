"""Label: marks what is sensitive in a type; and where the values of a type carry labels."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Generic,
    Literal,
    NewType,
    NotRequired,
    Protocol,
    Required,
    TypeAlias,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import BaseModel
from typing_extensions import ReadOnly, TypeAliasType

from flujo_core.errors import DefinitionError
from flujo_core.model.slotted import NamedTuple

ITEM = "*"
"""In a path: each item of a collection, or each value of a mapping."""

KEY = "~key"
"""In a path: each key of a mapping."""

ANY_DEPTH = "**"
"""In a path: any number of segments, none too; of types that hold themselves."""

Path: TypeAlias = tuple[str, ...]

AROUND = (Required, NotRequired, ReadOnly, ClassVar, Final)
"""What stands around the type of a field, and is none."""

OPAQUE = (Literal, type, Callable)
"""Generics whose parameters are no types of what one finds in a value."""

DEEPEST = 8
"""How often one generic class may stand in itself with other parameters."""


class Label:
    """Marks what is sensitive: ``name: Annotated[str, Label("phi")]``.

    It is written at a field of a model, dataclass, ``TypedDict`` or context, at what a container holds, and at what a
    step takes or gives. What it marks, it marks with all that is in it.

    Args:
        name: What it is: ``"phi"``; letters, digits, ``-``, ``_`` and ``.``.

    Raises:
        DefinitionError: The name is no such text.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = checked_label(name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Label) and self.name == other.name

    def __hash__(self) -> int:
        return hash((Label, self.name))

    def __repr__(self) -> str:
        return f"Label({self.name!r})"


def checked_label(name: object) -> str:
    """``name``, if it can be that of a label.

    Raises:
        DefinitionError: It cannot.
    """
    if not isinstance(name, str):
        raise DefinitionError(f"a label is a word, such as 'phi', not {type(name).__name__!r}")
    if not name.translate({ord(one): "" for one in "-_."}).isalnum():
        raise DefinitionError(f"a label is a word, such as 'phi', of letters, digits, '-', '_' and '.', not '{name}'")
    return name


class LabelledPath(NamedTuple):
    """A place in the values of a type, and the labels that it carries.

    Attributes:
        path: How one gets there from the value: names of fields; ``ITEM`` for each item of a collection and each value
            of a mapping, ``KEY`` for each key, ``"0"`` for the first item of a tuple of fixed length; and
            ``ANY_DEPTH`` for any number of segments, in types that hold themselves. Empty for the value itself.
        labels: The names of the labels, sorted. They hold for all that is below, too.
    """

    path: Path
    labels: tuple[str, ...]


def labels_of(hint: Any) -> tuple[LabelledPath, ...]:
    """Where the values of a type carry labels, in the order in which the type has these places.

    It goes into pydantic models, dataclasses, typed dicts, named tuples and other classes with annotations; into
    containers, unions, type aliases and new types. It takes time: keep what it says of a type that is met often.

    Args:
        hint: The type.
    """
    found: dict[Path, set[str]] = {}
    for path, name in _Walk().of(hint):
        found.setdefault(path, set()).add(name)
    return tuple(LabelledPath(path, tuple(sorted(names))) for path, names in found.items())


Place: TypeAlias = tuple[Path, str]
"""A path, and one label."""


class _Walk:
    """Goes through a type; knows the classes that it is in, and where it met each of them again."""

    def __init__(self) -> None:
        self._within: list[Any] = []
        self._again: list[tuple[Any, Path]] = []
        self._path: Path = ()

    def of(self, hint: Any) -> Iterator[Place]:
        """The labelled places of a type, each with one label."""
        hint, names = _opened(hint)
        for name in names:
            yield (), name
        origin = get_origin(hint)
        if isinstance(hint, TypeVar):
            yield from self.of(hint.__bound__)
        elif origin in (Union, types.UnionType):
            for one in get_args(hint):
                yield from self.of(one)
        elif isinstance(kind := origin or hint, type) and _is_class(kind):
            yield from self._class(hint, kind)
        elif origin is not None and origin not in OPAQUE:
            for segment, one in _held(origin, get_args(hint)):
                yield from self._below(segment, one)

    def _below(self, segment: str, hint: Any) -> Iterator[Place]:
        around, self._path = self._path, (*self._path, segment)
        for path, name in self.of(hint):
            yield (segment, *path), name
        self._path = around

    def _class(self, hint: Any, kind: type) -> Iterator[Place]:
        """The places of a class; where it holds itself, each of them at any depth below."""
        if hint in self._within or sum((get_origin(one) or one) is kind for one in self._within) >= DEEPEST:
            self._again.append((hint, self._path))
            return
        depth = len(self._path)
        self._within.append(hint)
        found = list(self._fields(hint, kind))
        self._within.pop()
        yield from found
        inner = [path[depth:] for again, path in self._again if again == hint]
        self._again = [one for one in self._again if one[0] != hint]
        for path in dict.fromkeys(inner):
            for below, name in found:
                yield (*path, ANY_DEPTH, *below), name

    def _fields(self, hint: Any, kind: type) -> Iterator[Place]:
        for name, one in _fields_of(hint, kind).items():
            yield from self._below(name, one)
        if issubclass(kind, BaseModel):
            return
        for base in vars(kind).get("__orig_bases__", ()):
            if get_origin(base) not in (None, Generic, Protocol):
                yield from self.of(base)
        if get_origin(hint) is not None and not _annotated(kind):  # what it holds, it does not say
            for one in get_args(hint):
                yield from self._below(ITEM, one)


def _opened(hint: Any) -> tuple[Any, Sequence[str]]:
    """A type without what is around it, and the labels that are there."""
    names: list[str] = []
    while True:
        origin = get_origin(hint)
        if origin is Annotated:
            hint, *marks = get_args(hint)
            names += [one.name for one in marks if isinstance(one, Label)]
        elif origin in AROUND:
            (hint,) = get_args(hint)
        elif isinstance(origin, TypeAliasType):
            hint = _filled(origin.__value__, dict(zip(origin.__type_params__, get_args(hint), strict=False)))
        elif isinstance(hint, TypeAliasType):
            hint = hint.__value__
        elif isinstance(hint, NewType):
            hint = hint.__supertype__
        else:
            return hint, names


def _filled(hint: Any, known: Mapping[Any, Any]) -> Any:
    """A type with the parameters of a generic class in it replaced by what they stand for."""
    if isinstance(hint, TypeVar):
        return known.get(hint, hint)
    wanting = getattr(hint, "__parameters__", ()) if get_origin(hint) is not None else ()
    return hint[tuple(known.get(one, one) for one in wanting)] if wanting and known else hint


def _is_class(kind: type) -> bool:
    """Whether a type is looked into by its fields: not one of Python's own."""
    return kind.__module__ not in ("builtins", "collections", "collections.abc", "typing", "enum", "types")


def _held(origin: Any, parts: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """What one finds in a container of Python's own."""
    if isinstance(origin, type) and issubclass(origin, Mapping):
        yield from zip((KEY, ITEM), parts, strict=False)
    elif origin is tuple and parts[-1:] != (...,):
        yield from ((str(place), one) for place, one in enumerate(parts))
    else:
        yield from ((ITEM, one) for one in parts if one is not ...)


def _annotated(kind: type) -> bool:
    """Whether a class says what is in it."""
    return any("__annotations__" in vars(one) for one in kind.__mro__ if _is_class(one))


def _fields_of(hint: Any, kind: type) -> Mapping[str, Any]:
    """The types of what a class has, with what is annotated."""
    if issubclass(kind, BaseModel):
        return _model_fields(kind)
    given = dict(zip(getattr(kind, "__parameters__", ()), get_args(hint), strict=False))
    return {name: _filled(one, given) for name, one in _hints(kind).items()}


def _model_fields(kind: type[BaseModel]) -> Mapping[str, Any]:
    if not kind.__pydantic_fields_complete__:
        kind.model_rebuild(raise_errors=False)
    known: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        marks = [one for one in field.metadata if isinstance(one, Label)]
        known[name] = Annotated[field.annotation, *marks] if marks else field.annotation
    return known | {name: one.return_type for name, one in kind.model_computed_fields.items()}


def _hints(kind: type) -> Mapping[str, Any]:
    """The annotations of a class and its bases; without those that name what is not there at run time."""
    try:
        return get_type_hints(kind, include_extras=True)
    except (NameError, TypeError):
        known: dict[str, Any] = {}
        for base in reversed(kind.__mro__):
            for name, one in vars(base).get("__annotations__", {}).items():
                known |= _hint(base, name, one)
        return known


def _hint(kind: type, name: str, hint: Any) -> Mapping[str, Any]:
    alone = type(kind.__name__, (), {"__annotations__": {name: hint}, "__module__": kind.__module__})
    try:
        return get_type_hints(alone, include_extras=True)
    except (NameError, TypeError):
        return {}
