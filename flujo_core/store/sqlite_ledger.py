"""The ledgers of tenants in a SQLite store, within a transaction that somebody else begins and ends."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from flujo_core.model.spend import Limit, Spend, Standing
from flujo_core.store.ledger import Hold, Shortage, first_minute, minute_of, shortage, spend_of, whole

LEDGER = """
create table spent (
    account text not null,
    minute integer not null,
    cost integer not null,
    tokens integer not null,
    requests integer not null,
    tool_calls integer not null,
    primary key (account, minute)
) without rowid;
create table held (
    account text not null,
    name text not null,
    at real not null,
    until real not null,
    cost integer not null,
    tokens integer not null,
    requests integer not null,
    tool_calls integer not null,
    primary key (account, name)
) without rowid
"""
"""The tables. The minute ``TOTAL`` has the sum of all minutes."""

TOTAL = -1

_SUM = "select sum(cost), sum(tokens), sum(requests), sum(tool_calls) from {source}"
_ADD = (
    "insert into spent values (?, ?, ?, ?, ?, ?) on conflict do update set cost = cost + excluded.cost,"
    " tokens = tokens + excluded.tokens, requests = requests + excluded.requests,"
    " tool_calls = tool_calls + excluded.tool_calls"
)


def reserve(connection: sqlite3.Connection, hold: Hold, limits: Sequence[Limit], now: float) -> Shortage | None:
    """As ``Store.reserve``."""
    standings = [standing(connection, hold.account, one.window, now) for one in limits]
    found = shortage(standings, limits, hold.most)
    if found is None:
        values = (hold.account, hold.name, now, now + hold.ttl, *whole(hold.most))
        connection.execute("insert into held values (?, ?, ?, ?, ?, ?, ?, ?)", values)
    return found


def settle(connection: sqlite3.Connection, account: str, name: str, used: Spend, now: float) -> None:
    """As ``Store.settle``."""
    gone = connection.execute("delete from held where account = ? and name = ?", (account, name))
    if gone.rowcount:
        _add(connection, account, used, now)


def forfeit(connection: sqlite3.Connection, account: str, prefix: str, now: float) -> None:
    """As ``Store.forfeit``."""
    where, values = "held where account = ? and substr(name, 1, ?) = ?", (account, len(prefix), prefix)
    most = _sum(connection, where, *values)
    if connection.execute(f"delete from {where}", values).rowcount:
        _add(connection, account, most, now)


def standing(connection: sqlite3.Connection, account: str, window: float | None, now: float) -> Standing:
    """As ``Store.standing``."""
    if window is None:
        spent = _sum(connection, "spent where account = ? and minute = ?", account, TOTAL)
        lost = _sum(connection, "held where account = ? and until <= ?", account, now)
    else:
        spent = _sum(connection, "spent where account = ? and minute >= ?", account, first_minute(window, now))
        lost = _sum(connection, "held where account = ? and until <= ? and at > ?", account, now, now - window)
    return Standing(spent.plus(lost), _sum(connection, "held where account = ? and until > ?", account, now))


def _add(connection: sqlite3.Connection, account: str, used: Spend, now: float) -> None:
    for minute in (minute_of(now), TOTAL):
        connection.execute(_ADD, (account, minute, *whole(used)))


def _sum(connection: sqlite3.Connection, source: str, *values: object) -> Spend:
    return spend_of(*connection.execute(_SUM.format(source=source), values).fetchone())
