"""How the contexts of branches become one again where branches join."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from flujo_core.errors import ContextConflict, DefinitionError
from flujo_core.model.draft import State, own
from flujo_core.model.value import same

if TYPE_CHECKING:
    from flujo_core.model.context import PipelineContext


class Merge:
    """What becomes of a field that branches changed side by side: ``log: Annotated[list[str], Merge.append] = []``.

    It acts where branches join, and nowhere else: a step that sets the field has set it. The order of values is that in
    which branches are declared and items come, never that in which they end.

    - ``Merge.append``: a list gets what each branch appended. Any other change in a branch is a ``ContextConflict``.
    - ``Merge.union``: a set, dict or list gets what each branch added. Taking something away, or two values for one
      key, is a ``ContextConflict``.
    - ``Merge.max``, ``Merge.min``: the largest or smallest of the values of the branches and the one at the fork.

    Args:
        reduce: Any other way: a function of the value at the fork and the list of the branches' values, which gives the
            merged value: ``Merge(lambda base, values: base + sum(value - base for value in values))``.

    Raises:
        DefinitionError: ``reduce`` is no function.
    """

    append: ClassVar[Merge]
    union: ClassVar[Merge]
    max: ClassVar[Merge]
    min: ClassVar[Merge]

    __slots__ = ("reduce",)

    def __init__(self, reduce: Callable[[Any, list[Any]], Any]) -> None:
        if not callable(reduce):
            what = "a function of the value at the fork and the branches' values, or 'Merge.append' and the like"
            raise DefinitionError(f"a Merge is {what}; not {type(reduce).__name__!r}")
        self.reduce = reduce

    def __repr__(self) -> str:
        name = getattr(self.reduce, "__name__", "...")
        return f"Merge.{name[1:]}" if name.startswith("_") else f"Merge({name})"


def merged(kind: type[PipelineContext], base: State, branches: Sequence[tuple[str, State]]) -> State:
    """The fields that differ from ``base`` when the branches' contexts have become one.

    Args:
        kind: The class of the context.
        base: The context at the fork.
        branches: Each branch's scope and context, in order.

    Raises:
        ContextConflict: Two branches changed one field that has no reducer, or one broke its reducer's rule.
    """
    found: State = {}
    rules = reducers(kind)
    for name, before in base.items():
        changed = [
            (scope, state[name])
            for scope, state in branches
            if state[name] is not before and not same(state[name], before)
        ]
        if not changed:
            continue
        if name in rules:
            found[name] = _reduced(name, rules[name], before, changed)
        elif len(changed) == 1:
            found[name] = changed[0][1]
        else:
            raise ContextConflict(
                f"'{changed[0][0]}' and '{changed[1][0]}' both changed field '{name}' of the context, which has no"
                f" reducer; declare one, such as 'Annotated[..., Merge.append]', or let one of them leave it"
            )
    return found


@cache
def reducers(kind: type[PipelineContext]) -> Mapping[str, Merge]:
    """The reducers that the fields of a context declare."""
    fields = kind.model_fields.items()
    return {name: one for name, info in fields for one in info.metadata if isinstance(one, Merge)}


class _Broken(Exception):
    """Branches did what their field's reducer does not allow.

    Args:
        what: What they did.
        which: The places of the branches among those that changed the field.
    """

    def __init__(self, what: str, *which: int) -> None:
        super().__init__(what)
        self.which = which


def _reduced(name: str, rule: Merge, before: Any, changed: Sequence[tuple[str, Any]]) -> Any:
    try:
        if rule in OURS:
            return rule.reduce(before, [value for _, value in changed])
        return rule.reduce(own(before), [own(value) for _, value in changed])  # it may change what it is given
    except _Broken as broken:
        which = " and ".join(f"'{changed[place][0]}'" for place in broken.which)
        raise ContextConflict(f"field '{name}' of the context is merged by '{rule!r}', and {which} {broken}") from None
    except Exception as error:
        raise ContextConflict(f"the reducer of field '{name}' of the context raised {type(error).__name__}") from error


def _append(base: list[Any], values: list[list[Any]]) -> list[Any]:
    whole = list(base)
    for place, value in enumerate(values):
        if len(value) < len(base) or not same(value[: len(base)], base):
            raise _Broken("did something else than append to it", place)
        whole += value[len(base) :]
    return whole


def _union(base: Any, values: list[Any]) -> Any:
    if isinstance(base, Mapping):
        return _union_of_mappings(base, values)
    for place, value in enumerate(values):
        if any(not _has(value, one) for one in base):
            raise _Broken("took something away from it", place)
    if isinstance(base, set | frozenset):
        return base.union(*values)
    whole = list(base)
    for value in values:
        whole += [one for one in value if not _has(whole, one)]
    return whole


def _has(values: Any, one: Any) -> bool:
    """Whether a collection has a value: 1 is no True."""
    return one in values and (isinstance(values, set | frozenset) or any(same(one, other) for other in values))


def _union_of_mappings(base: Mapping[Any, Any], values: list[Mapping[Any, Any]]) -> Any:
    whole = dict(base)
    added: dict[Any, int] = {}
    for place, value in enumerate(values):
        if any(key not in value or not same(value[key], base[key]) for key in base):
            raise _Broken("changed what was in it, or took something away from it", place)
        for key, one in value.items():
            if key in whole and not same(whole[key], one):
                raise _Broken("gave one key different values", added[key], place)
            whole[key] = one
            added.setdefault(key, place)
    return whole


def _max(base: Any, values: list[Any]) -> Any:
    return max(values if base is None else [base, *values])


def _min(base: Any, values: list[Any]) -> Any:
    return min(values if base is None else [base, *values])


OURS = [Merge(_append), Merge(_union), Merge(_max), Merge(_min)]
Merge.append, Merge.union, Merge.max, Merge.min = OURS
