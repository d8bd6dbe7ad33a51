"""Loop: a body that runs again with its own output, until that is what it should be."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

from typing_extensions import TypeVar

from flujo_core.errors import DefinitionError, EdgeError
from flujo_core.model.check import fits, type_name
from flujo_core.model.flow import Entry, Node, Scope, checked_body, checked_name
from flujo_core.model.policy import NO_POLICY, Policies
from flujo_core.model.reader import Reader

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)
I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741


class Loop(Node[In, Out]):
    """Runs its body, then again with what that gave, until ``until`` says that it is enough; gives the last output.

    Args:
        name: The node's name.
        body: What runs in each iteration; it takes its own output, or ignores its input.
        until: Whether an output is enough. A plain function of the output and, if it has a parameter ``context``, the
            context; it is asked once an iteration, and what it says is recorded.
        max_iterations: After how many iterations the loop ends all the same, from 1.
        on_exhausted: What then happens: ``"fail"`` with ``LoopExhausted``, or ``"return"`` the last output.
        was: The name that it had before, so that runs that were begun under that name go on.

    Raises:
        DefinitionError: The body is no node, or a number cannot be.
        SignatureError: ``until`` cannot be called with an output.
        EdgeError: The body does not take what it gives, or ``until`` does not.
    """

    name: str

    def __init__(
        self: Loop[I, O],
        name: str,
        body: Node[I, O],
        *,
        until: Callable[[O], bool] | Callable[..., bool],
        max_iterations: int,
        on_exhausted: Literal["fail", "return"] = "fail",
        was: str | None = None,
    ) -> None:
        scope = sys._getframe(1).f_locals
        self.name = checked_name(name)
        self.body: Node[Any, Any] = checked_body(body, f"the body of loop '{name}'")
        self.until = Reader(until, f"'until' of loop '{name}'", scope)
        if type(max_iterations) is not int or max_iterations < 1:
            raise DefinitionError(
                f"'max_iterations' of loop '{name}' is a whole number from 1, so that the loop has an exit; it is"
                f" {max_iterations!r}"
            )
        self.max_iterations = max_iterations
        if on_exhausted not in ("fail", "return"):
            raise DefinitionError(f"'on_exhausted' of loop '{name}' is 'fail' or 'return', not {on_exhausted!r}")
        self.on_exhausted = on_exhausted
        self.policies = NO_POLICY.changed(Policies(was=was))
        self._check_body()

    @property
    def label(self) -> str:
        return self.name

    @property
    def entries(self) -> Sequence[Entry]:
        return self.body.entries

    @property
    def gives(self) -> Any:
        return self.body.gives

    @property
    def scopes(self) -> Sequence[Scope]:
        return (Scope("[*]", self.body),)

    def rebuilt(self, remake: Callable[[Node[Any, Any]], Node[Any, Any]]) -> Self:
        made = super().rebuilt(remake)._changed(body=remake(self.body))
        made._check_body()
        return made

    def _check_body(self) -> None:
        for entry in self.body.entries:
            if not fits(self.body.gives, entry.takes):
                raise EdgeError(
                    f"the body of loop '{self.name}' gives '{type_name(self.body.gives)}' and its first step,"
                    f" '{entry.label}', takes '{type_name(entry.takes)}'; each iteration gets what the last one gave"
                )
        if not fits(self.body.gives, self.until.takes):
            raise EdgeError(
                f"'until' of loop '{self.name}' takes '{type_name(self.until.takes)}', and the body gives"
                f" '{type_name(self.body.gives)}'"
            )
