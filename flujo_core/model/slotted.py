"""Slotted: classes of plain data that cost little to define, little to make, and little to keep.

Type checkers take them for dataclasses. A dataclass is compiled when its module is imported, for 0.3 ms each; of these,
the constructor is compiled when the first one is made, and it is the same then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from typing import Any, Self

from typing_extensions import dataclass_transform


@dataclass_transform(eq_default=False)
class SlottedType(type):
    """What makes a slot of each annotated name, and a constructor that sets them."""

    _fields: tuple[str, ...]
    _defaults: Mapping[str, Any]

    def __new__(cls, name: str, bases: tuple[type, ...], space: dict[str, Any]) -> SlottedType:
        hints: Mapping[str, str] = space.get("__annotations__", {})
        own = tuple(field for field, hint in hints.items() if not hint.startswith("ClassVar"))
        defaults = {field: space.pop(field) for field in own if field in space}
        made = super().__new__(cls, name, bases, {"__slots__": own, "__init__": _first, **space})
        around = [base for base in bases if isinstance(base, SlottedType)]
        made._fields = (*(field for base in around for field in base._fields), *own)
        made._defaults = {**{field: value for base in around for field, value in base._defaults.items()}, **defaults}
        return made

    @property
    def __signature__(cls) -> Signature:
        """What tools show."""
        empty, kind = Parameter.empty, Parameter.POSITIONAL_OR_KEYWORD
        hints = {field: hint for base in reversed(cls.__mro__) for field, hint in _hints(base).items()}
        return Signature(
            [
                Parameter(field, kind, default=cls._defaults.get(field, empty), annotation=hints[field])
                for field in cls._fields
            ]
        )


def _first(self: Any, *values: Any, **named: Any) -> None:
    """Stands for the constructor until there is one."""
    kind: Any = type(self)
    kind.__init__ = made = _constructor(kind)
    made(self, *values, **named)


def _constructor(kind: SlottedType) -> Callable[..., None]:
    """A function that sets the slots of ``kind``."""
    defaults = {f"default_{field}": value for field, value in kind._defaults.items()}
    parameters = [f"{field}=default_{field}" if field in kind._defaults else field for field in kind._fields]
    body = "".join(f"\n self.{field} = {field}" for field in kind._fields) or "\n pass"
    space: dict[str, Any] = {}
    exec(f"def __init__(self, {', '.join(parameters)}):{body}", defaults, space)
    made: Callable[..., None] = space["__init__"]
    made.__qualname__ = f"{kind.__qualname__}.__init__"
    return made


def _hints(kind: type) -> Mapping[str, Any]:
    hints: Mapping[str, Any] = vars(kind).get("__annotations__", {})
    return hints


class Slotted(metaclass=SlottedType):
    """Plain data in slots; compared by identity. Subclasses declare their fields as dataclasses do."""

    def changed(self, **changes: Any) -> Self:
        """A copy with other values in some fields."""
        kind = type(self)
        return kind(**{field: getattr(self, field) for field in kind._fields} | changes)


class Compared(Slotted):
    """Plain data in slots; compared field by field."""

    def __eq__(self, other: object) -> bool:
        kind = type(self)
        return type(other) is kind and all(getattr(self, one) == getattr(other, one) for one in kind._fields)

    __hash__ = None  # type: ignore[assignment]
