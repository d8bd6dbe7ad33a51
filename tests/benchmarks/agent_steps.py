"""What a step adds to an agent: the same agent, whose model is simulated (TestModel), in a run and by itself."""

from __future__ import annotations

from measure import Ratio, compare
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel

from flujo_core import Flujo, Step


async def measure() -> list[Ratio]:
    agent = Agent(TestModel(custom_output_text="It is well."))
    flujo = Flujo(Step.agent("ask", agent))

    async def ours() -> None:
        assert (await flujo.run_async("How is it?")).output == "It is well."

    async def plain() -> None:
        assert (await agent.run("How is it?")).output == "It is well."

    return [await compare("a run of one agent step, against agent.run", ours, plain, per=1, limit=1.05)]
