"""Ledgers: the ones in SQLite say what the ones in memory say, whatever happens, and neither lets a limit be passed."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from flujo_core import Hold, Limit, Spend, Standing
from flujo_core.store import sqlite_ledger
from flujo_core.store.ledger import Ledgers

NAMES = st.sampled_from(["a-1", "a-2", "b-1", "b-2"])
AMOUNTS = st.builds(lambda cents, tokens: Spend(Decimal(cents) / 100, tokens), st.integers(0, 9), st.integers(0, 9))
WINDOWS = st.sampled_from([None, 30.0, 120.0, 7200.0])
STEPS = st.one_of(
    st.tuples(st.just("reserve"), NAMES, AMOUNTS, st.sampled_from([1.0, 90.0]), WINDOWS),
    st.tuples(st.just("settle"), NAMES, AMOUNTS),
    st.tuples(st.just("forfeit"), st.sampled_from(["a-", "b-", "c-"])),
    st.tuples(st.just("wait"), st.floats(0.5, 100)),
)
LIMIT = Limit(Decimal("0.2"), 20)


@given(st.lists(STEPS, max_size=40))
@settings(deadline=None)
def test_a_ledger_in_sqlite_says_what_one_in_memory_says(steps: list[tuple[Any, ...]]) -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for statement in sqlite_ledger.LEDGER.split(";\n"):
        connection.execute(statement)
    memory, now, held = Ledgers(), 1_000_000.0, set[str]()
    for kind, *given_ in steps:
        if kind == "wait":
            now += given_[0]
        elif kind == "settle":
            memory.settle("t", *given_, now)
            sqlite_ledger.settle(connection, "t", *given_, now)
            held.discard(given_[0])
        elif kind == "forfeit":
            memory.forfeit("t", given_[0], now)
            sqlite_ledger.forfeit(connection, "t", given_[0], now)
            held = {one for one in held if not one.startswith(given_[0])}
        elif given_[0] not in held:
            name, most, ttl, window = given_
            hold, limits = Hold("t", name, most, ttl), [LIMIT._replace(window=window)]
            short = memory.reserve(hold, limits, now)
            assert sqlite_ledger.reserve(connection, hold, limits, now) == short
            if short is None:
                held.add(name)
                found = memory.standing("t", window, now)
                assert LIMIT.passed_by(found.spent.plus(found.held)) is None
        for window in (None, 30.0, 120.0, 7200.0):
            assert sqlite_ledger.standing(connection, "t", window, now) == memory.standing("t", window, now)
    connection.close()


def test_what_was_spent_counts_until_its_minute_is_out_of_the_window() -> None:
    ledgers = Ledgers()
    ledgers.reserve(Hold("t", "a", Spend(tokens=5), 60.0), [], 600.0)
    ledgers.settle("t", "a", Spend(tokens=4), 630.0)
    assert [ledgers.standing("t", 60.0, now).spent.tokens for now in (640.0, 700.0, 719.0, 720.0)] == [4, 4, 4, 0]
    assert ledgers.standing("t", None, 10**9).spent.tokens == 4


def test_what_the_dead_have_held_leaves_the_window_with_the_time_at_which_it_was_held() -> None:
    ledgers = Ledgers()
    ledgers.reserve(Hold("t", "a", Spend(tokens=5), 10.0), [], 600.0)
    assert ledgers.standing("t", 60.0, 605.0) == Standing(held=Spend(tokens=5))
    assert ledgers.standing("t", 60.0, 611.0) == Standing(Spend(tokens=5))
    assert ledgers.standing("t", 60.0, 661.0) == Standing()
    assert ledgers.standing("t", None, 661.0) == Standing(Spend(tokens=5))
