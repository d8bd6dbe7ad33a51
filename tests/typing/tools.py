"""What the checkers see of tools: what their steps take and give, and what agents take."""

from __future__ import annotations

from typing import Any, assert_type

from pydantic import BaseModel
from pydantic_ai import Agent, Tool

from flujo_core import AgentBuilder, Flujo, FlujoTool, Node, RunInfo, step, tool


class Order(BaseModel):
    number: str


@tool
async def find(number: str) -> Order:
    return Order(number=number)


@tool(requires_approval=True)
def pay(order: Order) -> int:
    return 1


@tool
async def several(number: str, lines: int, *, info: RunInfo) -> Order:
    return Order(number=number)


@step
async def shout(text: str) -> str:
    return text.upper()


assert_type(find, FlujoTool[str, Order])
assert_type(pay, FlujoTool[Order, int])
assert_type(several, FlujoTool[Any, Order])
assert_type(find.as_step(), Node[str, Order])
assert_type(Flujo(shout >> find.as_step() >> pay.as_step()).run("a").output, int)
assert_type(find.as_tool(), Tool[Any])
assert_type(Flujo(shout).as_tool(name="shout", description="Shouts."), Tool[Any])

agent = Agent("test", tools=[find.as_tool(), several.as_tool()])
assert_type(AgentBuilder().with_tool(find).build(), Agent[None, str])

shout >> pay.as_step()  # type: ignore[operator] # pyright: ignore[reportOperatorIssue]
