"""Budgets and prices as data: what they say, and what they cannot say."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from flujo_core import Budget, Limit, Price, Spend, Standing
from flujo_core.model.spend import Most


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "a budget says how much: give one of cost_usd, tokens, requests, tool_calls, wall_time"),
        ({"cost_usd": -1}, "an amount of US dollars is a number, at least 0"),
        ({"cost_usd": "much"}, "an amount of US dollars is a number, at least 0"),
        ({"cost_usd": float("nan")}, "an amount of US dollars is a number, at least 0"),
        ({"cost_usd": True}, "an amount of US dollars is a number, at least 0"),
        ({"tokens": -5}, "greater than or equal to 0"),
        ({"tokens": 5, "window": timedelta(days=1)}, "a budget per run has no window"),
        ({"wall_time": timedelta(seconds=1), "per": "step"}, "wall_time is per run, not per step"),
        ({"wall_time": timedelta()}, "greater than 0"),
        ({"dollars": 3}, "Extra inputs are not permitted"),
    ],
)
def test_a_budget_that_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Budget(**given)


@pytest.mark.parametrize(
    ("budget", "text"),
    [
        (Budget(cost_usd=0.1), "0.1 USD per run"),
        (Budget(tokens=10, requests=2, per="step"), "10 tokens and 2 requests per step"),
        (Budget(tool_calls=1, per="tenant", window=timedelta(hours=1)), "1 tool calls per tenant in 1:00:00"),
        (Budget(wall_time=timedelta(minutes=2)), "120 s per run"),
    ],
)
def test_a_budget_says_what_it_is(budget: Budget, text: str) -> None:
    assert str(budget) == text


def test_an_amount_is_what_was_written() -> None:
    assert Budget(cost_usd=0.1).limit == Limit(Decimal("0.1"))
    assert Budget(tokens=1, per="tenant", window=timedelta(days=1)).limit == Limit(tokens=1, window=86400.0)
    assert not Budget(wall_time=timedelta(seconds=1)).is_of_calls


def test_a_price_adds_up() -> None:
    price = Price(input_usd_per_mtok=1, output_usd_per_mtok=2.5, request_usd=0.01)
    assert price.of(1000, 2000) == Decimal("0.016")


def test_a_limit_names_what_is_exceeded_and_what_is_not_known() -> None:
    limit = Limit(Decimal(1), requests=2)
    assert limit.passed_by(Spend(Decimal(1), 10**9, 2)) is None
    assert limit.passed_by(Spend(Decimal("1.01"))) == "cost_usd"
    assert limit.passed_by(Spend(requests=3)) == "requests"
    assert limit.unknown_in(Most(tokens=None)) is None
    assert limit.unknown_in(Most(Decimal(1), None, None)) == "requests"
    assert Most(None, None, None, None).known == Spend()


def test_what_is_held_may_come_to_nothing_and_what_is_spent_may_not() -> None:
    limit, wanted = Limit(tokens=10), Spend(tokens=5)
    assert Standing(Spend(tokens=5)).has_room(limit, wanted)
    assert not Standing(Spend(tokens=5), Spend(tokens=1)).has_room(limit, wanted)
    assert Standing(Spend(tokens=5), Spend(tokens=1)).could_have_room(limit, wanted)
    assert not Standing(Spend(tokens=6), Spend(tokens=1)).could_have_room(limit, wanted)
    assert not Standing(Spend(tokens=6)).could_have_room(limit, wanted)
