"""Classes of plain data that cost little to define: slotted ones, frozen ones, and named tuples.

Type checkers take them for dataclasses and for ``typing.NamedTuple``. Those compile several functions for each class
when its module is imported, which takes from 0.1 to 0.9 ms a class; there are a hundred, and a new process that resumes
a run has 20 ms in all. Here a constructor is compiled when the first object is made, or never.
"""

from __future__ import annotations

import dataclasses
from _collections import _tuplegetter  # type: ignore[import-not-found]
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, field
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from typing_extensions import dataclass_transform

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple

T = TypeVar("T")

new_tuple = tuple.__new__
ABSENT: Any = object()
"""Stands for a value that was not given, where a factory makes it."""


class _Fields:
    """What ``dataclasses.replace`` and ``fields`` ask for; made when they do."""

    def __get__(self, _: object, kind: Any) -> dict[str, Field[Any]]:
        kind.__dataclass_fields__ = made = {
            name: _field(name, hint, kind._defaults.get(name, MISSING)) for name, hint in _hints(kind).items()
        }
        return made


class _Signature:
    """What tools show of a constructor; made when they ask."""

    def __get__(self, _: object, kind: Any) -> Signature:
        empty, place = Parameter.empty, Parameter.POSITIONAL_OR_KEYWORD
        is_tuple = issubclass(kind, tuple)
        defaults = kind._field_defaults if is_tuple else kind._defaults  # pyright: ignore[reportAttributeAccessIssue]
        given = {name: "..." if isinstance(one, Field) else one for name, one in defaults.items()}
        return Signature(
            [
                Parameter(name, place, default=given.get(name, empty), annotation=hint)
                for name, hint in _hints(kind).items()
            ]
        )


def _field(name: str, hint: Any, default: Any) -> Field[Any]:
    made: Any = default if isinstance(default, Field) else field(default=default)
    made.name, made.type, made._field_type = name, hint, vars(dataclasses)["_FIELD"]
    made.kw_only = False
    return made  # type: ignore[no-any-return]


def _hints(kind: Any) -> dict[str, Any]:
    """The annotations of its fields, in order."""
    hints: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        hints |= vars(base).get("__annotations__", {})
    return {name: hints[name] for name in kind._fields}


def _declared(space: Mapping[str, Any]) -> tuple[str, ...]:
    """The names that a class declares as its fields."""
    hints: Mapping[str, Any] = space.get("__annotations__", {})
    return tuple(name for name, hint in hints.items() if "ClassVar" not in str(hint))


# ---- slotted classes


@dataclass_transform(eq_default=False, field_specifiers=(field,))
class SlottedType(type):
    """What makes a slot of each annotated name, and a constructor that sets them."""

    _fields: tuple[str, ...]
    _defaults: Mapping[str, Any]

    def __new__(cls, name: str, bases: tuple[type, ...], space: dict[str, Any]) -> SlottedType:
        own = _declared(space)
        defaults = {one: space.pop(one) for one in own if one in space}
        made = super().__new__(cls, name, bases, {"__slots__": own, "__init__": _first, **space})
        around = [base for base in bases if isinstance(base, SlottedType)]
        made._fields = (*(one for base in around for one in base._fields), *own)
        made._defaults = {**{one: value for base in around for one, value in base._defaults.items()}, **defaults}
        return made


def _first(self: Any, *values: Any, **named: Any) -> None:
    """Stands for the constructor until there is one."""
    kind: Any = type(self)
    kind.__init__ = made = _constructor(kind)
    made(self, *values, **named)


def _constructor(kind: SlottedType) -> Callable[..., None]:
    """A function that sets the slots of a class."""
    given: dict[str, Any] = {"ABSENT": ABSENT}
    parameters, lines = [], []
    for name in kind._fields:
        default = kind._defaults.get(name, MISSING)
        is_made = isinstance(default, Field)
        given[f"default_{name}"] = default.default_factory if is_made else default
        shown = "ABSENT" if is_made else f"default_{name}"
        parameters.append(name if default is MISSING else f"{name}={shown}")
        value = f"default_{name}() if {name} is ABSENT else {name}" if is_made else name
        lines.append(f"\n self.{name} = {value}")
    return _compiled(kind, "__init__", f"self, {', '.join(parameters)}", "".join(lines) or "\n pass", given)


def _compiled(kind: type, name: str, parameters: str, body: str, given: dict[str, Any]) -> Callable[..., Any]:
    space: dict[str, Any] = {}
    exec(f"def {name}({parameters}):{body}", given, space)
    made: Callable[..., Any] = space[name]
    made.__qualname__ = f"{kind.__qualname__}.{name}"
    return made


