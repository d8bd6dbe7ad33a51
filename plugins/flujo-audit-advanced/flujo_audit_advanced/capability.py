"""Capability: puts an agent's requests to models and its calls of tools on record, before they are sent and after."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import copy
from typing import Any

from pydantic_ai import RunContext
from pydantic_ai.capabilities import AbstractCapability, CapabilityOrdering
from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.usage import RequestUsage

from flujo_audit_advanced.account import Facts, Values
from flujo_audit_advanced.recorder import Recorder


class RecordedCalls(AbstractCapability[Any]):
    """Puts the calls of one agent on record.

    Args:
        recorder: Writes the records.
        told: What the run is, as the kernel tells capabilities.
    """

    def __init__(self, recorder: Recorder, told: Mapping[str, Any] | None = None) -> None:
        self._recorder = recorder
        self._told = told or {}

    def get_ordering(self) -> CapabilityOrdering:
        """Next to the model and the tools: what is on record is what they are given."""
        return CapabilityOrdering(position="innermost")

    async def for_run(self, ctx: RunContext[Any]) -> RecordedCalls:
        """One for one run of the agent."""
        return RecordedCalls(self._recorder, (ctx.metadata or {}).get("flujo"))

    def get_wrapper_model(self, model: Model) -> Model:
        """The model, on record; of one that asks several, each."""
        if isinstance(model, FallbackModel):
            made = copy(model)
            made.models = [self.get_wrapper_model(one) for one in model.models]
            return WrapperModel(made)
        return RecordedModel(model, self)

    async def wrap_tool_execute(
        self, ctx: RunContext[Any], *, call: ToolCallPart, tool_def: ToolDefinition, args: Any, handler: Any
    ) -> Any:
        """Puts a tool's call on record, and what came of it."""
        facts: Facts = {"tool": call.tool_name, "call": call.tool_call_id}
        await self.record("tool.called", facts, {"arguments": args})
        try:
            result = await handler(args)
        except BaseException as error:
            await self.record("tool.failed", facts | {"error": type(error).__name__})
            raise
        await self.record("tool.returned", facts, {"result": result})
        return result

    async def record(self, kind: str, facts: Facts, values: Values | None = None) -> None:
        """Writes a record of the step that asks.

        Raises:
            NotRecorded: Its rule is strict, and it is not durable.
        """
        told = self._told
        await self._recorder.record(
            kind,
            facts | {"attempt": told.get("attempt", 0)},
            values or {},
            run=told.get("run_id"),
            tenant=told.get("tenant"),
            address=told.get("address", ""),
        )


class RecordedModel(WrapperModel):
    """A model whose requests are on record.

    Args:
        wrapped: The model.
        calls: Writes the records.
    """

    def __init__(self, wrapped: Model, calls: RecordedCalls) -> None:
        super().__init__(wrapped)
        self._calls = calls

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Asks the model, once that is on record."""
        async with self._recorded(messages) as answer:
            response = await self.wrapped.request(messages, model_settings, model_request_parameters)
            answer.append(response)
        return response

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """As ``request``, in pieces."""
        async with self._recorded(messages) as answer:
            async with self.wrapped.request_stream(
                messages, model_settings, model_request_parameters, run_context
            ) as stream:
                yield stream
            answer.append(stream.get())

    async def count_tokens(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> RequestUsage:
        """As ``request``, to have the messages counted."""
        async with self._recorded(messages, purpose="count"):
            return await self.wrapped.count_tokens(messages, model_settings, model_request_parameters)

    @asynccontextmanager
    async def _recorded(
        self, messages: Sequence[ModelMessage], purpose: str = "answer"
    ) -> AsyncGenerator[list[ModelResponse]]:
        facts: Facts = {"model": self.wrapped.model_name, "system": self.wrapped.system, "purpose": purpose}
        await self._calls.record("model.requested", facts, {"messages": messages})
        answer: list[ModelResponse] = []
        try:
            yield answer
        except BaseException as error:
            await self._calls.record("model.failed", facts | {"error": type(error).__name__})
            raise
        used: Facts = {}
        if answer:
            usage = answer[0].usage
            used = {"usage": {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}}
        await self._calls.record("model.answered", facts | used, {"response": answer[0]} if answer else {})
