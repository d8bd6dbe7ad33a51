"""What is checked of a store's ledgers: what is held and spent never exceeds a limit, whoever asks at once."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from flujo_core.model.spend import NOTHING, Limit, Spend, Standing
from flujo_core.store.ledger import Hold
from flujo_core.store.protocol import Store
from flujo_core.testing.stores.place import LONG, Place, claim

AT_ONCE = 40
"""How many reservations are made at once."""

PART = Spend(Decimal("0.4"), 10, 1, 2)
ROOM = Limit(Decimal(1))
"""Room for two parts."""


async def reserves(place: Place) -> None:
    """A hold is made where there is room for it, and not where there is none; what is settled is spent."""
    account, store = f"ledger-{place.tag}", place.one
    claim(await store.standing(account) == Standing(), "a ledger that nobody has used is not empty")
    for name in ("a", "b"):
        claim(await _held(store, account, name), "what there is room for is not held")
    short = await place.other.reserve(Hold(account, "c", PART, LONG), [Limit(), ROOM])
    twice = PART.plus(PART)
    claim(short is not None, "more is held than the limit says")
    claim(short is not None and short.limit == 1, "'reserve' does not say which limit has no room")
    claim(short is not None and short.standing == Standing(NOTHING, twice), "'reserve' does not say where it stands")
    await place.other.settle(account, "a", Spend(Decimal("0.123456789"), 7, 1, 0))
    await store.settle(account, "b", NOTHING)
    for name in ("b", "c"):
        await store.settle(account, name, PART)
    spent = Standing(Spend(Decimal("0.123456789"), 7, 1, 0))
    claim(await place.other.standing(account) == spent, "a ledger does not say what was spent, each hold once")
    claim(await place.one.standing(account, 3600.0) == spent, "a ledger does not say what was spent in a window")
    claim(await _held(store, account, "d"), "what was settled for less does not make room")
    claim(await store.standing(account + "x") == Standing(), "the ledgers of two accounts are not kept apart")
    tight = [Limit(None, 26), Limit(tokens=1000, window=60.0)]
    claim(await store.reserve(Hold(account, "e", PART, LONG), tight) is not None, "a limit of tokens is not kept")
    await store.settle(account, "d", PART.plus(PART).plus(PART))
    claim((await store.standing(account)).spent.cost_usd > 1, "more than was held cannot be settled")


async def reserves_once(place: Place) -> None:
    """Of many who reserve at once, through two handles, no more are let in than there is room for."""
    account = f"race-{place.tag}"
    stores = [place.one, place.other]
    tries = [_held(stores[number % 2], account, str(number)) for number in range(AT_ONCE)]
    claim(sum(await asyncio.gather(*tries)) == 2, f"of {AT_ONCE} who reserve at once, not 2 are let in")


async def forgets_the_dead(place: Place) -> None:
    """A hold whose time is over is not waited for: it counts as spent, and can still be settled."""
    account = f"dead-{place.tag}"
    await place.one.reserve(Hold(account, "a", PART, 0.05), [])
    await asyncio.sleep(0.1)
    for window in (None, 3600.0):
        found = await place.other.standing(account, window)
        claim(found == Standing(PART), "a hold whose time is over does not count as spent")
    await place.other.settle(account, "a", NOTHING)
    claim(await place.one.standing(account) == Standing(), "a hold whose time is over cannot be settled")


async def forfeits(place: Place) -> None:
    """What the dead have held settles at its most, and nothing else does."""
    account = f"forfeit-{place.tag}"
    for name in ("run-a-1", "run-a-2", "run-b-1"):
        await place.one.reserve(Hold(account, name, PART, LONG), [])
    await place.other.forfeit(account, "run-a-")
    await place.one.settle(account, "run-a-1", NOTHING)
    found = await place.one.standing(account)
    claim(found == Standing(PART.plus(PART), PART), "what is forfeited does not settle at its most, once")


async def _held(store: Store, account: str, name: str) -> bool:
    return await store.reserve(Hold(account, name, PART, LONG), [ROOM]) is None
