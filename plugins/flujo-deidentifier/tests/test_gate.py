"""The gate reads all that goes to a model, on each way there; what it cannot read it refuses."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
from flujo_deidentifier import Deidentifier, ModelGuarded, Profile, Scope
from flujo_deidentifier.guard import Gate, GatedModel
from pydantic_ai import BinaryContent, DocumentUrl, ImageUrl
from pydantic_ai.messages import (
    FilePart,
    InstructionPart,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestContext, ModelRequestParameters
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.native_tools import WebSearchTool
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.usage import RequestUsage

SSN = "536-22-8726"
HARMLESS: list[ModelMessage] = [ModelRequest([UserPromptPart("Good day.")])]
engine = Deidentifier(Profile("all"), key=b"k" * 32, detectors=["patterns", "lists"])


@dataclass
class Asked(WrapperModel):
    """A model that notes on which ways it is asked."""

    ways: list[str] = field(default_factory=list)

    def __init__(self, settings: ModelSettings | None = None) -> None:
        def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
            return ModelResponse([TextPart("Yes.")])

        async def stream(messages: list[ModelMessage], info: AgentInfo) -> Any:
            yield "Yes."

        super().__init__(FunctionModel(answer, stream_function=stream, settings=settings))
        self.ways = []

    async def request(self, *args: Any) -> ModelResponse:
        self.ways.append("request")
        return await super().request(*args)

    async def count_tokens(self, *args: Any) -> RequestUsage:
        self.ways.append("count_tokens")
        return RequestUsage()

    async def compact_messages(self, *args: Any, **named: Any) -> ModelResponse:
        self.ways.append("compact_messages")
        return ModelResponse([])

    async def batch_encode(self, request: Any) -> Any:
        self.ways.append("batch_encode")

    async def cancel_suspended_response(self, response: ModelResponse) -> None:
        self.ways.append("cancel_suspended_response")


def gated(asked: Model) -> GatedModel:
    return GatedModel(asked, Gate(engine, lambda run, tenant, subject: Scope(run, tenant or "", subject)))


def tool(**options: Any) -> ModelRequestParameters:
    return ModelRequestParameters(function_tools=[ToolDefinition(**{"name": "look", **options})])


def schema(**options: Any) -> ModelRequestParameters:
    return tool(parameters_json_schema={"type": "object", "properties": {"who": {"type": "string", **options}}})


PARAMETERS = {
    "tool description": tool(description=f"Looks for {SSN}"),
    "tool name": tool(name=f"look_{SSN}"),
    "parameter description": schema(description=f"As {SSN}"),
    "enum": schema(enum=["none", SSN]),
    "default": schema(default=SSN),
    "examples": schema(examples=["x", {"deep": [SSN]}]),
    "constant": schema(const="4111 1111 1111 1111"),
    "property": tool(parameters_json_schema={"properties": {SSN: {"type": "string"}}}),
    "output tool": ModelRequestParameters(output_tools=[ToolDefinition(name="out", description=SSN)]),
    "output schema": ModelRequestParameters(output_object=OutputObjectDefinition(json_schema={"enum": [SSN]})),
    "output description": ModelRequestParameters(output_object=OutputObjectDefinition(json_schema={}, description=SSN)),
    "template": ModelRequestParameters(prompted_output_template=f"As {SSN}: {{schema}}"),
    "instructions": ModelRequestParameters(instruction_parts=[InstructionPart(f"Ask {SSN}")]),
    "native tool": ModelRequestParameters(native_tools=[WebSearchTool(blocked_domains=[f"{SSN} x"])]),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "user": {"openai_user": "ann@example.org"},
    "body": {"extra_body": {"metadata": {"patient": SSN}}},
    "stop": {"stop_sequences": [SSN]},
    "header": {"extra_headers": {"X-Patient": SSN}},
    "unreadable": {"extra_body": object()},
}
CONTENT = b"\x89PNG"
MESSAGES: dict[str, Any] = {
    "prompt": UserPromptPart(f"I am {SSN}"),
    "system": SystemPromptPart(f"I am {SSN}"),
    "tool result": ToolReturnPart("look", {"a": [SSN]}, tool_call_id="c1"),
    "tool result's id": ToolReturnPart("look", "x", tool_call_id=SSN),
    "picture": UserPromptPart([BinaryContent(CONTENT, media_type="image/png")]),
    "link to a picture": UserPromptPart([ImageUrl("https://example.com/a.png")]),
    "link to a file": UserPromptPart(["x", DocumentUrl("https://example.com/a.pdf")]),
    "picture of a tool": ToolReturnPart("look", [BinaryContent(CONTENT, media_type="image/png")], tool_call_id="c1"),
}
REPLIES: dict[str, Any] = {
    "text": TextPart(f"I am {SSN}"),
    "thinking": ThinkingPart(f"he is {SSN}"),
    "signature of nobody": ThinkingPart("", signature=f"of {SSN}"),
    "arguments": ToolCallPart("look", {"who": SSN}, tool_call_id="c1"),
    "arguments as text": ToolCallPart("look", f'{{"who": "{SSN}"}}', tool_call_id="c1"),
    "tool name": ToolCallPart(f"look_{SSN}", {}, tool_call_id="c1"),
    "call id": ToolCallPart("look", {}, tool_call_id=SSN),
    "id": TextPart("x", id=SSN),
    "details": TextPart("x", provider_details={"note": SSN}),
    "file": FilePart(BinaryContent(CONTENT, media_type="image/png")),
}


def refused(
    messages: list[ModelMessage], settings: Any = None, parameters: ModelRequestParameters | None = None,
    own: Any = None,
) -> str:  # fmt: skip
    asked = Asked(own)
    with pytest.raises(ModelGuarded) as failed:
        asyncio.run(gated(asked).request(messages, settings, parameters or ModelRequestParameters()))
    assert asked.ways == []
    assert SSN not in str(failed.value)
    assert "example.org" not in str(failed.value)
    return str(failed.value)


@pytest.mark.parametrize("parameters", PARAMETERS.values(), ids=PARAMETERS)
def test_no_tool_output_or_instruction_tells_a_value(parameters: ModelRequestParameters) -> None:
    assert refused(HARMLESS, None, parameters)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_no_setting_of_the_run_or_of_the_model_tells_a_value(settings: dict[str, Any]) -> None:
    assert refused(HARMLESS, settings)
    assert refused(HARMLESS, None, None, settings)


@pytest.mark.parametrize("part", MESSAGES.values(), ids=MESSAGES)
def test_no_part_of_a_request_tells_a_value(part: Any) -> None:
    assert refused([*HARMLESS, ModelRequest([part])])


@pytest.mark.parametrize("part", REPLIES.values(), ids=REPLIES)
def test_no_part_of_a_reply_tells_a_value(part: Any) -> None:
    assert refused([*HARMLESS, ModelResponse([part])])


def test_what_a_reply_has_beside_its_parts_tells_no_value() -> None:
    assert refused([ModelResponse([TextPart("x")], provider_details={"a": SSN})])
    assert refused([ModelResponse([TextPart("x")], provider_response_id=SSN)])
    assert refused([ModelRequest([UserPromptPart("x")], instructions=SSN)])


Way = Callable[[GatedModel, list[ModelMessage]], Coroutine[Any, Any, Any]]


async def streamed(model: GatedModel, messages: list[ModelMessage]) -> None:
    async with model.request_stream(messages, None, ModelRequestParameters()) as stream:
        async for _ in stream:
            pass


async def encoded(model: GatedModel, messages: list[ModelMessage]) -> None:
    batch = pytest.importorskip("pydantic_ai.models.batch", reason="this pydantic-ai has no batches")
    await model.batch_encode(batch.BatchRequest(custom_id="one", messages=messages))


WAYS: dict[str, Way] = {
    "request": lambda model, said: model.request(said, None, ModelRequestParameters()),
    "request_stream": streamed,
    "count_tokens": lambda model, said: model.count_tokens(said, None, ModelRequestParameters()),
    "compact_messages": lambda model, said: model.compact_messages(
        ModelRequestContext(
            model=model, messages=said, model_settings=None, model_request_parameters=ModelRequestParameters()
        )
    ),
    "batch_encode": encoded,
    "cancel_suspended_response": lambda model, said: model.cancel_suspended_response(
        ModelResponse([TextPart(str(said[0].parts[0].content))])  # type: ignore[union-attr]
    ),
}
HARMLESS_WAYS = {"batch_create", "batch_status", "batch_results", "batch_cancel"}
"""Ways that send what ``batch_encode`` has made, or an id of the provider's."""


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_the_model_passes_the_gate(way: str) -> None:
    asked = Asked()
    with pytest.raises(ModelGuarded):
        asyncio.run(WAYS[way](gated(asked), [ModelRequest([UserPromptPart(f"I am {SSN}")])]))
    assert asked.ways == []
    asyncio.run(WAYS[way](gated(asked), HARMLESS))
    assert asked.ways == ([] if way == "request_stream" else [way])


