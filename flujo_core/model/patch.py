"""What a step changed in the context: committed with the step's output, or dropped."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from flujo_core.errors import InvalidValue
from flujo_core.model.check import bare
from flujo_core.model.draft import State
from flujo_core.model.merge import Merge
from flujo_core.model.slotted import NamedTuple
from flujo_core.model.value import adapter, encoded, flaws, same

if TYPE_CHECKING:
    from flujo_core.model.context import PipelineContext


class Set(NamedTuple):
    """A field has a new value."""

    value: Any


class Extend(NamedTuple):
    """A list has new items at its end."""

    items: list[Any]


class Update(NamedTuple):
    """A dict has new or changed entries, and has lost others."""

    put: dict[Any, Any]
    drop: list[Any]


Change: TypeAlias = Set | Extend | Update
Patch: TypeAlias = dict[str, Change]
"""What a step changed in the context: a change by field."""

NO_PATCH: Patch = {}
EMPTY_PATCH = b"{}"


def changes(touched: Mapping[str, Any], state: Mapping[str, Any], growing: frozenset[str]) -> Patch:
    """What differs between the fields that a draft owns and the state that it was made from.

    Args:
        touched: What the draft owns; names that are no fields are passed over.
        state: The state.
        growing: The fields whose changes are told as deltas.
    """
    found: Patch = {}
    for name, value in touched.items():
        if name in state and not same(value, before := state[name]):
            found[name] = _change(before, value) if name in growing else Set(value)
    return found


def apply(state: State, patch: Patch) -> None:
    """Puts ``patch`` into ``state``; values that were in it are left as they are."""
    for name, change in patch.items():
        match change:
            case Set(value):
                state[name] = value
            case Extend(items):
                state[name] = [*state[name], *items]
            case _:
                state[name] = _updated(state[name], change)


def go_together(one: Change, other: Change) -> bool:
    """Whether two changes of a field, made from the same value, can both be put into it."""
    match one, other:
        case Extend(), Extend():
            return True
        case Update(), Update():
            return not {*one.put, *one.drop} & {*other.put, *other.drop}
    return False


def _change(before: Any, after: Any) -> Change:
    """The change of a field that is declared as a list or a dict."""
    if type(before) is type(after) is list and len(after) > len(before) and same(after[: len(before)], before):
        return Extend(after[len(before) :])
    if type(before) is type(after) is dict:
        put = {key: value for key, value in after.items() if key not in before or not same(value, before[key])}
        update = Update(put, [key for key in before if key not in after])
        if list(_updated(before, update)) == list(after):  # an order that an update cannot give is set as a whole
            return update
    return Set(after)


def _updated(before: dict[Any, Any], update: Update) -> dict[Any, Any]:
    gone = set(update.drop)
    return {key: value for key, value in before.items() if key not in gone} | update.put


class PatchAdapter:
    """Validates, encodes and decodes the patches of one context class.

    In JSON a patch is an object with one entry a field: ``{"set": value}``, ``{"extend": [...]}``, or
    ``{"put": {key: value, ...}, "drop": {key: null, ...}}``: keys are written as JSON writes those of any dict.

    Attributes:
        growing: The fields whose changes are told as deltas: those declared as a list or a dict, without bounds, which
            only the whole can be checked against.
    """

    def __init__(self, kind: type[PipelineContext]) -> None:
        fields = kind.model_fields.items()
        self._parts = {name: _part_types(info.rebuild_annotation()) for name, info in fields}
        bounded = {name for name, info in fields if any(not isinstance(one, Merge) for one in info.metadata)}
        self.growing = frozenset(name for name, parts in self._parts.items() if len(parts) > 1 and name not in bounded)

    def validate(self, patch: Patch) -> Patch:
        """The patch with its values validated against the types of the fields, and owned by nobody else.

        Raises:
            InvalidValue: A value does not fit.
        """
        return {name: self._validated(name, change) for name, change in patch.items()}

    def encoded(self, patch: Patch) -> tuple[bytes, Patch]:
        """The patch as JSON, and the patch that comes back from that; the two are the same.

        Raises:
            InvalidValue: It cannot be written, or another one would come back.
        """
        texts, restored = [], {}
        for name, change in patch.items():
            text, restored[name] = self._encoded(name, change)
            texts.append(to_json(name) + b":" + text)
        return b"{" + b",".join(texts) + b"}", restored

    def decoded(self, data: bytes) -> Patch:
        """The patch that ``encoded`` wrote.

        Raises:
            InvalidValue: It does not fit the fields any more.
        """
        found: Patch = {}
        for name, parts in from_json(data).items():
            if name not in self._parts:
                raise InvalidValue(f"the context has no field '{name}' any more")
            try:
                values = {part: self._restored(name, part, value) for part, value in parts.items()}
            except ValidationError:
                raise InvalidValue(f"what was kept of field '{name}' of the context does not fit it any more") from None
            found[name] = _change_of(values)
        return found

    def _restored(self, name: str, part: str, value: Any) -> Any:
        return adapter(self._parts[name][part]).validate_json(to_json(value), by_alias=False, by_name=True)

    def _validated(self, name: str, change: Change) -> Change:
        types = self._parts[name]
        parts = {}
        for part, value in _parts_of(change).items():
            try:
                parts[part] = deepcopy(adapter(types[part]).validate_python(value))
            except ValidationError as error:
                found = flaws(error, types[part])
                raise InvalidValue(
                    f"it set field '{name}' of its context to a value that does not fit: {found}"
                ) from None
        return _change_of(parts)

    def _encoded(self, name: str, change: Change) -> tuple[bytes, Change]:
        texts, parts = [], {}
        for part, value in _parts_of(change).items():
            text, parts[part] = encoded(value, self._parts[name][part], f"what it set in field '{name}' of its context")
            texts.append(to_json(part) + b":" + text)
        return b"{" + b",".join(texts) + b"}", _change_of(parts)


@cache
def patch_adapter(kind: type[PipelineContext]) -> PatchAdapter:
    """The adapter of a context class; made once."""
    return PatchAdapter(kind)


def plain_patch(decoded: Mapping[str, Any]) -> Patch:
    """A patch from its JSON, where the types of the fields are not known."""
    return {name: _change_of(parts) for name, parts in decoded.items()}


def _parts_of(change: Change) -> dict[str, Any]:
    match change:
        case Set(value):
            return {"set": value}
        case Extend(items):
            return {"extend": items}
        case _:
            return {"put": change.put, "drop": dict.fromkeys(change.drop)}


def _change_of(parts: Mapping[str, Any]) -> Change:
    if "set" in parts:
        return Set(parts["set"])
    if "extend" in parts:
        return Extend(parts["extend"])
    return Update(parts["put"], [*parts["drop"]])


def _part_types(hint: Any) -> dict[str, Any]:
    """The types of the parts that a change of a field may have in plain form."""
    plain = bare(hint)
    container, parameters = get_origin(plain) or plain, get_args(plain)
    if container is list:
        return {"set": hint, "extend": list[parameters[0]] if parameters else list[Any]}  # type: ignore[valid-type]
    if container is dict:
        key, value = parameters or (Any, Any)
        return {"set": hint, "put": dict[key, value], "drop": dict[key, None]}  # type: ignore[valid-type]
    return {"set": hint}
