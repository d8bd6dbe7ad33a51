"""What a step changed in the context: committed with the step's output, or dropped."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, get_args, get_origin

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from flujo_core.model.check import bare
from flujo_core.model.draft import State
from flujo_core.model.value import same

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
            case Update():
                state[name] = _updated(state[name], change)


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
    ``{"put": [[key, value], ...], "drop": [key, ...]}``.

    Attributes:
        growing: The fields whose changes are told as deltas: those declared as a list or a dict.
    """

    def __init__(self, kind: type[PipelineContext]) -> None:
        hints = {name: info.rebuild_annotation() for name, info in kind.model_fields.items()}
        fields = {name: _change_type(name, hint) for name, hint in hints.items()}
        self.growing = frozenset(name for name, hint in hints.items() if _container(hint) in (list, dict))
        self._adapter: TypeAdapter[Any] = TypeAdapter(TypedDict("Patch", fields, total=False))  # type: ignore[operator]

    def validate(self, patch: Patch) -> Patch:
        """The patch with its values validated against the types of the fields.

        Raises:
            pydantic.ValidationError: A value does not fit.
        """
        return from_plain(self._adapter.validate_python(to_plain(patch)))

    def encode(self, patch: Patch) -> bytes:
        """The patch as JSON."""
        return self._adapter.dump_json(to_plain(patch))

    def decode(self, encoded: bytes) -> Patch:
        """The patch that ``encode`` made ``encoded`` from."""
        return from_plain(self._adapter.validate_json(encoded))


@cache
def patch_adapter(kind: type[PipelineContext]) -> PatchAdapter:
    """The adapter of a context class; made once."""
    return PatchAdapter(kind)


def to_plain(patch: Patch) -> dict[str, Any]:
    """A patch as plain dicts and lists."""
    plain: dict[str, Any] = {}
    for name, change in patch.items():
        match change:
            case Set(value):
                plain[name] = {"set": value}
            case Extend(items):
                plain[name] = {"extend": items}
            case Update(put, drop):
                plain[name] = {"put": [*put.items()], "drop": drop}
    return plain


def from_plain(plain: Mapping[str, Any]) -> Patch:
    """The patch that ``to_plain`` made ``plain`` from."""
    patch: Patch = {}
    for name, change in plain.items():
        if "set" in change:
            patch[name] = Set(change["set"])
        elif "extend" in change:
            patch[name] = Extend(change["extend"])
        else:
            patch[name] = Update({key: value for key, value in change["put"]}, change["drop"])
    return patch


def _change_type(name: str, hint: Any) -> Any:
    """The type of a field's change in plain form."""
    parameters = get_args(bare(hint))
    shape: dict[str, Any] = {"set": hint}
    if _container(hint) is list:
        shape["extend"] = list[parameters[0]] if parameters else list[Any]  # type: ignore[valid-type]
    if _container(hint) is dict:
        key, value = parameters or (Any, Any)
        shape |= {"put": list[tuple[key, value]], "drop": list[key]}  # type: ignore[valid-type]
    return TypedDict(f"Change_{name}", shape, total=False)  # type: ignore[operator]


def _container(hint: Any) -> Any:
    """``list`` or ``dict`` for a field declared as one; something else for any other."""
    hint = bare(hint)
    return get_origin(hint) or hint
