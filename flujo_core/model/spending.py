"""What a run has spent, and holds: a fold over what its journal says of budgets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from flujo_core.model.event import BudgetReserved, BudgetSettled
from flujo_core.model.rename import plain_address, renamed
from flujo_core.model.slotted import Compared, NamedTuple
from flujo_core.model.spend import NOTHING, Spend, Standing


class Held(NamedTuple):
    """A reservation that is not settled.

    Attributes:
        step: The address of the step, without numbers of attempts.
        call: The address of the call in it.
        most: What is held.
    """

    step: str
    call: str
    most: Spend


class Spending(Compared):
    """What a run has spent, and holds.

    Attributes:
        spent: What each step has spent, by its address, without numbers of attempts; of the run, by an empty one.
        held: The reservations that are not settled, by their names.
    """

    spent: dict[str, Spend] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)

    def take(self, event: BudgetReserved | BudgetSettled) -> None:
        """Folds one more event in."""
        step = step_of(event.address)
        if isinstance(event, BudgetReserved):
            self.held[event.hold] = Held(step, event.address, event.most)
            return
        self.held.pop(event.hold, None)
        for account in ("", step):
            self.spent[account] = self.spent.get(account, NOTHING).plus(event.used)

    def rename(self, renames: Mapping[str, str]) -> None:
        """Takes in that nodes have other names from here on."""
        self.spent = {renamed(address, renames): one for address, one in self.spent.items()}
        self.held = {
            name: Held(renamed(one.step, renames), renamed(one.call, renames), one.most)
            for name, one in self.held.items()
        }

    def standing(self, step: str = "") -> Standing:
        """Where a step stands, by its address; or the run, with an empty one."""
        held = NOTHING
        for one in self.held.values():
            held = held.plus(one.most) if step in ("", one.step) else held
        return Standing(self.spent.get(step, NOTHING), held)


def step_of(call: str) -> str:
    """The address of the step that a call is in, without numbers of attempts."""
    return plain_address(call.partition("!")[0])
