"""Capabilities of plugins: one that pydantic-ai would not call, or could not, is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic_ai import Agent
from pydantic_ai.capabilities import AbstractCapability, CombinedCapability
from pydantic_ai.models.test import TestModel

from flujo_core import AgentInfo, Flujo, Plugin, PluginLoadError, PluginSettings, Settings, Step
from flujo_core.agents.pydantic_ai import capability_flaw


class Fine(AbstractCapability[Any]):
    helper_on = None

    async def before_model_request(self, ctx: Any, request_context: Any) -> Any:
        return request_context

    async def wrap_run(self, ctx: Any, **keywords: Any) -> Any:
        return await keywords["handler"]()

    def get_instructions(self) -> str:
        return "Be brief."

    def count(self) -> int:
        return 1


class Misspelt(AbstractCapability[Any]):
    async def before_modle_request(self, ctx: Any, request_context: Any) -> Any: ...


class NotAsync(AbstractCapability[Any]):
    def before_model_request(self, ctx: Any, request_context: Any) -> Any: ...


class Async(AbstractCapability[Any]):
    async def get_instructions(self) -> str:
        return ""


class TooFew(AbstractCapability[Any]):
    async def after_run(self, ctx: Any) -> Any: ...


@pytest.mark.parametrize(
    ("capability", "said"),
    [
        (Fine(), None),
        (Misspelt(), "'Misspelt', whose method 'before_modle_request' the installed pydantic-ai"),
        (NotAsync(), "'NotAsync', whose method 'before_model_request' must be async"),
        (Async(), "'Async', whose method 'get_instructions' is async"),
        (TooFew(), "'TooFew', whose method 'after_run' cannot be called as pydantic-ai calls it"),
        (CombinedCapability([Fine(), Misspelt()]), "'Misspelt'"),
        (5, "a 'int', which is no pydantic-ai capability"),
    ],
)
def test_what_would_not_be_called_is_named(capability: Any, said: str | None) -> None:
    found = capability_flaw(capability)
    assert found is None if said is None else said in (found or "")


class Giving(Plugin):
    name = "giving"

    def __init__(self, given: Any) -> None:
        self._given = given

    def agent_capabilities(self, agent: AgentInfo, /) -> Any:
        return self._given() if callable(self._given) else self._given


def ask(given: Any, policy: Any = "closed") -> Any:
    agent = Agent(TestModel(custom_output_text="hello"))
    settings = Settings(PluginSettings(allow=(), policies={"giving": policy}))
    return Flujo(Step.agent("ask", agent), plugins=[Giving(given)], settings=settings).run("x").output


def test_a_fine_one_takes_part() -> None:
    assert ask([Fine()]) == "hello" and ask([]) == "hello"


@pytest.mark.parametrize("given", [[Misspelt()], [5], 5, lambda: 1 / 0])
def test_one_that_is_not_refuses_the_start_and_is_left_out_where_the_policy_is_open(
    given: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(PluginLoadError, match=r"plugin 'giving' is refused: its 'agent_capabilities'"):
        ask(given)
    assert ask(given, "open") == "hello" and "plugin.left_out" in capsys.readouterr().err
