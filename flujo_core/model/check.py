"""Which types fit which, and the other checks that a pipeline passes when it is built."""

from __future__ import annotations

import types
from collections import Counter
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    Set,
)
from typing import (
    Annotated,
    Any,
    Literal,
    Never,
    NewType,
    NoReturn,
    NotRequired,
    Required,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import BaseModel
from typing_extensions import TypeAliasType, get_protocol_members, is_protocol, is_typeddict

from flujo_core.errors import DefinitionError, EdgeError

PROMOTIONS = {(int, float), (int, complex), (float, complex), (bytearray, bytes), (memoryview, bytes)}
"""Pairs of classes that type checkers let pass although neither is a subclass of the other (PEP 484)."""


READ_ONLY = (
    Iterable, Iterator, Collection, Sequence, Mapping, Set, frozenset, type,
    AsyncIterable, AsyncIterator, Awaitable, Coroutine,
)  # fmt: skip
"""Generic classes that only give what they hold, so that a container of less is one of more."""

NOTHING_KNOWN = (Any, Never, NoReturn)
"""Types of which no value is known that would not fit."""

TEXT: dict[type, type] = {str: str, bytes: int}
"""What one finds in the classes that are sequences without parameters."""

BUILT_IN = (list, tuple, dict, set, frozenset, Sequence, Mapping, Set, Collection, Iterable)
"""Generic classes whose parameters say what one finds when one looks into them."""


def fits(given: Any, wanted: Any) -> bool:
    """Whether a value of type ``given`` may be used where ``wanted`` is declared.

    What cannot be decided (``Any``, a type variable, an unparameterised generic) fits, as it does for type checkers.
    """
    given, wanted = bare(given), bare(wanted)
    if given is wanted or wanted in (Any, object) or given in NOTHING_KNOWN or TypeVar in (type(given), type(wanted)):
        return True
    if type(given) is type and type(wanted) is type:  # as most are
        return issubclass(given, wanted) or (given, wanted) in PROMOTIONS
    if len(alternatives := _alternatives(given)) > 1:
        return all(fits(one, wanted) for one in alternatives)
    if len(alternatives := members(wanted)) > 1:
        return any(fits(given, one) for one in alternatives)
    return _one_fits(given, wanted)


def bare(hint: Any) -> Any:
    """``hint`` without ``Annotated`` around it, type aliases resolved, and None spelled as its type."""
    while True:
        if get_origin(hint) is Annotated:
            hint = get_args(hint)[0]
        elif isinstance(hint, TypeAliasType):
            hint = hint.__value__
        else:
            return type(None) if hint is None else hint


def is_generic(hint: Any) -> bool:
    """Whether ``hint`` is a parameterised generic, such as ``list[int]``."""
    return get_origin(hint) is not None


def is_mapping(hint: Any) -> bool:
    """Whether a value of this type may be a mapping whose keys are data; those of a TypedDict are names."""
    kinds = (get_origin(one) or one for one in map(bare, members(bare(hint))))
    return any(isinstance(kind, type) and issubclass(kind, Mapping) and not is_typeddict(kind) for kind in kinds)


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


def _alternatives(given: Any) -> tuple[Any, ...]:
    """The types that a value of type ``given`` may have: those of a union, or each value of a literal."""
    if get_origin(given) is Literal:
        return tuple(Literal[value] for value in get_args(given))
    return members(given)


def _one_fits(given: Any, wanted: Any) -> bool:
    """``fits`` for what is neither a union nor undecided."""
    if isinstance(wanted, NewType):
        return False  # only itself is
    if isinstance(given, NewType):
        return fits(given.__supertype__, wanted)
    if get_origin(given) is Literal and get_origin(wanted) is not Literal:
        return fits(type(get_args(given)[0]), wanted)
    if is_typeddict(given) or is_typeddict(wanted):
        return _typed_dict_fits(given, wanted)
    if is_protocol(get_origin(wanted) or wanted):
        return _has_members(get_origin(given) or given, get_origin(wanted) or wanted)
    if not is_generic(wanted) and isinstance(wanted, type) and isinstance(get_origin(given) or given, type):
        return _class_fits(get_origin(given) or given, wanted)
    return _generic_fits(given, wanted)


def _class_fits(given: type, wanted: type) -> bool:
    if issubclass(given, wanted) or (given, wanted) in PROMOTIONS:
        return True
    ones, others = (vars(kind).get("__pydantic_generic_metadata__") or {} for kind in (given, wanted))
    if not ones.get("origin") or ones["origin"] is not others.get("origin"):
        return False
    return _parameters_fit(ones["origin"], ones["args"], others["args"])


def _typed_dict_fits(given: Any, wanted: Any) -> bool:
    if not is_typeddict(wanted):  # a TypedDict is a mapping of text to objects, and nothing more
        if (get_origin(wanted) or wanted) not in (Mapping, Iterable, Collection):
            return False
        return _items_fit((str, object), get_args(wanted))
    if not is_typeddict(given):
        return False
    has, needs = _keys(given), _keys(wanted)
    return all(key in has and fits(has[key][0], hint) and has[key][1] >= sure for key, (hint, sure) in needs.items())


def _keys(kind: Any) -> dict[str, tuple[Any, bool]]:
    """The type of each key of a TypedDict, and whether it is sure to be there."""
    keys = {}
    for key, hint in get_type_hints(kind, include_extras=True).items():
        marked = get_origin(hint) in (Required, NotRequired)
        sure = get_origin(hint) is Required if marked else key in kind.__required_keys__
        keys[key] = (get_args(hint)[0] if marked else hint, sure)
    return keys


def _has_members(given: Any, wanted: Any) -> bool:
    """Whether a class has what a protocol names; the types of its members are left to type checkers."""
    annotated = {name for kind in getattr(given, "__mro__", ()) for name in getattr(kind, "__annotations__", {})}
    return all(name in annotated or hasattr(given, name) for name in get_protocol_members(wanted))


def _generic_fits(given: Any, wanted: Any) -> bool:
    """``fits`` for a parameterised ``wanted``."""
    origin, whole = get_origin(wanted), get_origin(given) or given
    if not isinstance(origin, type) or not isinstance(whole, type):
        return _is_subhint(given, wanted)
    if not issubclass(whole, origin):
        return False
    if not is_generic(given):
        items = tuple[str, Any] if issubclass(whole, BaseModel) else TEXT.get(whole)  # a model gives its fields
        return items is None or _items_fit((items,), get_args(wanted))
    if origin is tuple:
        return _tuple_fits(get_args(given), get_args(wanted))
    if origin in READ_ONLY and whole in BUILT_IN:
        return _items_fit(_items(whole, get_args(given), len(get_args(wanted))), get_args(wanted))
    if whole is origin:
        return _parameters_fit(origin, get_args(given), get_args(wanted))
    return _is_subhint(given, wanted)


def _items(whole: type, arguments: tuple[Any, ...], wanted: int) -> tuple[Any, ...]:
    """What one finds in a built-in container: the keys and values of a dict, or the union of a tuple's items."""
    if issubclass(whole, Mapping):
        return arguments[:wanted]
    return (union(one for one in arguments if one is not ...) if arguments else Any,)


def _items_fit(given: tuple[Any, ...], wanted: tuple[Any, ...]) -> bool:
    return all(fits(one, other) for one, other in zip(given, wanted, strict=False))


def _tuple_fits(given: tuple[Any, ...], wanted: tuple[Any, ...]) -> bool:
    if wanted[-1:] == (...,):
        return all(fits(one, wanted[0]) for one in given if one is not ...)
    return given[-1:] != (...,) and len(given) == len(wanted) and _items_fit(given, wanted)


def _parameters_fit(origin: Any, given: tuple[Any, ...], wanted: tuple[Any, ...]) -> bool:
    """The parameters of one generic class, by the variance that it declares; invariant where it declares none."""
    variables = getattr(origin, "__parameters__", ()) or (None,) * len(wanted)
    for variable, one, other in zip(variables, given, wanted, strict=False):
        if getattr(variable, "__covariant__", False) or origin in READ_ONLY:
            fine = fits(one, other)
        elif getattr(variable, "__contravariant__", False):
            fine = fits(other, one)
        else:
            fine = Any in (bare(one), bare(other)) or (fits(one, other) and fits(other, one))
        if not fine:
            return False
    return True


def _is_subhint(given: Any, wanted: Any) -> bool:
    from beartype.door import is_subhint  # noqa: PLC0415 - dear to import, and few edges need it
    from beartype.roar import BeartypeException  # noqa: PLC0415

    try:
        return is_subhint(given, wanted)
    except (BeartypeException, TypeError):
        return True  # a hint that beartype does not know cannot be shown to be wrong
