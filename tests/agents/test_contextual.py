"""Agents that are built of what their step is given, just before they run."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from crash_kit import crashed, done, durable, events_in
from flow_kit import alone, ran
from plugin_kit import plugin
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel

from flujo_core import (
    AuthorizationRequest,
    ContextualAgentFactory,
    Decision,
    DefinitionError,
    EdgeError,
    From,
    InvalidValue,
    MemoryStore,
    Pipeline,
    PipelineContext,
    RunInfo,
    RunRefused,
    Step,
    step,
)
from flujo_core.model.agent import model_name
from flujo_core.model.manifest import Manifest


class Letter(BaseModel):
    language: str
    text: str


class Desk(PipelineContext):
    tone: str = "kind"


def saying(text: str) -> Agent[None, str]:
    return Agent(TestModel(custom_output_text=text))


def by_language(letter: Letter, context: Desk, info: RunInfo) -> Agent[None, str]:
    return saying(f"{letter.language} {context.tone} {info.address}")


@step
async def write(text: str) -> Letter:
    return Letter(language="fi", text=text)


NAME = model_name(TestModel())
answer = Step.agent("answer", ContextualAgentFactory(by_language), prompt="{{ input.text }}")


def test_an_agent_is_built_of_the_input_the_context_and_the_runs_info() -> None:
    assert (answer.takes, answer.gives) == (Letter, str)
    assert ran(write >> answer, "hello", context=Desk).output == "fi kind answer"


def test_a_builder_may_be_async_and_take_named_inputs_and_the_input_as_the_prompt() -> None:
    async def build(text: str, *, letter: Annotated[Letter, From(write)]) -> Agent[None, str]:
        return saying(f"{letter.language}: {text}")

    @step
    async def body(letter: Letter) -> str:
        return letter.text

    node: Pipeline[str, str] = write >> body >> Step.agent("answer", ContextualAgentFactory(build))
    assert ran(node, "hello").output == "fi: hello"


def test_the_output_type_is_that_of_the_agents_it_gives_or_is_given() -> None:
    def lists(text: str) -> Agent[None, list[int]]:
        return Agent(TestModel(custom_output_args=[1, 2]), output_type=list[int])

    def untold(text: str) -> Any:
        return lists(text)

    assert ran(Step.agent("it", ContextualAgentFactory(lists)), "x").output == [1, 2]
    given: Any = ContextualAgentFactory(untold, output_type=list)
    assert Step.agent("it", given).gives is list and ran(Step.agent("it", given), "x").output == [1, 2]


def untyped(text: str):  # type: ignore[no-untyped-def]
    return saying(text)


def unknown(text: str) -> NoSuchName:  # type: ignore[name-defined]  # noqa: F821
    return saying(text)


@pytest.mark.parametrize("build", [untyped, unknown, 5])
def test_a_builder_that_does_not_say_what_it_gives_is_refused(build: Any) -> None:
    with pytest.raises(DefinitionError, match=r"annotate it, as in|takes a function, not 'int'"):
        ContextualAgentFactory(build)


def test_a_prompt_of_another_input_is_refused() -> None:
    with pytest.raises(DefinitionError, match="takes 'str', and its agent is built of 'Letter'"):
        Step.agent("it", ContextualAgentFactory(by_language))
    with pytest.raises(EdgeError):
        answer >> answer.named("again")


def test_what_is_built_and_is_no_agent_fails_the_step() -> None:
    def wrong(text: str) -> Agent[None, str]:
        return "CANARY"  # type: ignore[return-value]

    found = ran(Step.agent("it", ContextualAgentFactory(wrong)), "x")
    assert isinstance(found.cause, InvalidValue) and "its builder gave 'str'" in str(found.cause)
    assert "CANARY" not in str(found.error)


def test_a_plugin_is_asked_to_authorize_the_model_that_was_built() -> None:
    asked: list[str | None] = []

    async def authorize(self: Any, request: AuthorizationRequest, /) -> Decision | None:
        if request.action == "run_step":
            asked.append(request.model)
        return Decision.deny("not that one") if request.model is not None else None

    found = ran(write >> answer, "x", context=Desk, plugins=[plugin("guard", authorize=authorize)])
    assert isinstance(found.error, RunRefused) and asked == [None, None, NAME]


def test_the_digest_of_what_was_built_is_journaled_and_another_agent_begins_anew() -> None:
    asked: list[str] = []

    def model(name: str) -> FunctionModel:
        async def answers(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
            asked.append(name)
            return ModelResponse([TextPart(name)])

        return FunctionModel(answers, model_name=name)

    def node(name: str) -> Any:
        def build(text: str) -> Agent[None, str]:
            return Agent(model(name))

        return Step.agent("it", ContextualAgentFactory(build))

    async def main() -> None:
        for at in range(1, 20):
            store = MemoryStore()
            assert await crashed(node("one"), "x", store, at)
            calls = [one.address for one in await events_in(store) if one.kind == "call_completed"]
            if len(calls) == 2:
                break
        assert calls[0] == "it!agent"
        asked.clear()
        assert (await durable(node("two"), store).resume_async("r")).output == "two" and asked == ["two"]
        store = MemoryStore()
        assert await crashed(node("one"), "x", store, at)
        asked.clear()
        assert (await durable(node("one"), store).resume_async("r")).output == "one" and asked == []

    done(main())


def test_without_a_store_nothing_is_recorded_of_it() -> None:
    assert alone(write >> answer, context=Desk).run("x").output == "fi kind answer"
    assert repr(ContextualAgentFactory(by_language)) == "<ContextualAgentFactory>"


def test_another_builder_is_another_body() -> None:
    def other(letter: Letter, context: Desk, info: RunInfo) -> Agent[None, str]:
        return saying("other")

    one, two = (
        Manifest.of(Step.agent("answer", ContextualAgentFactory(build), prompt="{{ input.text }}")).to_json()
        for build in (by_language, other)
    )
    assert one != two
