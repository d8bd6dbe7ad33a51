"""Agents that stream into the next step: their text, or what there is of their output."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from crash_kit import crashed, done, durable, events_in
from flow_kit import alone, ran
from plugin_kit import plugin
from pydantic import BaseModel
from pydantic_ai import Agent, PromptedOutput
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from pydantic_ai.models.test import TestModel

from flujo_core import (
    AgentReply,
    Chunk,
    DefinitionError,
    Flujo,
    InvalidValue,
    MemoryStore,
    PluginSettings,
    RunInfo,
    Settings,
    Step,
    StepCall,
    StepResult,
    Timeout,
    Usage,
    step,
)


class Recipe(BaseModel):
    title: str = ""
    steps: list[str] = []


def writing(pieces: Sequence[str]) -> FunctionModel:
    """A simulated model that writes the arguments of its output tool in these pieces."""

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[dict[int, DeltaToolCall]]:
        yield {0: DeltaToolCall(info.output_tools[0].name, pieces[0])}
        for piece in pieces[1:]:
            yield {0: DeltaToolCall(json_args=piece)}

    return FunctionModel(stream_function=stream)


TEA = ['{"title": "Te', 'a", "steps": ["boil', '", "pour"', "]}"]
text = Step.agent("say", Agent(TestModel(custom_output_text="all about tea"))).streaming()
recipe = Step.agent("write", Agent(writing(TEA), output_type=Recipe)).streaming()


@step
async def upper(pieces: AsyncIterator[str]) -> AsyncIterator[str]:
    async for piece in pieces:
        yield piece.upper()


@step
async def titles(recipes: AsyncIterator[Recipe]) -> list[str]:
    return [f"{one.title}: {' '.join(one.steps)}" async for one in recipes]


def test_the_text_of_an_agent_streams_into_the_next_step() -> None:
    async def main() -> None:
        async with alone(text >> upper).stream("x") as run:
            found = [(event.address, event.text) async for event in run if isinstance(event, Chunk)]
        assert found[:3] == [("say", "all "), ("upper", "ALL "), ("say", "about ")]
        assert run.result.output == "ALL ABOUT TEA"

    asyncio.run(main())
    assert ran(text, "x").output == "all about tea"


def test_structured_output_streams_as_partial_objects_and_last_as_a_whole() -> None:
    assert ran(recipe >> titles, "x").output == ["Te: ", "Tea: boil", "Tea: boil pour", "Tea: boil pour"]
    assert ran(recipe, "x").output == Recipe(title="Tea", steps=["boil", "pour"])


@pytest.mark.parametrize(
    ("kind", "pieces", "expected"),
    [
        (list[int], ['{"respo', 'nse": [1', ", 2]}"], [[1], [1, 2], [1, 2]]),
        (Recipe, ["nonsense", ""], None),
        (Recipe, ['{"steps": 5', "}"], None),
    ],
)
def test_what_is_not_valid_yet_is_not_told(kind: Any, pieces: list[str], expected: Any) -> None:
    @step
    async def keep(pieces: AsyncIterator[Any]) -> list[Any]:
        return [one async for one in pieces]

    node = Step.agent("write", Agent(writing(pieces), output_type=kind, retries=0)).streaming() >> keep
    found = ran(node, "x")
    assert found.error is not None if expected is None else found.output == expected


def test_a_text_answer_that_is_json_by_prompt_streams_too() -> None:
    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        for piece in TEA:
            yield piece

    agent: Agent[None, Recipe] = Agent(FunctionModel(stream_function=stream), output_type=PromptedOutput(Recipe))
    assert ran(Step.agent("write", agent).streaming() >> titles, "x").output[-1] == "Tea: boil pour"


def test_a_plugin_sees_each_piece_and_what_left_is_the_output() -> None:
    async def mask(self: Any, call: StepCall, chunk: Chunk, /) -> Chunk | None:
        if chunk.last:
            return None
        return chunk.replace(text=chunk.text.replace("tea", "***"), item=chunk.item and Recipe(title="***"))

    made = plugin("mask", transform_chunk=mask)
    assert ran(text, "x", plugins=[made]).output == "all about ***"
    assert ran(text >> upper, "x", plugins=[made]).output == "ALL ABOUT ***"
    assert ran(recipe, "x", plugins=[made]).output == Recipe(title="***")
    assert ran(recipe >> titles, "x", plugins=[made]).output == ["***: "] * 4


def test_a_plugin_that_looks_at_the_whole_only_holds_the_pieces_back() -> None:
    async def post(self: Any, call: StepCall, result: StepResult, /) -> StepResult | None:
        return result.replace(output=Recipe(title="seen")) if call.step_name == "write" else None

    made = plugin("post", post_step_execution=post)
    assert ran(recipe >> titles, "x", plugins=[made]).output == ["seen: "]
    assert ran(text >> upper, "x", plugins=[made]).output == "ALL ABOUT TEA"


def test_an_agent_that_is_resumed_streams_what_the_journal_has_of_it() -> None:
    async def main() -> None:
        asked = 0

        async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
            nonlocal asked
            asked += 1
            yield "all "
            yield "of it"

        node = Step.agent("say", Agent(FunctionModel(stream_function=stream))).streaming() >> upper
        at = 1
        while await crashed(node, "x", store := MemoryStore(), at):
            if any(one.kind == "call_completed" for one in await events_in(store)):
                before = asked
                assert (await durable(node, store).resume_async("r")).output == "ALL OF IT"
                assert asked == before
                return
            at += 1
        raise AssertionError("no crash behind the call")

    done(main())


def test_a_step_that_wants_no_more_ends_an_agents_stream() -> None:
    @step
    async def first(pieces: AsyncIterator[str]) -> str:
        return await anext(pieces)

    assert ran(text >> first, "x").output == "all "


class Speaker:
    """An agent of another library, simulated."""

    def __init__(self, *given: Any) -> None:
        self.given = given

    async def run(self, input: str, /, *, info: RunInfo) -> AgentReply[str]:
        return AgentReply("run")

    async def stream(self, input: str, /, *, info: RunInfo) -> AsyncIterator[str | AgentReply[str]]:
        for one in self.given:
            await asyncio.sleep(0)
            yield one


def speaks(*given: Any, **policies: Any) -> Any:
    return Step.agent("speak", Speaker(*given), **policies).streaming()


@pytest.mark.parametrize("given", [("a", "b", AgentReply("ab")), (AgentReply("ab"),), ("a", AgentReply("ab"))])
def test_an_agent_of_another_kind_streams_by_the_protocol(given: Any) -> None:
    assert ran(speaks(*given) >> upper, "x").output == "AB"
    found = ran(speaks(*given[:-1], AgentReply("ab", Usage(requests=2)), timeout=Timeout(idle=5)), "x")
    assert found.output == "ab" and found.one("step_completed", "speak").usage == Usage(requests=2)


def test_an_agent_of_another_kind_may_stream_partial_objects() -> None:
    class Writer:
        async def run(self, input: str, /, *, info: RunInfo) -> AgentReply[Recipe]:
            return AgentReply(Recipe())

        async def stream(self, input: str, /, *, info: RunInfo) -> AsyncIterator[Recipe | AgentReply[Recipe]]:
            yield Recipe(title="Te")
            yield AgentReply(Recipe(title="Tea"))

    assert ran(Step.agent("write", Writer()).streaming() >> titles, "x").output == ["Te: ", "Tea: "]


def test_an_agent_that_streams_and_never_replies_fails() -> None:
    found = ran(speaks("a"), "x")
    assert isinstance(found.cause, InvalidValue) and "streamed no 'AgentReply'" in str(found.cause)


def test_a_step_that_wants_no_more_ends_the_stream_of_an_agent_of_another_kind() -> None:
    @step
    async def first(pieces: AsyncIterator[str]) -> str:
        return await anext(pieces)

    assert ran(speaks("a", "b", "c", AgentReply("abc")) >> first, "x").output == "a"


def test_what_has_said_other_text_than_its_answer_has_given_what_it_said() -> None:
    assert ran(speaks("let me see: ", "ab", AgentReply("ab")) >> upper, "x").output == "LET ME SEE: AB"


def test_a_registered_agent_may_stream() -> None:
    def register(self: Any, registry: Any, /) -> None:
        registry.add("speaker", lambda: Speaker("a", AgentReply("ab")))
        registry.add("model", lambda: Agent(TestModel(custom_output_text="from a model")))

    acme = plugin("acme", register_agents=register)
    settings = Settings(PluginSettings(allow=()))
    for name, expected in (("acme/speaker", "ab"), ("acme/model", "from a model")):
        flujo = Flujo(Step.agent("it", name).streaming(), plugins=[acme], settings=settings)
        assert flujo.run("x").output == expected


def test_what_cannot_stream_is_refused() -> None:
    class Silent:
        async def run(self, input: str, /, *, info: RunInfo) -> AgentReply[str]:
            return AgentReply(input)

    with pytest.raises(DefinitionError, match="the agent of step 'it' cannot stream; give it 'def stream"):
        Step.agent("it", Silent()).streaming()

    @step
    async def plain(text: str) -> str:
        return text

    with pytest.raises(DefinitionError, match="step 'plain' asks no agent"):
        plain.streaming()
