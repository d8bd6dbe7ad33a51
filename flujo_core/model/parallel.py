"""Parallel: branches that get the same input and run at the same time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self, TypeAlias, overload

from typing_extensions import TypeVar

from flujo_core.errors import DefinitionError, EdgeError, did_you_mean
from flujo_core.model.check import fits, type_name, union
from flujo_core.model.field import fields_of, required_fields
from flujo_core.model.flow import Entry, Node, Scope, checked_body, checked_name, encoded_name
from flujo_core.model.policy import NO_POLICY, Policies

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)
I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741
T = TypeVar("T")

OnError: TypeAlias = Literal["cancel", "collect"]


class Parallel(Node[In, Out]):
    """Branches that get the same input and run at the same time; the node ends when the last of them has.

    Each branch has a context of its own, which begins as that around the node is; they are merged when all have ended,
    in the order of declaration, by the reducers that the fields declare.

    Args:
        name: The node's name.
        branches: Branches by name, where keywords will not do.
        into: The type that the outputs become fields of; without it they become a dict by branch.
        max_concurrency: How many branches run at the same time; None: all.
        on_error: ``"cancel"``: when a branch fails, the others are cancelled, and the node fails with its error.
            ``"collect"``: the others run to their ends, then the node fails with ``BranchesFailed``.
        was: The name that it had before, so that runs that were begun under that name go on.
        named: The branches.

    Raises:
        DefinitionError: There are no branches, or one is no node.
        EdgeError: The outputs do not fit ``into``.
    """

    name: str

    @overload
    def __init__(
        self: Parallel[I, T],
        name: str,
        branches: Mapping[str, Node[I, Any]] = ...,
        /,
        *,
        into: type[T],
        max_concurrency: int | None = ...,
        on_error: OnError = ...,
        was: str | None = ...,
        **named: Node[I, Any],
    ) -> None: ...
    @overload
    def __init__(
        self: Parallel[I, dict[str, O]],
        name: str,
        branches: Mapping[str, Node[I, O]] = ...,
        /,
        *,
        max_concurrency: int | None = ...,
        on_error: OnError = ...,
        was: str | None = ...,
        **named: Node[I, O],
    ) -> None: ...
    def __init__(
        self,
        name: str,
        branches: Mapping[str, Any] | None = None,
        /,
        *,
        into: Any = None,
        max_concurrency: int | None = None,
        on_error: OnError = "cancel",
        was: str | None = None,
        **named: Any,
    ) -> None:
        self.name = checked_name(name)
        twice = sorted({*(branches or {})} & {*named})
        if twice:
            raise DefinitionError(f"parallel '{name}' has two branches named '{twice[0]}'; names are unique")
        self.branches: Mapping[str, Node[Any, Any]] = {
            checked_name(key): checked_body(node, f"branch '{key}' of parallel '{name}'")
            for key, node in {**(branches or {}), **named}.items()
        }
        self.into = into
        self.max_concurrency = checked_concurrency(max_concurrency, f"parallel '{name}'")
        self.on_error = checked_on_error(on_error, f"parallel '{name}'")
        self.policies = NO_POLICY.changed(Policies(was=was))
        self._check_branches()

    @property
    def label(self) -> str:
        return self.name

    @property
    def entries(self) -> Sequence[Entry]:
        return [entry for node in self.branches.values() for entry in node.entries]

    @property
    def gives(self) -> Any:
        if self.into is not None:
            return self.into
        return dict[str, union(node.gives for node in self.branches.values())]  # type: ignore[misc]

    @property
    def scopes(self) -> Sequence[Scope]:
        return [Scope(f"[{encoded_name(key)}]", node) for key, node in self.branches.items()]

    def rebuilt(self, remake: Callable[[Node[Any, Any]], Node[Any, Any]]) -> Self:
        branches = {key: remake(node) for key, node in self.branches.items()}
        made = super().rebuilt(remake)._changed(branches=branches)
        made._check_branches()
        return made

    def _check_branches(self) -> None:
        if not self.branches:
            raise DefinitionError(f"parallel '{self.name}' has no branches; give it some, by keyword or in a mapping")
        known = None if self.into is None else fields_of(self.into)
        if known is None:
            return
        if not known:
            raise EdgeError(
                f"'{type_name(self.into)}', which the outputs of parallel '{self.name}' are to become, declares no"
                " fields; give a pydantic model, a dataclass or a TypedDict"
            )
        for key, node in self.branches.items():
            if key not in known:
                raise EdgeError(
                    f"branch '{key}' of parallel '{self.name}' is no field of '{type_name(self.into)}', which the"
                    f" outputs are to become{did_you_mean(key, known)}"
                )
            if not fits(node.gives, known[key]):
                raise EdgeError(
                    f"branch '{key}' of parallel '{self.name}' gives '{type_name(node.gives)}', and field '{key}' of"
                    f" '{type_name(self.into)}' is '{type_name(known[key])}'"
                )
        if missing := [field for field in required_fields(self.into) if field not in self.branches]:
            raise EdgeError(
                f"'{type_name(self.into)}' needs a field '{missing[0]}', and parallel '{self.name}' has no branch of"
                " that name; add one, or give the field a default"
            )


def checked_concurrency(given: Any, what: str) -> int | None:
    """``given``, if it can be a ``max_concurrency``.

    Raises:
        DefinitionError: It is no whole number from 1.
    """
    if given is None or (type(given) is int and given >= 1):
        return given
    raise DefinitionError(f"'max_concurrency' of {what} is a whole number from 1, or None; it is {given!r}")


def checked_on_error(given: Any, what: str) -> OnError:
    """``given``, if it can be an ``on_error``.

    Raises:
        DefinitionError: It is something else.
    """
    if given not in ("cancel", "collect"):
        raise DefinitionError(f"'on_error' of {what} is 'cancel' or 'collect', not {given!r}")
    word: OnError = given
    return word
