"""Map: one body, run for each item at the same time."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from typing import Any, Self, get_args, overload

from typing_extensions import TypeVar

from flujo_core.errors import EdgeError
from flujo_core.model.check import bare, fits, is_generic, type_name
from flujo_core.model.flow import Entry, Node, Scope, checked_body, checked_name
from flujo_core.model.parallel import OnError, checked_concurrency, checked_on_error
from flujo_core.model.policy import NO_POLICY, Policies
from flujo_core.model.reader import Reader

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)
I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741
T = TypeVar("T")


class Map(Node[In, Out]):
    """Runs a body for each item, at the same time; gives the outputs as a list, in the order of the items.

    Each item has a context of its own, as a branch of a ``Parallel`` has.

    Args:
        name: The node's name.
        body: What runs for each item.
        over: Makes the items from the input; it may give an async iterable, whose items start as they come. None: the
            input is the items.
        key: Names an item by a text that no other has: ``summaries[invoice-17]``. None: its index, from 0.
        max_concurrency: How many items run at the same time; None: all. Of an async source, no more are taken than run.
        on_error: As of ``Parallel``.
        was: The name that it had before, so that runs that were begun under that name go on.

    Raises:
        DefinitionError: The body is no node, or a number cannot be.
        SignatureError: ``over`` or ``key`` cannot be called with what it gets.
        EdgeError: The body does not take what ``over`` gives.
    """

    name: str

    @overload
    def __init__(
        self: Map[Iterable[T], list[O]],
        name: str,
        body: Node[T, O],
        *,
        key: Callable[[T], str] | None = ...,
        max_concurrency: int | None = ...,
        on_error: OnError = ...,
        was: str | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: Map[I, list[O]],
        name: str,
        body: Node[T, O],
        *,
        over: Callable[[I], Iterable[T] | AsyncIterable[T]],
        key: Callable[[T], str] | None = ...,
        max_concurrency: int | None = ...,
        on_error: OnError = ...,
        was: str | None = ...,
    ) -> None: ...
    def __init__(
        self,
        name: str,
        body: Any,
        *,
        over: Callable[..., Any] | None = None,
        key: Callable[..., Any] | None = None,
        max_concurrency: int | None = None,
        on_error: OnError = "cancel",
        was: str | None = None,
    ) -> None:
        scope = sys._getframe(1).f_locals
        self.name = checked_name(name)
        self.body: Node[Any, Any] = checked_body(body, f"the body of map '{name}'")
        self.over = None if over is None else Reader(over, f"'over' of map '{name}'", scope)
        self.key = None if key is None else Reader(key, f"'key' of map '{name}'", scope)
        self.max_concurrency = checked_concurrency(max_concurrency, f"map '{name}'")
        self.on_error = checked_on_error(on_error, f"map '{name}'")
        self.policies = NO_POLICY.changed(Policies(was=was))
        self._check_body()

    @property
    def label(self) -> str:
        return self.name

    @property
    def takes(self) -> Any:
        return Iterable[self.item] if self.over is None else self.over.takes  # type: ignore[name-defined]

    @property
    def entries(self) -> Sequence[Entry]:
        return (Entry(self.name, self.takes),)

    @property
    def item(self) -> Any:
        """The type of an item."""
        return self.body.takes

    @property
    def gives(self) -> Any:
        return list[self.body.gives]  # type: ignore[name-defined]

    @property
    def scopes(self) -> Sequence[Scope]:
        return (Scope("[*]", self.body),)

    def rebuilt(self, remake: Callable[[Node[Any, Any]], Node[Any, Any]]) -> Self:
        made = super().rebuilt(remake)._changed(body=remake(self.body))
        made._check_body()
        return made

    def _check_body(self) -> None:
        given = Any if self.over is None else items_of(self.over.gives)
        for entry in self.body.entries:
            if not fits(given, entry.takes):
                raise EdgeError(
                    f"'over' of map '{self.name}' gives items of type '{type_name(given)}', and step '{entry.label}'"
                    f" takes '{type_name(entry.takes)}'"
                )
        if self.key is not None and not fits(self.item, self.key.takes):
            raise EdgeError(
                f"'key' of map '{self.name}' takes '{type_name(self.key.takes)}', and its items are"
                f" '{type_name(self.item)}'"
            )


def items_of(hint: Any) -> Any:
    """The type of what an iterable of this type gives."""
    plain = bare(hint)
    for kind in (AsyncIterable, Iterable):
        if is_generic(plain) and fits(plain, kind) and len(get_args(plain)) == 1:
            return get_args(plain)[0]
    return Any