def test_there_is_no_other_way_to_a_model() -> None:
    def is_way(one: Any) -> bool:
        return inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(inspect.unwrap(one))

    ways = {name for name, one in inspect.getmembers(Model, inspect.isfunction) if name[0] != "_" and is_way(one)}
    assert ways <= WAYS.keys() | HARMLESS_WAYS
    assert all(name in vars(GatedModel) for name in WAYS)


def test_an_instruction_of_a_compaction_or_an_id_of_a_batch_tells_no_value() -> None:
    asked = Asked()
    context = ModelRequestContext(
        model=asked, messages=HARMLESS, model_settings=None, model_request_parameters=ModelRequestParameters()
    )
    with pytest.raises(ModelGuarded, match="compaction"):
        asyncio.run(gated(asked).compact_messages(context, instructions=f"Leave {SSN} out"))
    batch = pytest.importorskip("pydantic_ai.models.batch", reason="this pydantic-ai has no batches")
    with pytest.raises(ModelGuarded, match="the id of a request"):
        asyncio.run(gated(asked).batch_encode(batch.BatchRequest(custom_id=SSN, messages=HARMLESS)))
    assert asked.ways == []


def test_what_machines_made_and_credentials_pass() -> None:
    asked, made = Asked(), "call_a8Jk2lM9qPz4rT7v"
    token = engine.deidentify(SSN, session="")
    messages: list[ModelMessage] = [
        ModelRequest([SystemPromptPart("Be short."), UserPromptPart(f"Who is {token}?")]),
        ModelResponse(
            [
                ThinkingPart("hm", signature="EqQBCkYIBxgCKkA", provider_name="anthropic", id="rs_68c2a9f0be5481a3"),
                ToolCallPart("look", {"who": token}, tool_call_id=made),
            ],
            provider_details={"finish_reason": "tool_calls"}, provider_response_id="chatcmpl-9f8e7d6c5b4a39281706",
        ),
        ModelRequest([ToolReturnPart("look", {"found": [token, 3, None]}, tool_call_id=made)]),
    ]  # fmt: skip
    settings = ModelSettings(
        temperature=0.2, max_tokens=1_000_000, seed=123_456_789, timeout=30, stop_sequences=["END"],
        extra_headers={"Authorization": "Bearer sk-abcdefghijklmnopqrstuvwx"},
    )  # fmt: skip
    reply = asyncio.run(gated(asked).request(messages, settings, schema(description="A name")))
    assert reply.parts[0] == TextPart("Yes.")
    assert asked.ways == ["request"]
