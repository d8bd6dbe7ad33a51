"""What requests and tools spend, and the most that they can."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from flujo_core.model.slotted import NamedTuple

NO_COST = Decimal()


class Spend(NamedTuple):
    """What was spent, or is held.

    Attributes:
        cost_usd: In US dollars.
        tokens: Tokens sent and received.
        requests: Requests to models.
        tool_calls: Calls of tools.
    """

    cost_usd: Decimal = NO_COST
    tokens: int = 0
    requests: int = 0
    tool_calls: int = 0

    def plus(self, other: Spend) -> Spend:
        """The sum."""
        return Spend(
            self.cost_usd + other.cost_usd,
            self.tokens + other.tokens,
            self.requests + other.requests,
            self.tool_calls + other.tool_calls,
        )


NOTHING = Spend()


class Most(NamedTuple):
    """The most that something can spend; None: that is not known.

    Attributes:
        cost_usd: In US dollars.
        tokens: Tokens sent and received.
        requests: Requests to models.
        tool_calls: Calls of tools.
    """

    cost_usd: Decimal | None = NO_COST
    tokens: int | None = 0
    requests: int | None = 0
    tool_calls: int | None = 0

    @property
    def known(self) -> Spend:
        """What of it is known; nothing of the rest."""
        return Spend(self.cost_usd or NO_COST, self.tokens or 0, self.requests or 0, self.tool_calls or 0)


class Limit(NamedTuple):
    """What may be spent; None: as much as one likes.

    Attributes:
        cost_usd: In US dollars.
        tokens: Tokens sent and received.
        requests: Requests to models.
        tool_calls: Calls of tools.
        window: Of what was spent, only that of the last so many seconds counts; None: all of it.
    """

    cost_usd: Decimal | None = None
    tokens: int | None = None
    requests: int | None = None
    tool_calls: int | None = None
    window: float | None = None

    def passed_by(self, spend: Spend) -> str | None:
        """The name of the first of its amounts that is exceeded, or None."""
        amounts: Iterable[tuple[str, Any, Any]] = zip(Spend._fields, self, spend, strict=False)
        return next((name for name, most, spent in amounts if most is not None and spent > most), None)

    def unknown_in(self, most: Most) -> str | None:
        """The name of the first of its amounts of which it is not known how much is wanted, or None."""
        amounts: Iterable[tuple[str, Any, Any]] = zip(Spend._fields, self, most, strict=False)
        return next((name for name, limit, wanted in amounts if limit is not None and wanted is None), None)


class Standing(NamedTuple):
    """Where a ledger stands.

    Attributes:
        spent: What was spent.
        held: What is held for what is under way.
    """

    spent: Spend = NOTHING
    held: Spend = NOTHING

    def has_room(self, limit: Limit, wanted: Spend) -> bool:
        """Whether more can be held under a limit."""
        return limit.passed_by(self.spent.plus(self.held).plus(wanted)) is None

    def could_have_room(self, limit: Limit, wanted: Spend) -> bool:
        """Whether more could be held if what is held comes to less than that."""
        return self.held != NOTHING and limit.passed_by(self.spent.plus(wanted)) is None
