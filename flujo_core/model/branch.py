"""Branch: one of several cases runs, by what a function of the input says."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Concatenate, Generic, Literal, Never, Self, get_args, get_origin

from typing_extensions import TypeVar

from flujo_core.errors import DefinitionError, EdgeError, did_you_mean
from flujo_core.model.check import bare, fits, members, type_name, union
from flujo_core.model.flow import Entry, Node, Scope, checked_body, checked_name, encoded_name, exits
from flujo_core.model.policy import NO_POLICY, Policies
from flujo_core.model.reader import Reader

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)
I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741
K = TypeVar("K")
T = TypeVar("T")

DEFAULT = "~default"
"""The default's place in addresses."""


class Branch(Node[In, Out], Generic[In, Out, K]):
    """Runs one of its cases, with the input that it was given itself; gives that case's output.

    Cases are added one by one: ``Branch("route", on=queue).case("billing", refund).default(answer)``; each call gives
    another branch.

    Args:
        name: The node's name.
        on: Says which case: a plain function of the input and, if it has a parameter ``context``, the context. It is
            asked once, and what it says is recorded. If it declares a ``Literal``, an ``Enum`` or ``bool``, the cases
            are checked against that.
        was: The name that it had before, so that runs that were begun under that name go on.

    Raises:
        SignatureError: ``on`` cannot be called with the input.
    """

    name: str

    def __init__(
        self: Branch[I, Never, T], name: str, *, on: Callable[Concatenate[I, ...], T], was: str | None = None
    ) -> None:
        self.name = checked_name(name)
        self.on = Reader(on, f"'on' of branch '{name}'", sys._getframe(1).f_locals)
        self.cases: Mapping[Any, Node[Any, Any]] = {}
        self.otherwise: Node[Any, Any] | None = None
        self.policies = NO_POLICY.changed(Policies(was=was))

    def case(self, value: K, node: Node[In, O], /) -> Branch[In, Out | O, K]:
        """The branch with one more case.

        Args:
            value: What ``on`` gives for it: a text, a number, a bool, None or a member of an enum.
            node: What then runs.

        Raises:
            DefinitionError: There is such a case already, or ``on`` never gives that.
        """
        segment = case_segment(value)
        if segment is None:
            raise DefinitionError(
                f"a case of branch '{self.name}' is a text, a number, a bool, None or a member of an enum,"
                f" not {type(value).__name__!r}"
            )
        if segment in map(case_segment, self.cases) or value in self.cases:  # 1 is True
            raise DefinitionError(f"branch '{self.name}' has two cases '{segment}'; only the first could be taken")
        known = self._possible()
        if known is not None and value not in known:
            raise DefinitionError(
                f"case '{segment}' of branch '{self.name}' is never taken: '{self.on.name}' does not give"
                f" it{did_you_mean(segment, [str(case_segment(one)) for one in known])}"
            )
        body = checked_body(node, f"case '{segment}' of branch '{self.name}'")
        return self._changed(cases={**self.cases, value: body})

    def default(self, node: Node[In, O], /) -> Branch[In, Out | O, K]:
        """The branch with what runs when no case fits.

        Raises:
            DefinitionError: It has a default.
        """
        if self.otherwise is not None:
            raise DefinitionError(f"branch '{self.name}' has two defaults; only the first could be taken")
        return self._changed(otherwise=checked_body(node, f"the default of branch '{self.name}'"))

    @property
    def label(self) -> str:
        return self.name

    @property
    def entries(self) -> Sequence[Entry]:
        return [Entry(self.name, self.on.takes), *(entry for node in self.bodies.values() for entry in node.entries)]

    @property
    def bodies(self) -> Mapping[str, Node[Any, Any]]:
        """What may run, by its place in addresses: ``billing``, ``~default``."""
        cases = {str(case_segment(value)): node for value, node in self.cases.items()}
        found = {encoded_name(name): node for name, node in cases.items()}
        return found if self.otherwise is None else {**found, DEFAULT: self.otherwise}

    @property
    def gives(self) -> Any:
        kinds = [gives for node in self.bodies.values() if exits(gives := node.gives)]
        return union(kinds) if kinds else Never

    @property
    def scopes(self) -> Sequence[Scope]:
        return [Scope(f"[{place}]", node) for place, node in self.bodies.items()]

    def rebuilt(self, remake: Callable[[Node[Any, Any]], Node[Any, Any]]) -> Self:
        cases = {value: remake(node) for value, node in self.cases.items()}
        otherwise = None if self.otherwise is None else remake(self.otherwise)
        return super().rebuilt(remake)._changed(cases=cases, otherwise=otherwise)

    def check_cases(self) -> None:
        """Checks that the cases are all that there can be, and that each can take the input.

        Raises:
            DefinitionError: A case is missing, or the default is never taken.
            EdgeError: A case does not take what ``on`` takes.
        """
        if not self.bodies:
            raise DefinitionError(f"branch '{self.name}' has no cases; add some by '.case(value, step)'")
        known = self._possible()
        if known is not None:
            missing = [str(case_segment(one)) for one in known if one not in self.cases]
            if missing and self.otherwise is None:
                raise DefinitionError(
                    f"branch '{self.name}' has no case for '{missing[0]}', which '{self.on.name}' may give; add it,"
                    " or a default"
                )
            if not missing and self.otherwise is not None:
                raise DefinitionError(
                    f"the default of branch '{self.name}' is never taken: its cases are all that '{self.on.name}'"
                    " gives; leave it out"
                )
        for place, node in self.bodies.items():
            for entry in node.entries:
                if not fits(self.on.takes, entry.takes) and not fits(entry.takes, self.on.takes):
                    raise EdgeError(
                        f"case '{place}' of branch '{self.name}' gets the branch's input, '{type_name(self.on.takes)}',"
                        f" and step '{entry.label}' takes '{type_name(entry.takes)}'"
                    )

    def _possible(self) -> Sequence[Any] | None:
        """All that ``on`` declares to give, or None where that is open."""
        found: list[Any] = []
        for hint in map(bare, members(bare(self.on.gives))):
            if get_origin(hint) is Literal:
                found += get_args(hint)
            elif hint is bool:
                found += [True, False]
            elif hint is type(None):
                found.append(None)
            elif isinstance(hint, type) and issubclass(hint, Enum):
                found += list(hint)
            else:
                return None
        return found


def case_segment(value: object) -> str | None:
    """How a case is named in addresses, before it is encoded; None for what cannot be one."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, str):
        return value
    return str(value) if value is None or isinstance(value, bool | int | float) else None
