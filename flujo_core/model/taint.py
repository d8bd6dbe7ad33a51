"""Values as the check of labels sees them: where in them is what is labelled, where that is from, and by which way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args, get_origin

from pydantic import BaseModel
from typing_extensions import is_typeddict

from flujo_core.model.check import bare, is_mapping, members, union
from flujo_core.model.field import fields_of
from flujo_core.model.label import ANY_DEPTH, ITEM, Path, labels_of
from flujo_core.model.slotted import NamedTuple

Way: TypeAlias = tuple[str, ...]
"""The addresses of the steps that data goes through."""

EVERYWHERE: Path = ()


OriginKind: TypeAlias = Literal["input", "taken", "context", "step", "tool"]
"""What labelled data comes from: the input of the run; what a step declares of what it takes; the context; what a step
gives, or a tool of its agent."""


class Origin(NamedTuple):
    """Where labelled data comes from.

    Attributes:
        label: The label.
        kind: What it comes from.
        address: The address of the step; empty for the run.
        path: The field of that.
    """

    label: str
    kind: OriginKind
    address: str
    path: Path

    @property
    def whence(self) -> str:
        """What it comes from, as messages name it."""
        return {
            "input": "the input of the run",
            "taken": f"what step '{self.address}' takes",
            "context": "the context",
            "step": f"step '{self.address}'",
            "tool": f"a tool of step '{self.address}'",
        }[self.kind]


class Record(NamedTuple):
    """The type of a dict whose keys are known: what the branches of a ``Parallel`` give.

    Attributes:
        fields: The types of its values.
    """

    fields: Mapping[str, Any]


Marks: TypeAlias = Mapping[tuple[Path, Origin], Way]
"""What is labelled in a value: where it is there, and where it is from; and by which way it came."""

NO_MARKS: Marks = {}


class Value(NamedTuple):
    """What is known of a value.

    Attributes:
        marks: What in it is labelled.
        hint: Its type.
        cleared: The labels of which it has been said that it does not carry them, and where in it.
    """

    marks: Marks = NO_MARKS
    hint: Any = Any
    cleared: frozenset[tuple[Path, str]] = frozenset()

    def at(self, path: Sequence[str], *, by_code: bool = False) -> Value:
        """What one finds by following names of fields; what is no field is made of all that there is.

        Args:
            path: The names.
            by_code: Whether code takes them as attributes, which of a mapping are methods; else they are its keys.
        """
        here = self
        for name in path:
            here = here._field(name, by_code)
        return here

    def _field(self, name: str, by_code: bool) -> Value:
        kinds = [_field_type(one, name, by_code) for one in members(bare(self.hint)) if one is not type(None)]
        if any(one is UNKNOWN for one in kinds):
            return Value(collapsed(self.marks))
        found = {(rest, origin): way for (path, origin), way in self.marks.items() for rest in _below(path, name)}
        cleared = frozenset((rest, label) for path, label in self.cleared for rest in _below(path, name))
        hint = one_of(kinds)
        return Value(_possible(found, hint), hint, cleared)

    def item(self, hint: Any) -> Value:
        """One of the items of a collection; ``hint`` is the item's type."""
        found: dict[tuple[Path, Origin], Way] = {}
        for (path, origin), way in self.marks.items():
            found[path[1:] if path[:1] == (ITEM,) else EVERYWHERE, origin] = way
        cleared = {(path[1:], label) for path, label in self.cleared if path[:1] in ((ITEM,), EVERYWHERE)}
        return Value(found, hint, frozenset(cleared))

    def within(self, segment: str, hint: Any) -> Value:
        """A value that has this one in a place."""
        marks = {((segment, *path), origin): way for (path, origin), way in self.marks.items()}
        return Value(marks, hint, frozenset(((segment, *path), label) for path, label in self.cleared))

    def without(self, labels: Iterable[str]) -> Value:
        """The same, when some labels are cleared."""
        gone = frozenset(labels)
        kept = {mark: way for mark, way in self.marks.items() if mark[1].label not in gone}
        return Value(kept, self.hint, self.cleared | {(EVERYWHERE, label) for label in gone})

    def taken(self, hint: Any, address: str) -> Value:
        """The same, with the labels that a step declares of what it takes, where nothing is known of them."""
        found = dict(self.marks)
        for path, origin in declared(hint, "taken", address):
            if not self.says(path, origin.label):
                found[path, origin] = ()
        return Value(found, hint if bare(self.hint) in (Any, object) else self.hint, self.cleared)

    def says(self, path: Path, label: str) -> bool:
        """Whether it is known whether a label is there."""
        cleared = any(one == label and path[: len(at)] == at for at, one in self.cleared)
        return cleared or any(origin.label == label and path[: len(at)] == at for at, origin in self.marks)