class Slotted(metaclass=SlottedType):
    """Plain data in slots; compared by identity. Subclasses declare their fields as dataclasses do."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]] = _Fields()  # type: ignore[assignment]
    __signature__: ClassVar[Signature] = _Signature()  # type: ignore[assignment]

    def changed(self, **changes: Any) -> Self:
        """A copy with other values in some fields."""
        kind = type(self)
        return kind(**{name: getattr(self, name) for name in kind._fields} | changes)


class Compared(Slotted):
    """Plain data in slots; compared field by field."""

    def __eq__(self, other: object) -> bool:
        kind = type(self)
        return type(other) is kind and all(getattr(self, one) == getattr(other, one) for one in kind._fields)

    __hash__ = None  # type: ignore[assignment]


# ---- frozen classes


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(*, eq: bool = True, repr: bool = True) -> Callable[[type[T]], type[T]]:
    """Makes a class of plain data that nobody sets; as ``dataclass(frozen=True)``, for few objects.

    Args:
        eq: Whether they are compared field by field.
        repr: Whether their fields are shown.
    """

    def made(kind: Any) -> Any:
        names = _declared(vars(kind))
        kind._fields, kind._defaults = names, {name: vars(kind)[name] for name in names if name in vars(kind)}
        for name, default in kind._defaults.items():
            if isinstance(default, Field):
                delattr(kind, name)
        kind.__dataclass_fields__, kind.__signature__ = _Fields(), _Signature()
        setattr(kind, "__match_args__", names)  # noqa: B010 - type checkers know it as read-only
        kind.__init__, kind.__setattr__, kind.__delattr__ = _filled, _refused, _refused
        if eq:
            kind.__eq__, kind.__hash__ = _equal, _hashed
        if repr:
            kind.__repr__ = _shown
        return kind

    return made


def _filled(self: Any, *values: Any, **named: Any) -> None:
    """The constructor of frozen classes."""
    kind = type(self)
    names, defaults = kind._fields, kind._defaults
    found = dict(zip(names, values, strict=False))
    wrong = [name for name in named if name in found or name not in names]
    if wrong or len(values) > len(names):
        raise TypeError(f"{kind.__qualname__} has no place for {f'argument {wrong[0]!r}' if wrong else 'an argument'}")
    for name in names[len(values) :]:
        if name in named:
            found[name] = named[name]
        elif name in defaults:
            default: Any = defaults[name]
            found[name] = _made(default) if isinstance(default, Field) else default
        else:
            raise TypeError(f"{kind.__qualname__}.__init__() missing a required argument: {name!r}")
    self.__dict__.update(found)
    if hasattr(kind, "__post_init__"):
        self.__post_init__()


def _made(default: Any) -> Any:
    return default.default_factory()


def _refused(self: object, name: str, value: object = None) -> None:
    from dataclasses import FrozenInstanceError  # noqa: PLC0415 - an error's price

    raise FrozenInstanceError(f"{type(self).__name__} is frozen: '{name}' cannot be set")


def _values(self: Any) -> tuple[Any, ...]:
    return tuple(getattr(self, name) for name in type(self)._fields)


def _equal(self: Any, other: object) -> bool:
    return type(other) is type(self) and _values(self) == _values(other)


def _hashed(self: Any) -> int:
    return hash(_values(self))


def _shown(self: Any) -> str:
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in type(self)._fields)
    return f"{type(self).__qualname__}({shown})"


# ---- named tuples


def _first_tuple(cls: Any, *values: Any, **named: Any) -> Any:
    """Stands for the constructor of a named tuple until there is one."""
    owner = next(kind for kind in cls.__mro__ if "_fields" in vars(kind))
    parameters = [f"{name}=default_{name}" if name in owner._field_defaults else name for name in owner._fields]
    given = {f"default_{name}": value for name, value in owner._field_defaults.items()}
    body = f"\n return new(cls, ({', '.join(owner._fields)}{',' if owner._fields else ''}))"
    made = _compiled(owner, "__new__", ", ".join(["cls", *parameters]), body, {"new": new_tuple, **given})
    made.__defaults__ = tuple(owner._field_defaults.values())
    owner.__new__ = staticmethod(made)
    return made(cls, *values, **named)


class _NamedTupleType(type):
    """What makes a named tuple of a class body."""

    def __new__(cls, name: str, bases: tuple[type, ...], space: dict[str, Any]) -> Any:
        names = _declared(space)
        defaults = {one: space.pop(one) for one in names if one in space}
        getters = {one: _tuplegetter(index, None) for index, one in enumerate(names)}
        about = {"_fields": names, "_field_defaults": defaults, "__match_args__": names, "__slots__": ()}
        others = tuple(base for base in bases if not isinstance(base, _NamedTupleType))
        return type(name, (_Tuple, *others), {**space, **getters, **about, "__new__": _first_tuple})


class _Tuple(tuple[Any, ...]):
    """What all named tuples have."""

    __slots__ = ()
    if TYPE_CHECKING:  # pydantic 2.12 takes annotations of bases for fields
        _fields: ClassVar[tuple[str, ...]]
        _field_defaults: ClassVar[dict[str, Any]]
    __signature__ = _Signature()

    @classmethod
    def _make(cls, values: Any) -> Self:
        return cls(*values)

    def _replace(self, **changes: Any) -> Self:
        made = new_tuple(type(self), map(changes.pop, self._fields, self))
        if changes:
            raise ValueError(f"there is no field {next(iter(changes))!r}")
        return made

    def _asdict(self) -> dict[str, Any]:
        return dict(zip(self._fields, self, strict=True))

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True))
        return f"{type(self).__name__}({shown})"


if not TYPE_CHECKING:
    _MARKER = type.__new__(_NamedTupleType, "NamedTuple", (), {})

    class _NamedTuple:
        def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
            return (_MARKER,)

    NamedTuple = _NamedTuple()
