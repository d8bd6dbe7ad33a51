"""Tools by the names that plugins registered them by. Models are simulated."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from agent_calls import Script, calling
from pydantic_ai.messages import ToolReturnPart
from pydantic_ai.models.test import TestModel

from flujo_core import (
    AgentBuilder,
    ConfigurationError,
    DefinitionError,
    EdgeError,
    Flujo,
    FlujoTool,
    PipelineContext,
    Plugin,
    PluginLoadError,
    Registry,
    RunInfo,
    Step,
    step,
    tool,
)
from flujo_core.agents.named_tools import NamedTools
from flujo_core.model.fingerprint import fingerprint


class Desk(PipelineContext):
    found: int = 0


@tool
async def find(number: str, *, info: RunInfo, context: Desk) -> str:
    """Finds an order."""
    context.found += 1
    return f"{number} at {info.address}"


@tool(requires_approval=True)
async def pay(amount: int) -> str:
    return f"paid {amount}"


@step
async def shout(text: str) -> str:
    return text.upper()


def registering(name: str = "acme", **things: Any) -> Plugin:
    def register(self: Plugin, registry: Registry[Any], /) -> None:
        for short, target in things.items():
            registry.add(short, target)

    made: Plugin = type("Registering", (Plugin,), {"name": name, "register_tools": register})()
    return made


ACME = registering(find_order=find, pay=pay)


@pytest.mark.parametrize("name", ["acme/find_order", "find_order"])
@pytest.mark.parametrize("store", [None, "memory://"])
def test_an_agent_calls_a_tool_that_it_names(name: str, store: str | None) -> None:
    script = Script(calling(("find", {"number": "a7"})), "Done")
    agent = AgentBuilder().with_model(script.model).with_tool(name).build()
    result = Flujo(Step.agent("ask", agent), context=Desk, store=store, plugins=[ACME]).run("?")
    parts = [part for message in script.requests[-1] for part in message.parts if isinstance(part, ToolReturnPart)]
    assert [part.content for part in parts] == ["a7 at ask!tool.c1"]
    assert (result.output, result.context.found) == ("Done", 1)


def test_an_agent_that_a_plugin_registered_may_name_tools_too() -> None:
    class Both(Plugin):
        name = "both"

        def register_agents(self, registry: Registry[Any], /) -> None:
            script = Script(calling(("find", {"number": "a7"})), "Done")
            registry.add("clerk", AgentBuilder().with_model(script.model).with_tool("acme/find_order").build())

    flujo = Flujo(Step.agent("ask", "both/clerk"), context=Desk, plugins=[Both(), ACME])
    assert flujo.run("?").context.found == 1


def test_a_named_tool_that_needs_approval_asks() -> None:
    script = Script(calling(("pay", {"amount": 5})), "Done")
    agent = AgentBuilder().with_model(script.model).with_tool("acme/pay").build()

    async def main() -> None:
        async with Flujo(Step.agent("ask", agent), store="memory://", plugins=[ACME]) as flujo:
            assert (await flujo.run_async("?", run_id="r")).questions[0].address == "ask!tool.c1"
            assert (await flujo.resume_async("r", True)).output == "Done"

    asyncio.run(main())


def test_a_name_that_is_not_registered_is_found_when_the_flujo_is_made() -> None:
    agent = AgentBuilder().with_model(TestModel()).with_tool("acme/find_ordr").build()
    with pytest.raises(ConfigurationError, match=r"the agent of step 'ask' names a tool .* did you mean"):
        Flujo(Step.agent("ask", agent), context=Desk, plugins=[ACME])


def test_what_a_named_tool_takes_is_checked() -> None:
    agent = AgentBuilder().with_model(TestModel()).with_tool("acme/find_order").build()
    with pytest.raises(DefinitionError, match="context of type 'Desk'"):
        Flujo(Step.agent("ask", agent), plugins=[ACME])


def test_without_a_flujo_an_agent_says_that_it_lacks_the_tool() -> None:
    agent = AgentBuilder().with_model(TestModel()).with_tool("acme/find_order").build()
    with pytest.raises(DefinitionError, match="has the tool 'acme/find_order' by its name"):
        asyncio.run(agent.run("?"))


def test_a_builder_takes_a_name_once_and_shows_it() -> None:
    builder = AgentBuilder().with_tool("acme/find_order")
    assert "acme/find_order" in repr(builder)
    with pytest.raises(DefinitionError, match="is there already"):
        builder.with_tool("acme/find_order")
    with pytest.raises(DefinitionError, match="says itself"):
        builder.with_tool("acme/pay", approval=True)


def test_another_name_is_another_agent() -> None:
    def asking(name: str) -> str:
        return fingerprint(Step.agent("ask", AgentBuilder().with_model(TestModel()).with_tool(name).build()))

    assert asking("acme/pay") == asking("acme/pay") != asking("acme/find_order")


def test_a_registered_tool_runs_as_a_step() -> None:
    found = Step.registered("acme/find_order", takes=str, gives=str)
    result = Flujo(shout >> found, context=Desk, plugins=[ACME]).run("a7")
    assert (result.output, result.context.found) == ("A7 at find_order", 1)


def test_a_registered_tool_that_needs_approval_asks_as_a_step() -> None:
    async def main() -> None:
        paid = Step.registered("acme/pay", takes=int, gives=str).policy(timeout=60)
        async with Flujo(paid >> shout, store="memory://", plugins=[ACME]) as flujo:
            assert (await flujo.run_async(5, run_id="r")).questions[0].address == "pay/approve"
            assert (await flujo.resume_async("r", True)).output == "PAID 5"

    asyncio.run(main())


def test_a_step_comes_before_a_tool_of_the_same_name() -> None:
    class Both(Plugin):
        name = "acme"

        def register_steps(self, registry: Registry[Step[Any, Any]], /) -> None:
            registry.add("find_order", shout)

        def register_tools(self, registry: Registry[FlujoTool[Any, Any]], /) -> None:
            registry.add("find_order", find)

    found = Step.registered("acme/find_order", takes=str, gives=str)
    assert Flujo(found, plugins=[Both()]).run("a").output == "A"


def test_what_is_declared_of_a_registered_tool_is_checked() -> None:
    with pytest.raises(EdgeError, match="declared to give 'int'"):
        Flujo(Step.registered("acme/find_order", takes=str, gives=int), context=Desk, plugins=[ACME])


def test_only_tools_are_registered_as_tools() -> None:
    with pytest.raises(PluginLoadError, match="which is none"):
        Flujo(shout, plugins=[registering(find_order=find.as_tool())])


def test_names_hold_no_tools_themselves() -> None:
    with pytest.raises(NotImplementedError):
        asyncio.run(NamedTools(["acme/pay"]).call_tool("pay", {}, None, None))
