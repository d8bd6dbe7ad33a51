"""Which types fit which, and the other checks that a pipeline passes when it is built."""

from __future__ import annotations

import types
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints, is_typeddict

from flujo_core.errors import DefinitionError, EdgeError

PROMOTIONS = {(int, float), (int, complex), (float, complex), (bytearray, bytes), (memoryview, bytes)}
"""Pairs of classes that type checkers let pass although neither is a subclass of the other (PEP 484)."""


def fits(given: Any, wanted: Any) -> bool:
    """Whether a value of type ``given`` may be used where ``wanted`` is declared.

    What cannot be decided (``Any``, a type variable, an unparameterised generic) fits, as it does for type checkers.
    """
    given, wanted = bare(given), bare(wanted)
    if given is wanted or wanted in (Any, object) or given is Any or isinstance(given, TypeVar):
        return True
    if isinstance(given, type) and isinstance(wanted, type) and not is_generic(given) and not is_generic(wanted):
        return _class_fits(given, wanted)
    return _generic_fits(given, wanted)


def bare(hint: Any) -> Any:
    """``hint`` without ``Annotated`` around it, and with None spelled as its type."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return type(None) if hint is None else hint


def is_generic(hint: Any) -> bool:
    """Whether ``hint`` is a parameterised generic, such as ``list[int]``."""
    return get_origin(hint) is not None


def members(hint: Any) -> tuple[Any, ...]:
    """The members of a union; of any other type, the type itself."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def union(parts: Iterable[Any]) -> Any:
    """The union of some types; of one, the type itself."""
    return Union[tuple(parts)]  # noqa: UP007 - their number is not known


def type_name(hint: Any) -> str:
    """How a type is written in a message: ``Email``, ``list[Email]``, ``Email | None``."""
    hint = bare(hint)
    if hint is type(None):
        return "None"
    if len(parts := members(hint)) > 1:
        return " | ".join(type_name(part) for part in parts)
    if isinstance(hint, type) and not is_generic(hint):
        return hint.__name__
    if (origin := get_origin(hint)) is not None and isinstance(origin, type):
        arguments = ", ".join("..." if a is ... else type_name(a) for a in get_args(hint))
        return f"{origin.__name__}[{arguments}]"
    return str(hint).replace("typing.", "")


def check_edge(left: str, gives: Any, right: str, takes: Any) -> None:
    """Checks one edge of a pipeline.

    Raises:
        EdgeError: What the left step gives is not what the right one takes.
    """
    if not fits(gives, takes):
        raise EdgeError(
            f"step '{left}' gives '{type_name(gives)}' and the next step, '{right}', takes '{type_name(takes)}';"
            " change one of the two, or put a step that converts between them"
        )


def check_unique(names: Sequence[str], where: str) -> None:
    """Checks that no two steps of one scope have the same name.

    Raises:
        DefinitionError: Two have.
    """
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise DefinitionError(
            f"{count} steps in {where} are named '{name}'; names are unique within a scope:"
            f" give one of them another by '.named(...)'"
        )


def _class_fits(given: type, wanted: type) -> bool:
    if is_typeddict(wanted):
        return is_typeddict(given) and _typed_dict_fits(given, wanted)
    if is_typeddict(given):
        return issubclass(dict, wanted)
    return issubclass(given, wanted) or (given, wanted) in PROMOTIONS


def _typed_dict_fits(given: type, wanted: type) -> bool:
    has, needs = get_type_hints(given), get_type_hints(wanted)
    return all(key in has and fits(has[key], needs[key]) for key in needs)


def _generic_fits(given: Any, wanted: Any) -> bool:
    if len(alternatives := members(given)) > 1:
        return all(fits(one, wanted) for one in alternatives)
    if len(alternatives := members(wanted)) > 1:
        return any(fits(given, one) for one in alternatives)
    origin = get_origin(wanted)
    if isinstance(given, type) and not is_generic(given) and isinstance(origin, type):
        return _bare_class_fits(given, origin)
    return _is_subhint(given, wanted)


def _bare_class_fits(given: type, origin: type) -> bool:
    """A class without parameters where a parameterised one is wanted: what it holds is unknown, so it may fit."""
    if is_typeddict(given):
        return origin in (dict, Mapping) or issubclass(dict, origin)
    return issubclass(given, origin)


def _is_subhint(given: Any, wanted: Any) -> bool:
    from beartype.door import is_subhint  # noqa: PLC0415 - dear to import, and few edges need it
    from beartype.roar import BeartypeException  # noqa: PLC0415

    try:
        return is_subhint(given, wanted)
    except (BeartypeException, TypeError):
        return True  # a hint that beartype does not know cannot be shown to be wrong
