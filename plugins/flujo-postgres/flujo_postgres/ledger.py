"""The ledgers of tenants: what was spent, by the minute, and what is held; one transaction at a time for each account.

The minute ``TOTAL`` has the sum of all minutes.
"""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from flujo_core import Hold, Limit, Shortage, Spend, Standing
from flujo_postgres.batch import NOW

TOTAL = -1

_LOCK = "select pg_advisory_xact_lock(hashtext('flujo ledger'), hashtext($1))"
_SUM = "select coalesce(sum(cost), 0), coalesce(sum(tokens), 0)::bigint, coalesce(sum(requests), 0)::bigint," \
    " coalesce(sum(tool_calls), 0)::bigint from {source}"  # fmt: skip
_KNOWN = "select 1 from held where account = $1 and name = $2"
_HOLD = f"insert into held values ($1, $2, {NOW}, {NOW} + $3, $4, $5, $6, $7)"
_ADD = (
    "insert into spent values ($1, {minute}, $2, $3, $4, $5) on conflict (account, minute) do update set"
    " cost = spent.cost + excluded.cost, tokens = spent.tokens + excluded.tokens,"
    " requests = spent.requests + excluded.requests, tool_calls = spent.tool_calls + excluded.tool_calls"
)
MINUTES = (f"floor({NOW} / 60)::bigint", str(TOTAL))


async def reserve(connection: asyncpg.Connection, hold: Hold, limits: Sequence[Limit]) -> Shortage | None:
    """Holds an amount, if all limits have room for it; done twice, it is held once."""
    async with connection.transaction():
        await connection.execute(_LOCK, hold.account)
        if await connection.fetchval(_KNOWN, hold.account, hold.name):
            return None
        for place, limit in enumerate(limits):
            found = await standing(connection, hold.account, limit.window)
            if not found.has_room(limit, hold.most):
                return Shortage(place, found)
        await connection.execute(_HOLD, hold.account, hold.name, hold.ttl, *hold.most)
    return None


async def settle(connection: asyncpg.Connection, account: str, name: str, used: Spend) -> None:
    """Gives back what is held, and counts what was spent."""
    async with connection.transaction():
        await connection.execute(_LOCK, account)
        gone = await connection.execute("delete from held where account = $1 and name = $2", account, name)
        if gone == "DELETE 1":
            await _add(connection, account, used)


async def forfeit(connection: asyncpg.Connection, account: str, prefix: str) -> None:
    """Counts what is held under names that begin so at its most."""
    async with connection.transaction():
        await connection.execute(_LOCK, account)
        where = "held where account = $1 and starts_with(name, $2)"
        most = await _sum(connection, where, account, prefix)
        if await connection.execute(f"delete from {where}", account, prefix) != "DELETE 0":
            await _add(connection, account, most)


async def standing(connection: asyncpg.Connection, account: str, window: float | None) -> Standing:
    """Where a ledger stands."""
    if window is None:
        spent = await _sum(connection, f"spent where account = $1 and minute = {TOTAL}", account)
        lost = await _sum(connection, f"held where account = $1 and until <= {NOW}", account)
    else:
        spent = await _sum(
            connection, f"spent where account = $1 and minute >= floor(({NOW} - $2) / 60)", account, window
        )
        late = f"held where account = $1 and until <= {NOW} and at > {NOW} - $2"
        lost = await _sum(connection, late, account, window)
    return Standing(spent.plus(lost), await _sum(connection, f"held where account = $1 and until > {NOW}", account))


async def _add(connection: asyncpg.Connection, account: str, used: Spend) -> None:
    for minute in MINUTES:
        await connection.execute(_ADD.format(minute=minute), account, *used)


async def _sum(connection: asyncpg.Connection, source: str, *values: object) -> Spend:
    (row,) = await connection.fetch(_SUM.format(source=source), *values)
    return Spend._make(row)
