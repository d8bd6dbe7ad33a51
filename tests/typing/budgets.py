"""Budgets and prices, as type checkers see them: amounts of money may be written as numbers."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from flujo_core import Budget, BudgetExceeded, Flujo, Price, step


@step
async def answer(question: str) -> str:
    return question


metered = Flujo(
    answer,
    budgets=[
        Budget(cost_usd=0.5),
        Budget(cost_usd=Decimal("50"), per="tenant", window=timedelta(days=1)),
        Budget(tokens=1000, requests=5, tool_calls=3, per="step", when_short="refuse", unpriced="allow"),
        Budget(wall_time=timedelta(minutes=5)),
    ],
    prices={"acme:*": Price(input_usd_per_mtok=1.1, output_usd_per_mtok=Decimal("4.4"), context_window=4096)},
)


async def run() -> str:
    try:
        return (await metered.run_async("why?", tenant="acme")).output
    except BudgetExceeded as error:
        return error.result.status