def joined(one: Value, other: Value) -> Value:
    """What is either of two values."""
    return Value(merged(one.marks, other.marks), one_of((one.hint, other.hint)), one.cleared & other.cleared)


def one_of(hints: Sequence[Any]) -> Any:
    """The type of what is of one of some types; ``Any`` where there is no such type."""
    if all(one == hints[0] for one in hints):
        return hints[0] if hints else Any
    try:
        return Any if any(isinstance(one, Record) for one in hints) else union(hints)
    except TypeError:  # one has an annotation that cannot be hashed
        return Any


def merged(*given: Marks) -> Marks:
    """All marks of several values, each with its shortest way."""
    found: dict[tuple[Path, Origin], Way] = {}
    for marks in given:
        for mark, way in marks.items():
            if mark not in found or len(way) < len(found[mark]):
                found[mark] = way
    return found


def collapsed(marks: Marks) -> Marks:
    """The marks of what is made of a value, in which they may be anywhere."""
    return merged(*({(EVERYWHERE, origin): way} for (_, origin), way in marks.items()))


def through(marks: Marks, address: str) -> Marks:
    """The marks of what has gone through a step."""
    return {mark: way if address in way else (*way, address) for mark, way in marks.items()}


def declared(hint: Any, kind: OriginKind, address: str) -> list[tuple[Path, Origin]]:
    """The labels that a type has."""
    return [(one.path, Origin(name, kind, address, one.path)) for one in labels_of(hint) for name in one.labels]


def _below(path: Path, name: str) -> list[Path]:
    """Where a mark is in the field ``name`` of a value in which it is at ``path``; nowhere if it is not there."""
    if not path:
        return [path]
    if path[0] == ANY_DEPTH:
        return [path, *_below(path[1:], name)]
    return [path[1:]] if path[0] in (name, ITEM) else []


def _possible(marks: Marks, hint: Any) -> Marks:
    """The marks of a value of a type; those at any depth only if the type has their labels at all."""
    if bare(hint) in (Any, object) or not any(path[:1] == (ANY_DEPTH,) for path, _ in marks):
        return marks
    known = {name for one in labels_of(hint) for name in one.labels}
    return {mark: way for mark, way in marks.items() if mark[0][:1] != (ANY_DEPTH,) or mark[1].label in known}


UNKNOWN: Any = object()
"""Stands for the type of what is no field, or of which that is not known."""


def _field_type(hint: Any, name: str, by_code: bool) -> Any:
    """The type of a field that holds data; ``UNKNOWN`` of what code works out, or where that is not known."""
    if isinstance(hint, Record):
        return UNKNOWN if by_code else hint.fields.get(name, Any)
    hint = bare(hint)
    if is_mapping(hint) or is_typeddict(get_origin(hint) or hint):
        return UNKNOWN if by_code else _value_type(hint, name)
    kind = get_origin(hint) or hint
    known = None if hint in (Any, object) or not isinstance(kind, type) else _known_fields(kind)
    if known is None or any(isinstance(vars(one).get(name), property) for one in kind.__mro__):
        return UNKNOWN
    if name in known:
        return known[name] if kind is hint else Any
    is_closed = issubclass(kind, BaseModel) and kind.model_config.get("extra") != "allow" and name[0] != "_"
    return Any if is_closed and not hasattr(kind, name) else UNKNOWN


def _value_type(hint: Any, name: str) -> Any:
    """The type of what a mapping, or a typed dict, has under a key."""
    return (*get_args(hint), Any, Any)[1] if is_mapping(hint) else (_known_fields(hint) or {}).get(name, Any)


def _known_fields(kind: type) -> Mapping[str, Any] | None:
    try:
        return fields_of(kind)
    except NameError:  # an annotation names what is not there at run time
        return None
