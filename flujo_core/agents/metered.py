"""An agent's requests under budgets: the most that each can cost is reserved before it is sent, and settled after.

It is around the models themselves, and not around the steps of the agent: what asks another model, or the same again,
makes several requests of one. A call that the journal has does not come here, and reserves nothing.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager
from copy import copy
from typing import Any

from pydantic_ai import RunContext
from pydantic_ai.capabilities import AbstractCapability, CapabilityOrdering
from pydantic_ai.durable_exec import BaseDurabilityCapability
from pydantic_ai.exceptions import ModelHTTPError, UserError
from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart
from pydantic_ai.models import Model, ModelRequestContext, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

from flujo_core.agents.prices import Terms, cost_of, most_of, terms_of
from flujo_core.errors import OverBudget
from flujo_core.log import warning
from flujo_core.model.agent import Meter
from flujo_core.model.spend import NO_COST, Most, Spend

SENT = Spend(requests=1)
"""What a request has spent that the provider has refused."""

TIMEOUTS = (408, 504)
"""The HTTP statuses after which nobody knows whether the provider has done the work."""


class Metered(AbstractCapability[Any]):
    """Meters the requests and the tool calls of one run of an agent.

    Args:
        meter: What they may spend.
        before: How many responses its messages have that it begins with.
    """

    def __init__(self, meter: Meter, before: int) -> None:
        self.meter = meter
        self.call = ""
        self.sent = 0
        self.broken: OverBudget | None = None
        self._before = before
        self._terms: dict[int, tuple[Model, Terms]] = {}

    def terms_of(self, model: Model) -> Terms:
        """What is known of a model."""
        known = self._terms.get(id(model))
        if known is None:
            known = self._terms[id(model)] = (model, terms_of(model, self.meter.prices))
        return known[1]

    def get_ordering(self) -> CapabilityOrdering:
        return CapabilityOrdering(position="outermost", wrapped_by=[BaseDurabilityCapability])

    def metered(self, model: Model) -> WrapperModel:
        """The model, metered; of one that asks several, each."""
        if isinstance(model, FallbackModel):
            made = copy(model)
            made.models = [self.metered(one) for one in model.models]
            return WrapperModel(made)
        return MeteredModel(model, self)

    async def wrap_run(self, ctx: RunContext[Any], *, handler: Any) -> Any:
        """Lets no other capability make a success of a run that a budget has no room for."""
        try:
            return await handler()
        finally:
            if self.broken is not None:
                raise self.broken

    async def wrap_model_request(
        self, ctx: RunContext[Any], *, request_context: ModelRequestContext, handler: Any
    ) -> ModelResponse:
        """Names the requests of one step of the agent."""
        self.call, sent = f"model.{self._before + ctx.run_step}", self.sent
        response: ModelResponse = await handler(request_context)
        if self.sent == sent and response.usage.requests:
            await self._count(request_context.model, response)
        return response

    async def _count(self, model: Model, response: ModelResponse) -> None:
        """Counts a response that another capability has had without its model."""
        warning("budget.not_reserved", call=self.call)
        cost = cost_of(self.terms_of(model), response)
        tokens = response.usage.input_tokens + response.usage.output_tokens
        await self.meter.settle(self.call, "", Spend(cost or NO_COST, tokens, 1), is_known=cost is not None)

    async def wrap_tool_execute(
        self, ctx: RunContext[Any], *, call: ToolCallPart, tool_def: ToolDefinition, args: dict[str, Any], handler: Any
    ) -> Any:
        """Counts a tool call; it is spent when it begins."""
        if self.meter.counts_tools:
            name = f"tool.{call.tool_call_id}"
            with self.refusing():
                hold = await self.meter.reserve(name, Most(tool_calls=1))
            await self.meter.settle(name, hold, Spend(tool_calls=1))
        return await handler(args)

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Remembers a refusal."""
        try:
            yield
        except OverBudget as error:
            self.broken = error
            raise


class MeteredModels(AbstractCapability[Any]):
    """Has the models metered that an agent asks, next to each of them.

    Args:
        metered: What meters them.
    """

    def __init__(self, metered: Metered) -> None:
        self._metered = metered

    def get_ordering(self) -> CapabilityOrdering:
        return CapabilityOrdering(position="innermost")

    def get_wrapper_model(self, model: Model) -> Model:
        """The model, metered."""
        return self._metered.metered(model)


class MeteredModel(WrapperModel):
    """A model whose requests are metered.

    Args:
        wrapped: The model.
        metered: What meters them.
    """

    def __init__(self, wrapped: Model, metered: Metered) -> None:
        super().__init__(wrapped)
        self._metered = metered
        self._priced = metered.terms_of(wrapped)

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Asks the model, if there is room for the most that it can cost."""
        call = await self._reserved(messages, model_settings, model_request_parameters)
        try:
            response = await self.wrapped.request(messages, model_settings, model_request_parameters)
        except BaseException as error:
            await call.lose(error)
            raise
        await call.end(response)
        return response

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """As ``request``, in pieces; a stream that is left before its end has spent its most."""
        call = await self._reserved(messages, model_settings, model_request_parameters)
        opened: StreamedResponse | None = None
        try:
            async with self.wrapped.request_stream(
                messages, model_settings, model_request_parameters, run_context
            ) as stream:
                opened = stream
                yield stream
        except BaseException as error:
            await call.lose(None if opened is not None else error)
            raise
        response = opened.get()
        if response.state == "complete":
            await call.end(response)
        else:
            await call.lose(None)

    async def _reserved(
        self, messages: list[ModelMessage], settings: ModelSettings | None, parameters: ModelRequestParameters
    ) -> _Request:
        most = most_of(self._priced, self.wrapped, messages, settings, parameters)
        with self._metered.refusing():
            hold = await self._metered.meter.reserve(self._metered.call, most)
        self._metered.sent += 1
        return _Request(self._metered.meter, self._metered.call, hold, most.known, self._priced)


class _Request:
    """A request that is under way."""

    def __init__(self, meter: Meter, call: str, hold: str, most: Spend, terms: Terms) -> None:
        self._meter = meter
        self._call = call
        self._hold = hold
        self._most = most
        self._terms = terms

    async def end(self, response: ModelResponse) -> None:
        """Settles what it has cost."""
        cost, usage = cost_of(self._terms, response), response.usage
        if usage.unmeasured_requests:
            await self.lose(None)
            return
        if cost is not None and not self._terms.is_listed and cost:
            usage.cost = cost
        used = Spend(self._most.cost_usd if cost is None else cost, usage.input_tokens + usage.output_tokens, 1)
        if used.cost_usd > self._most.cost_usd and self._most.cost_usd:
            warning("budget.underestimated", call=self._call)
        await self._meter.settle(self._call, self._hold, used, is_known=cost is not None)

    async def lose(self, error: BaseException | None) -> None:
        """Settles what nobody knows the cost of; or, where the provider has refused it, that it was sent."""
        if isinstance(error, UserError):
            await self._meter.settle(self._call, self._hold, Spend())
        elif isinstance(error, ModelHTTPError) and error.status_code not in TIMEOUTS:
            await self._meter.settle(self._call, self._hold, SENT)
        else:
            await self._meter.settle(self._call, self._hold, self._most, is_known=False)
