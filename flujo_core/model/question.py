"""Questions to people: what callers see of one, and which type its answer has."""

from __future__ import annotations

import sys
from ast import literal_eval
from pathlib import PurePath
from typing import Any, Literal, get_args, get_origin

from pydantic import PydanticUserError

from flujo_core.errors import DefinitionError, InvalidValue
from flujo_core.model.check import bare, fits, is_generic, members, type_name
from flujo_core.model.slotted import NamedTuple
from flujo_core.model.value import adapter, encoded, validated

ATOMS: dict[str, type] = {kind.__name__: kind for kind in (bool, int, float, str, type(None))}
"""Types that JSON has itself, by their names: an answer of one comes back as it was, whatever a step declares."""

LITERAL = "Literal["


class Question(NamedTuple):
    """What a run waits for.

    Attributes:
        run_id: The run.
        address: The address of the step that asks; of an agent's tool that waits, ``step!tool.id``.
        text: What is asked.
        json_schema: The JSON Schema of the answer.
        token: What the answer is given with. It is there in what the call gives whose run has paused, and None
            elsewhere.
        tenant: Whose run it is, or None.
        asked_at: When it was asked, in seconds since the epoch.
        expires_at: Until when it can be answered, or None.
        approvers: Who may answer; empty: anybody.
        quorum: How many approvers must give the same answer.
        votes: How many have answered so far.
    """

    run_id: str
    address: str
    text: str
    json_schema: dict[str, Any]
    token: str | None = None
    tenant: str | None = None
    asked_at: float = 0.0
    expires_at: float | None = None
    approvers: tuple[str, ...] = ()
    quorum: int = 1
    votes: int = 0

    def __repr__(self) -> str:
        return f"<Question '{self.run_id}' '{self.address}'>"


def schema_of(hint: Any) -> dict[str, Any]:
    """The JSON Schema of the answers of a type.

    Raises:
        DefinitionError: There is none: JSON cannot hold such values.
    """
    try:
        return adapter(hint).json_schema()
    except PydanticUserError as error:
        raise DefinitionError(f"a person cannot give a '{type_name(hint)}': JSON has no such values") from error


def response_name(hint: Any) -> str:
    """How an answer's type is recorded: ``module:qualname``, or how it is written."""
    hint = bare(hint)
    if len(parts := members(hint)) > 1:
        return " | ".join(map(response_name, parts))
    if get_origin(hint) is Literal:
        return f"{LITERAL}{', '.join(map(repr, get_args(hint)))}]"
    if is_generic(hint):
        arguments = ("..." if one is ... else response_name(one) for one in get_args(hint))
        return f"{response_name(get_origin(hint))}[{', '.join(arguments)}]"
    if not isinstance(hint, type):
        return type_name(hint)
    return hint.__name__ if ATOMS.get(hint.__name__) is hint else f"{_module(hint)}:{hint.__qualname__}"


def response_of(hint: Any, recorded: str) -> Any:
    """The type of an answer: the one that is recorded, as the output type of the step that asks has it.

    Args:
        hint: The step's output type.
        recorded: What ``response_name`` gave for the answer's type.

    Raises:
        LookupError: The output type has no such type (any more).
    """
    for one in (hint, *members(bare(hint))):
        if response_name(one) == recorded:
            return one
    found = _plain(recorded)
    if found is None or not fits(found, hint):
        raise LookupError(recorded)
    return found


def check_response(response_model: Any, gives: Any, where: str) -> None:
    """Checks, before a question is published, that its answer can be the output of the step that asks.

    Args:
        response_model: The answer's type.
        gives: The step's output type.
        where: What asks, for messages: ``step 'approve'``.

    Raises:
        InvalidValue: It cannot be; or it would not come back from the journal as it is.
    """
    try:
        schema_of(response_model)
    except DefinitionError as error:
        raise InvalidValue(f"{where} asks a person: {error}") from error
    if not fits(response_model, gives):
        raise InvalidValue(
            f"{where} asks for '{type_name(response_model)}', and gives '{type_name(gives)}'; the answer becomes its"
            " output"
        )
    try:
        response_of(gives, response_name(response_model))
    except LookupError as error:
        raise InvalidValue(
            f"{where} asks for '{type_name(response_model)}', which its output type, '{type_name(gives)}', does not"
            " name, so that it would not be known when the run is resumed; declare it there"
        ) from error


def validated_answer(value: Any, hint: Any, what: str = "the answer") -> tuple[bytes, Any]:
    """An answer, validated: as JSON, and as the value that comes back from that.

    Args:
        value: An instance, or the plain data of one.
        hint: The answer's type.
        what: What it is, for messages.

    Raises:
        InvalidValue: It does not fit.
    """
    return encoded(validated(value, hint, what), hint, what)


def _plain(recorded: str) -> Any:
    """The type that a name stands for without any code: ``bool``, ``Literal['yes', 'no']``; else None."""
    if not recorded.startswith(LITERAL):
        return ATOMS.get(recorded)
    try:
        values = literal_eval(f"({recorded[len(LITERAL) : -1]},)")
    except (ValueError, SyntaxError):
        return None  # members of an enum
    return Literal[values]


def _module(kind: type) -> str:
    """The name that a class's module is imported by, that of the program that runs too."""
    if kind.__module__ != "__main__":
        return kind.__module__
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    return spec.name if spec is not None else PurePath(getattr(main, "__file__", None) or "__main__").stem
