"""What the tests of budgets share: agents whose models are simulated and have prices, and what a journal spent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import RequestUsage

from flujo_core import (
    Budget,
    BudgetRefused,
    BudgetReserved,
    BudgetSettled,
    Flujo,
    Node,
    Parallel,
    PluginSettings,
    Price,
    RunEvent,
    Settings,
    Spend,
    Step,
)

ALONE = Settings(PluginSettings(allow=()))
FORTY = {"function:acme": Price(request_usd=0.4)}
"""Each request to the simulated model ``acme`` costs $0.40."""


class Desk:
    """A simulated model: counts what it is asked, and answers after some turns of the loop."""

    def __init__(
        self, name: str = "acme", *, turns: int = 3, before: Callable[[], Any] | None = None, tokens: int = 10
    ) -> None:
        self.asked = 0
        self.at_once = 0
        self.most_at_once = 0
        self._turns = turns
        self._before = before
        self._tokens = tokens
        self.model = FunctionModel(self._answer, model_name=name)

    async def _answer(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        self.asked += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self._before is not None:
                self._before()
            for _ in range(self._turns):
                await asyncio.sleep(0)
            return ModelResponse(parts=[TextPart("ok")], usage=RequestUsage(input_tokens=self._tokens, output_tokens=1))
        finally:
            self.at_once -= 1

    def step(self, name: str, **keywords: Any) -> Step[str, str]:
        return Step.agent(name, Agent(self.model, **keywords), input=str)

    def fan(self, count: int, **keywords: Any) -> Node[str, Any]:
        return Parallel("fan", **{f"b{n}": self.step(f"b{n}") for n in range(count)}, **keywords)


def metered(node: Node[Any, Any], *budgets: Budget, **keywords: Any) -> Flujo[Any, Any, Any]:
    return Flujo(node, settings=ALONE, **{"budgets": budgets, "prices": FORTY, **keywords})


def told(events: Sequence[RunEvent]) -> list[BudgetReserved | BudgetSettled | BudgetRefused]:
    """What the events say of budgets."""
    return [one for one in events if isinstance(one, BudgetReserved | BudgetSettled | BudgetRefused)]


def check_never_over(events: Sequence[RunEvent], limit: Decimal) -> Spend:
    """Checks that what is spent and held never exceeds a limit; gives what is spent."""
    spent, held = Spend(), dict[str, Spend]()
    for one in told(events):
        if isinstance(one, BudgetReserved):
            held[one.hold] = one.most
        elif isinstance(one, BudgetSettled):
            held.pop(one.hold)
            spent = spent.plus(one.used)
        assert spent.cost_usd + sum(each.cost_usd for each in held.values()) <= limit
    return spent
