"""The ledgers of tenants: what was spent, and what is held for what is under way; and one of them in memory.

What was spent is kept by the minute, and a minute counts in a window until all of it is out of it. What is held counts
at its most until it is settled; nobody waits for it any more when its time is over, as whoever held it is dead then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import ROUND_CEILING, Decimal

from flujo_core.model.slotted import NamedTuple
from flujo_core.model.spend import NOTHING, Limit, Spend, Standing

MINUTE = 60.0
NANO = Decimal(10) ** 9
"""Of a US dollar: what stores that add up whole numbers count in."""


class Hold(NamedTuple):
    """What is to be held.

    Attributes:
        account: Whose ledger it is in.
        name: What it is called there; nothing else is called so.
        most: What is held.
        ttl: For how many seconds it is known to be under way.
    """

    account: str
    name: str
    most: Spend
    ttl: float


class Shortage(NamedTuple):
    """Why something is not held.

    Attributes:
        limit: The place of the limit that has no room for it.
        standing: Where the ledger stands, as that limit looks at it.
    """

    limit: int
    standing: Standing


def shortage(standings: Sequence[Standing], limits: Sequence[Limit], most: Spend) -> Shortage | None:
    """The first limit that has no room for more, or None.

    Args:
        standings: Where the ledger stands, as each limit looks at it.
        limits: The limits.
        most: What is wanted.
    """
    for place, (standing, limit) in enumerate(zip(standings, limits, strict=True)):
        if not standing.has_room(limit, most):
            return Shortage(place, standing)
    return None


def minute_of(at: float) -> int:
    """The minute of a time."""
    return int(at // MINUTE)


def first_minute(window: float, now: float) -> int:
    """The first minute of which something is in a window."""
    return minute_of(now - window)


def whole(spend: Spend) -> tuple[int, int, int, int]:
    """An amount in whole numbers; of the cost, billionths of a dollar, rounded up."""
    return int((spend.cost_usd * NANO).to_integral_value(ROUND_CEILING)), *spend[1:]


def spend_of(cost: int | None, tokens: int | None, requests: int | None, tool_calls: int | None) -> Spend:
    """The amount that ``whole`` made, or that such add up to."""
    return Spend(Decimal(cost or 0) / NANO, tokens or 0, requests or 0, tool_calls or 0)


class _Held(NamedTuple):
    most: Spend
    at: float
    until: float


class _Account:
    def __init__(self) -> None:
        self.total = NOTHING
        self.minutes: dict[int, Spend] = {}
        self.held: dict[str, _Held] = {}


class Ledgers:
    """Ledgers in memory."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}

    def reserve(self, hold: Hold, limits: Sequence[Limit], now: float) -> Shortage | None:
        """As ``Store.reserve``."""
        found = shortage([self.standing(hold.account, one.window, now) for one in limits], limits, hold.most)
        if found is None:
            account = self._accounts.setdefault(hold.account, _Account())
            account.held[hold.name] = _Held(hold.most, now, now + hold.ttl)
        return found

    def settle(self, account: str, name: str, used: Spend, now: float) -> None:
        """As ``Store.settle``."""
        known = self._accounts.get(account)
        if known is not None and known.held.pop(name, None) is not None:
            known.total = known.total.plus(used)
            minute = minute_of(now)
            known.minutes[minute] = known.minutes.get(minute, NOTHING).plus(used)

    def forfeit(self, account: str, prefix: str, now: float) -> None:
        """As ``Store.forfeit``."""
        known = self._accounts.get(account, _Account())
        for name in [one for one in known.held if one.startswith(prefix)]:
            self.settle(account, name, known.held[name].most, now)

    def standing(self, account: str, window: float | None, now: float) -> Standing:
        """As ``Store.standing``."""
        known = self._accounts.get(account, _Account())
        spent = known.total
        if window is not None:
            spent, first = NOTHING, first_minute(window, now)
            for minute, one in known.minutes.items():
                spent = spent.plus(one) if minute >= first else spent
        held = NOTHING
        for hold in _counted(known, window, now):
            if hold.until > now:
                held = held.plus(hold.most)
            else:
                spent = spent.plus(hold.most)
        return Standing(spent, held)


def _counted(account: _Account, window: float | None, now: float) -> Iterator[_Held]:
    """What is held, but for what nobody waits for any more and that is out of the window."""
    for hold in account.held.values():
        if window is None or hold.until > now or hold.at > now - window:
            yield hold
