"""What plugins contribute to agents: pydantic-ai capabilities; one that would not be called is refused at load."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from plugin_kit import alone
from pydantic_ai import Agent
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo as ModelInfo
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.test import TestModel

from flujo_core import (
    AgentInfo,
    AgentReply,
    Plugin,
    PluginError,
    PluginLoadError,
    Registry,
    Retry,
    RunFailed,
    RunInfo,
    Step,
    step,
)


class Marking(AbstractCapability[Any]):
    """Marks each run of the agent with a word and what Flujo says of the run."""

    def __init__(self, word: str, marks: list[tuple[str, Any]]) -> None:
        self.word = word
        self.marks = marks

    async def before_run(self, ctx: Any) -> None:
        self.marks.append((self.word, (ctx.metadata or {}).get("flujo")))


class Giving(Plugin):
    """Gives each agent what the function makes for it."""

    def __init__(self, name: str, give: Callable[[AgentInfo], Any]) -> None:
        self.name = name  # type: ignore[misc]
        self.give = give
        self.asked: list[AgentInfo] = []

    def agent_capabilities(self, agent: AgentInfo, /) -> Sequence[object]:
        self.asked.append(agent)
        given: Sequence[object] = self.give(agent)
        return given


def agent(**keywords: Any) -> Agent[None, str]:
    return Agent(TestModel(custom_output_text="leaves"), **keywords)


class Parrot:
    async def run(self, input: str, /, *, info: RunInfo) -> AgentReply[str]:
        return AgentReply(input)


@step
async def plain(text: str) -> str:
    return text


def test_capabilities_are_asked_for_when_a_flujo_is_made_for_each_pydantic_ai_agent_of_the_pipeline() -> None:
    class Registering(Plugin):
        name = "acme"

        def register_agents(self, registry: Registry[Any], /) -> None:
            registry.add("writer", agent())

    giving = Giving("p", lambda info: [])
    named = Agent("openai:gpt-5", defer_model_check=True)
    pipeline = (
        plain >> Step.agent("a b", agent()) >> Step.agent("parrot", Parrot()) >> Step.agent("named", named)
        >> Step.agent("write", "acme/writer")
    ).named("all")  # fmt: skip
    flujo = alone(pipeline, giving, Registering())
    assert giving.asked == [
        AgentInfo("all/a%20b", "a b", "test:test"),
        AgentInfo("all/named", "named", "openai:gpt-5"),
        AgentInfo("all/write", "write", "test:test"),
    ]
    giving.asked.clear()
    with pytest.raises(RunFailed):  # there is no key for the model
        flujo.run("x")
    assert giving.asked == [], "asked again for a run"


def test_capabilities_take_part_in_each_of_the_agents_runs_and_know_which_run_it_is() -> None:
    marks: list[tuple[str, Any]] = []
    giving = Giving("p", lambda info: [Marking(info.step_name, marks)])
    pipeline = (Step.agent("draft", agent()) >> Step.agent("polish", agent())).named("all")
    flujo = alone(pipeline, giving)
    for run_id in ("r1", "r2"):
        assert flujo.run("x", run_id=run_id, tenant="t").output == "leaves"
    assert marks == [
        (name, {"run_id": run_id, "tenant": "t", "subject": "", "address": f"all/{name}", "attempt": 1})
        for run_id in ("r1", "r2")
        for name in ("draft", "polish")
    ]


def test_capabilities_know_which_attempt_it_is() -> None:
    marks: list[tuple[str, Any]] = []
    calls: list[int] = []

    def flaky(messages: list[ModelMessage], info: ModelInfo) -> ModelResponse:
        calls.append(1)
        if len(calls) < 2:
            raise ModelHTTPError(503, "m")
        return ModelResponse(parts=[TextPart("ok")])

    asked = Step.agent("ask", Agent(FunctionModel(flaky)), retry=Retry(attempts=2))
    assert alone(asked, Giving("p", lambda info: [Marking("m", marks)])).run("x", run_id="r").output == "ok"
    assert [flujo["attempt"] for _, flujo in marks] == [1, 2]


def test_capabilities_of_plugins_come_after_the_agents_own_and_in_the_order_of_the_plugins() -> None:
    marks: list[tuple[str, Any]] = []
    own = agent(capabilities=[Marking("own", marks)])
    plugins = [Giving(name, lambda info, name=name: [Marking(name, marks)]) for name in "ba"]  # type: ignore[misc]
    alone(Step.agent("ask", own), *plugins).run("x")
    assert [word for word, _ in marks] == ["own", "a", "b"]


def test_an_agent_that_is_used_outside_has_no_capabilities_of_plugins() -> None:
    marks: list[tuple[str, Any]] = []
    mine = agent()
    alone(Step.agent("ask", mine), Giving("p", lambda info: [Marking("m", marks)])).run("x")
    assert asyncio.run(mine.run("x")).output == "leaves" and len(marks) == 1


def test_a_capability_can_replace_what_the_model_would_have_said() -> None:
    class Answering(AbstractCapability[Any]):
        async def wrap_model_request(self, ctx: Any, *, request_context: Any, handler: Any) -> ModelResponse:
            return ModelResponse(parts=[TextPart("no model was asked")])

    def never(messages: list[ModelMessage], info: ModelInfo) -> ModelResponse:
        raise AssertionError

    asked = Step.agent("ask", Agent(FunctionModel(never)))
    assert alone(asked, Giving("p", lambda info: [Answering()])).run("x").output == "no model was asked"


# ------------------------------------------------------------------------------------ refused


def overriding(method: str, *, inherited: bool = False) -> AbstractCapability[Any]:
    """A capability whose class overrides ``method``, or gets it from a class that it is made from."""

    async def override(self: Any, *args: Any, **keywords: Any) -> None: ...

    space = {method: override}
    bases: tuple[type, ...] = (type("Mixin", (), space), AbstractCapability) if inherited else (AbstractCapability,)
    made: AbstractCapability[Any] = type("Guard", bases, {} if inherited else space)()
    return made


@pytest.mark.parametrize("inherited", [False, True])
@pytest.mark.parametrize(
    "method",
    [
        "before_modle_request", "after_everything", "wrap_model_requests", "on_model_error", "prepare_model_requests",
        "get_instruction", "handle_refusal",
    ],
)  # fmt: skip
def test_a_capability_that_overrides_what_the_installed_pydantic_ai_does_not_have_is_refused(
    method: str, inherited: bool
) -> None:
    with pytest.raises(PluginLoadError) as refused:
        alone(Step.agent("ask", agent()), Giving("guard", lambda info: [overriding(method, inherited=inherited)]))
    said = str(refused.value)
    assert "'guard'" in said and "Guard" in said and method in said


def test_the_refusal_of_a_capability_says_the_plugins_state() -> None:
    with pytest.raises(PluginLoadError, match="refused"):
        alone(Step.agent("ask", agent()), Giving("guard", lambda info: [overriding("before_modle_request")]))


@pytest.mark.parametrize("inherited", [False, True])
def test_a_capability_that_overrides_what_there_is_and_has_helpers_of_its_own_is_taken(inherited: bool) -> None:
    for method in ("before_run", "before_model_request", "_before_anything", "count", "beforehand"):
        alone(Step.agent("ask", agent()), Giving("guard", lambda info, m=method: [overriding(m, inherited=inherited)]))  # type: ignore[misc]


def test_a_capability_that_would_not_be_called_is_refused_whichever_agent_it_is_for() -> None:
    def give(info: AgentInfo) -> list[Any]:
        return [overriding("before_modle_request")] if info.step_name == "last" else []

    with pytest.raises(PluginLoadError, match="guard"):
        alone(Step.agent("first", agent()) >> Step.agent("last", agent()), Giving("guard", give))


@pytest.mark.parametrize(
    "odd", [[object()], [5], None, 5, [AbstractCapability]], ids=lambda one: repr(one).partition(" at 0x")[0]
)
def test_what_is_no_capability_is_refused(odd: Any) -> None:
    with pytest.raises(PluginLoadError, match="guard"):
        alone(Step.agent("ask", agent()), Giving("guard", lambda info: odd))


def test_agent_capabilities_that_raises_refuses_the_start() -> None:
    with pytest.raises((PluginLoadError, PluginError), match="guard") as refused:
        alone(Step.agent("ask", agent()), Giving("guard", lambda info: [][0]))
    assert "agent_capabilities" in str(refused.value)


def test_without_a_pydantic_ai_agent_nothing_is_asked() -> None:
    giving = Giving("p", lambda info: [object()])
    assert alone(plain >> Step.agent("parrot", Parrot()), giving).run("x").output == "x" and giving.asked == []
