"""Guard: the pydantic-ai capabilities that keep an agent's messages to tokens, and a last gate before its model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import is_dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic_ai import ModelRequestNode, ModelRetry, RunContext
from pydantic_ai.capabilities import AbstractCapability, CapabilityOrdering
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    ToolCallPart,
    ToolReturn,
)
from pydantic_ai.models import Model, ModelRequestContext, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.usage import RequestUsage

from flujo_deidentifier.deidentifier import Deidentifier
from flujo_deidentifier.known import Known
from flujo_deidentifier.messages import Treat, is_asked, plain, texts_of, treated
from flujo_deidentifier.request import asked_for, names_in, told_by
from flujo_deidentifier.vault import Scope

if TYPE_CHECKING:
    from pydantic_ai.models.batch import BatchRequest, EncodedBatchRequest

ScopeOf = Callable[[str, str | None, str], Scope]
"""Gives the scope of a run's tokens, from its id, its tenant, and the digest of its subject."""

_ANY = Scope("")
"""The scope of what is the same for all runs, as the schemas of tools: it is searched once."""


class Masking(AbstractCapability[Any]):
    """Keeps an agent's messages, tool calls and tool results to tokens.

    Args:
        deidentifier: Finds, and has the vault.
        scope_of: Whose tokens.
        tools: Names of tools that are given values.
    """

    def __init__(self, deidentifier: Deidentifier, scope_of: ScopeOf, tools: Collection[str]) -> None:
        self._deidentifier = deidentifier
        self._scope_of = scope_of
        self._tools = frozenset(tools)

    async def before_node_run(self, ctx: RunContext[Any], *, node: Any) -> Any:
        """Masks what is about to be asked, and what was said: here, so that the journal around requests has tokens."""
        if not isinstance(node, ModelRequestNode):
            return node
        scope = self._scope(ctx)
        masked = await asyncio.to_thread(self._masked, [*ctx.messages, node.request], scope)
        *ctx.messages[:], node.request = masked
        return node

    async def before_model_request(
        self, ctx: RunContext[Any], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        """Masks instructions, which come last."""
        scope = self._scope(ctx)
        parameters = request_context.model_request_parameters
        if parts := parameters.instruction_parts:
            told = await asyncio.to_thread(self._treat, [one.content for one in parts], scope)
            masked = [replace(one, content=content) for one, content in zip(parts, told, strict=True)]
            request_context.model_request_parameters = replace(parameters, instruction_parts=masked)
        if any(isinstance(one, ModelRequest) and one.instructions for one in request_context.messages):
            request_context.messages = await asyncio.to_thread(self._masked, request_context.messages, scope)
        return request_context

    async def before_tool_execute(
        self, ctx: RunContext[Any], *, call: ToolCallPart, tool_def: ToolDefinition, args: Any
    ) -> Any:
        """Gives values to the tools that may have them; others see tokens."""
        if call.tool_name not in self._tools:
            return args
        scope = self._scope(ctx)
        return await asyncio.to_thread(lambda: _walked(args, lambda text: self._restored(text, scope)))

    async def wrap_tool_execute(
        self, ctx: RunContext[Any], *, call: ToolCallPart, tool_def: ToolDefinition, args: Any, handler: Any
    ) -> Any:
        """Masks what a tool gives, and what it says when it wants another call."""
        scope, quoted = self._scope(ctx), call.tool_name not in self._tools
        try:
            result = await handler(args)
        except ModelRetry as error:
            said = error.message
        else:
            return await asyncio.to_thread(lambda: self._result(result, scope, quoted))
        raise ModelRetry(await asyncio.to_thread(lambda: self._treat(said, scope, quoted)))

    async def before_output_validate(self, ctx: RunContext[Any], *, output_context: Any, output: Any) -> Any:
        """Puts values into an output that has a form, before the form is checked."""
        scope = self._scope(ctx)
        deidentifier = self._deidentifier
        if isinstance(output, str):
            return await asyncio.to_thread(
                lambda: deidentifier.restore(output, session=scope.session, tenant=scope.tenant, form="json")
            )
        return await asyncio.to_thread(lambda: _walked(output, lambda text: self._restored(text, scope)))

    def _result(self, result: Any, scope: Scope, quoted: bool) -> Any:
        if isinstance(result, ToolReturn):
            content = result.content
            said = content if content is None else self._treat(plain(content), scope, quoted)
            value = self._treat(plain(result.return_value), scope, quoted)
            return replace(result, return_value=value, content=said)
        return self._treat(plain(result), scope, quoted)

    def _scope(self, ctx: RunContext[Any]) -> Scope:
        told: Mapping[str, Any] = (ctx.metadata or {})["flujo"]
        return self._scope_of(told["run_id"], told["tenant"], told["subject"])

    def _treating(self, scope: Scope, quoted: bool | None = None) -> Treat:
        """What treats texts: what is labelled is masked whatever the detectors say, and then what they find."""
        known = Known(self._deidentifier, scope)
        return lambda value: self._deidentifier.deidentify_value(known.hidden(value), scope, quoted=quoted)

    def _treat(self, value: Any, scope: Scope, quoted: bool | None = None) -> Any:
        return self._treating(scope, quoted)(value)

    def _masked(self, messages: Sequence[Any], scope: Scope) -> list[Any]:
        """Messages with tokens; what a model or tools have said was masked then, or made of what is masked."""
        new, said = self._treating(scope), self._treating(scope, True)
        return [treated(one, new if is_asked(one) else said) for one in messages]

    def _restored(self, text: str, scope: Scope) -> str:
        return self._deidentifier.restore(text, session=scope.session, tenant=scope.tenant)


class Gate(AbstractCapability[Any]):
    """The last gate: next to each model, it refuses what something can be found in.

    Args:
        deidentifier: Finds.
        scope_of: Whose tokens are known.
    """

    def __init__(self, deidentifier: Deidentifier, scope_of: ScopeOf) -> None:
        self._deidentifier = deidentifier
        self._scope_of = scope_of
        self._scope = Scope("")

    def get_ordering(self) -> CapabilityOrdering:
        """Next to the model."""
        return CapabilityOrdering(position="innermost")

    async def for_run(self, ctx: RunContext[Any]) -> Gate:
        """A gate for one run."""
        told: Mapping[str, Any] = (ctx.metadata or {})["flujo"]
        gate = Gate(self._deidentifier, self._scope_of)
        gate._scope = self._scope_of(told["run_id"], told["tenant"], told["subject"])
        return gate

    def get_wrapper_model(self, model: Model) -> Model:
        """The model behind the gate."""
        return GatedModel(model, self)

    async def check(
        self,
        messages: Sequence[ModelMessage],
        parameters: ModelRequestParameters | None = None,
        *settings: ModelSettings | None,
    ) -> None:
        """Refuses a request in which anything can be found, or that has something that cannot be read.

        Args:
            messages: What was said, with names, ids and what a provider added.
            parameters: Instructions, tools, and the form of the output.
            settings: What the model is told beside.

        Raises:
            ModelGuarded: It is refused.
        """
        told = [(text, "a message of an agent") for text in texts_of(messages)]
        told += names_in(messages)
        for one in settings:
            told += told_by(one)
        if parameters is not None:
            told += [(part.content, "the instructions of an agent") for part in parameters.instruction_parts or ()]
            await self._read(list(asked_for(parameters)), _ANY)
        await self.read(told)

    async def read(self, told: Sequence[tuple[str, str]]) -> None:
        """Refuses texts in which anything can be found.

        Args:
            told: Each text, and what it is called in an error.

        Raises:
            ModelGuarded: It is refused.
        """
        await self._read(told, self._scope)

    async def _read(self, told: Sequence[tuple[str, str]], scope: Scope) -> None:
        new = [one for one in dict.fromkeys(told) if one[0] and not self._deidentifier.is_clean(one[0], scope)]
        if new:
            await asyncio.to_thread(self._search, new, scope)

    def _search(self, told: Sequence[tuple[str, str]], scope: Scope) -> None:
        for text, what in told:
            self._deidentifier.check(text, scope, what)


class GatedModel(WrapperModel):
    """A model that is asked only what has passed the gate.

    Args:
        wrapped: The model.
        gate: The gate.
    """

    def __init__(self, wrapped: Model, gate: Gate) -> None:
        super().__init__(wrapped)
        self._gate = gate

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Asks the model, if nothing can be found."""
        await self._pass(messages, model_settings, model_request_parameters)
        return await self.wrapped.request(messages, model_settings, model_request_parameters)

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """As ``request``, in pieces."""
        await self._pass(messages, model_settings, model_request_parameters)
        async with self.wrapped.request_stream(
            messages, model_settings, model_request_parameters, run_context
        ) as stream:
            yield stream

    async def count_tokens(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> RequestUsage:
        """Counts, at the provider's, if nothing can be found."""
        await self._pass(messages, model_settings, model_request_parameters)
        return await self.wrapped.count_tokens(messages, model_settings, model_request_parameters)

    async def compact_messages(
        self, request_context: ModelRequestContext, *, instructions: str | None = None
    ) -> ModelResponse:
        """Has the messages made shorter, if nothing can be found."""
        await self._gate.read([(instructions or "", "the instructions of a compaction")])
        await self._pass(
            request_context.messages, request_context.model_settings, request_context.model_request_parameters
        )
        return await self.wrapped.compact_messages(request_context, instructions=instructions)

    async def batch_encode(self, request: BatchRequest) -> EncodedBatchRequest:
        """Prepares one request of many, if nothing can be found."""
        await self._gate.read([(request.custom_id, "the id of a request")])
        await self._pass(request.messages, request.model_settings, request.model_request_parameters)
        return await self.wrapped.batch_encode(request)

    async def cancel_suspended_response(self, response: ModelResponse) -> None:
        """Calls off a reply, if nothing can be found in what names it."""
        await self._gate.check([response])
        await self.wrapped.cancel_suspended_response(response)

    async def _pass(
        self, messages: Sequence[ModelMessage], settings: ModelSettings | None, parameters: ModelRequestParameters
    ) -> None:
        await self._gate.check(messages, parameters, settings, self.wrapped.settings)


def _walked(value: Any, change: Callable[[str], str]) -> Any:
    """A value with its texts changed, in containers, models and dataclasses."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, BaseModel):
        return value.model_copy(update={name: _walked(one, change) for name, one in value})
    if isinstance(value, Mapping):
        return {key: _walked(one, change) for key, one in value.items()}
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return type(value)(_walked(one, change) for one in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{name: _walked(one, change) for name, one in vars(value).items()})
    return value
