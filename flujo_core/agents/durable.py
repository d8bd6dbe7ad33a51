"""An agent's calls as transactions, and the journal of them: what is finished is not called again after a crash.

It is the outermost layer around each model request and each tool call, so that a call which the journal has is not
seen by any other capability either: nothing is reserved, masked or approved for it twice. Of pydantic-ai's
``BaseDurabilityCapability`` it takes the one place that an agent has for an engine of durability, and nothing of what
that does for engines whose calls run in other processes (``docs/decisions/0018-the-calls-of-an-agent.md``).
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, NamedTuple, NoReturn

from pydantic_ai import RunContext
from pydantic_ai.agent import AbstractAgent
from pydantic_ai.capabilities import AbstractCapability, CapabilityOrdering
from pydantic_ai.durable_exec import BaseDurabilityCapability, DurabilityEngineSpec
from pydantic_ai.exceptions import ModelRetry, ToolFailed, ToolFailedError, ToolRetryError
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, ToolCallPart, ToolReturn, ToolReturnPart
from pydantic_ai.models import ModelRequestContext
from pydantic_ai.tools import ToolDefinition

from flujo_core.agents.recorded import (
    ToolOutcome,
    outcome_json,
    outcome_of,
    request_digest,
    response_json,
    response_of,
    tool_digest,
)
from flujo_core.agents.tool_call import ToolSurroundings, under_way
from flujo_core.agents.tool_drafts import ToolCall, ToolDrafts
from flujo_core.agents.usage import between, counted, together, usage_of
from flujo_core.errors import DefinitionError
from flujo_core.model.agent import Call, CallLog, CallsDiffer, Usage
from flujo_core.model.patch import NO_PATCH

_UNDER_WAY: ContextVar[frozenset[object]] = ContextVar("flujo_tool_calls", default=frozenset())
"""Whose tool call the code runs in; calls that a tool makes of other tools are part of its own."""


class Asked(NamedTuple):
    """A tool call, as pydantic-ai tells of it."""

    ctx: RunContext[Any]
    call: ToolCallPart
    tool_def: ToolDefinition
    args: dict[str, Any]
    handler: Any

    @property
    def alone(self) -> bool:
        """Whether no other call runs beside it."""
        tools = self.ctx.tool_manager
        return self.tool_def.sequential or (tools is not None and tools.get_parallel_execution_mode() == "sequential")

    @property
    def place(self) -> int:
        """Its place among the calls that the model asked for at once."""
        response = next((one for one in reversed(self.ctx.messages) if isinstance(one, ModelResponse)), None)
        ids = [] if response is None else [part.tool_call_id for part in response.tool_calls]
        return ids.index(self.call.tool_call_id) if self.call.tool_call_id in ids else sys.maxsize


class ToolTransactions(AbstractCapability[Any]):
    """Each tool call has a draft of the context; what it changed counts when it has succeeded.

    Args:
        drafts: The drafts; None where they cannot change the context.
        surroundings: What the calls are given of the run, or None.
        before: The messages that the run begins with.
    """

    def __init__(
        self, drafts: ToolDrafts | None, surroundings: ToolSurroundings | None, before: Iterable[ModelMessage] = ()
    ) -> None:
        self._drafts = drafts
        self._surroundings = surroundings
        self._mark = object()
        self._seen: Counter[str] = Counter()
        for message in before:
            if isinstance(message, ModelRequest):
                self._seen.update(part.tool_call_id for part in message.parts if isinstance(part, ToolReturnPart))

    def get_ordering(self) -> CapabilityOrdering:
        return CapabilityOrdering(position="outermost")

    async def wrap_tool_execute(
        self, ctx: RunContext[Any], *, call: ToolCallPart, tool_def: ToolDefinition, args: dict[str, Any], handler: Any
    ) -> Any:
        if self._mark in _UNDER_WAY.get():
            return await handler(args)
        token = _UNDER_WAY.set(_UNDER_WAY.get() | {self._mark})
        try:
            return await self._called(Asked(ctx, call, tool_def, args, handler))
        finally:
            _UNDER_WAY.reset(token)

    async def wrap_node_run(self, ctx: RunContext[Any], *, node: Any, handler: Any) -> Any:
        result = await handler(node)
        if self._drafts is not None:
            self._drafts.join()
        return result

    async def _called(self, asked: Asked) -> Any:
        with self._draft(asked, self._name(asked.call.tool_call_id)) as transaction:
            result = await asked.handler(asked.args)
            transaction.commit()
            return result

    def _name(self, call_id: str) -> str:
        """What the call is known as; an id that comes again is told apart."""
        self._seen[call_id] += 1
        return f"tool.{call_id}" if self._seen[call_id] == 1 else f"tool.{call_id}.{self._seen[call_id]}"

    @contextmanager
    def _draft(self, asked: Asked, name: str) -> Iterator[ToolCall]:
        with under_way(asked.call.tool_call_id, name, self._surroundings):
            if self._drafts is None:
                yield ToolCall()
            else:
                with self._drafts.call(asked.place, asked.call.tool_name, asked.alone) as transaction:
                    yield transaction


class CallJournal(ToolTransactions, BaseDurabilityCapability[Any]):
    """Gives what the journal has of an agent's calls, and journals the others.

    Args:
        log: The finished calls.
        drafts: The drafts of tool calls; None where they cannot change the context.
        surroundings: What tool calls are given of the run, or None.
        before: The messages that the run begins with.
    """

    engine_spec: ClassVar[DurabilityEngineSpec] = DurabilityEngineSpec(
        engine_name="Flujo",
        durable_unit_noun="call",
        durable_container_noun="agent step",
        wrapped_toolset_kinds=frozenset(),
    )

    def __init__(
        self,
        log: CallLog,
        drafts: ToolDrafts | None,
        surroundings: ToolSurroundings | None,
        before: Sequence[ModelMessage] = (),
    ) -> None:
        BaseDurabilityCapability.__init__(self, name="flujo")
        ToolTransactions.__init__(self, drafts, surroundings, before)
        self._log = log
        self._steps = sum(isinstance(message, ModelResponse) for message in before)
        self._meter = _Meter()
        self._broken: BaseException | None = None

    @property
    def in_durable_context(self) -> bool:
        """Never, as the base class means it: what is called here runs in the run's own process."""
        return False

    def get_durable_operation_backend(self) -> NoReturn:
        raise NotImplementedError("asked for in a durable context only")

    def for_agent(self, agent: AbstractAgent[Any, Any]) -> AbstractCapability[Any]:
        """Nothing of the agent has to be registered."""
        return self

    async def wrap_run(self, ctx: RunContext[Any], *, handler: Any) -> Any:
        """Lets no other capability make a success of a run that goes against the journal, or is not in it."""
        try:
            return await handler()
        finally:
            if self._broken is not None:
                raise self._broken

    async def wrap_model_request(
        self, ctx: RunContext[Any], *, request_context: ModelRequestContext, handler: Any
    ) -> ModelResponse:
        name, digest = f"model.{self._steps + ctx.run_step}", request_digest(request_context)
        if (known := self._find(name, digest)) is not None:
            return response_of(known.result)
        response: ModelResponse = await handler(request_context)
        if response.state == "complete":
            used = response.usage
            usage = Usage(1, used.input_tokens, used.output_tokens, 0, used.cost)
            await self._keep(name, Call(digest, response_json(response), NO_PATCH, usage))
        return response

    async def _called(self, asked: Asked) -> Any:
        if asked.tool_def.tool_kind is not None:  # one of pydantic-ai's own, whose effects are on the agent's run
            return await super()._called(asked)
        name, digest = self._name(asked.call.tool_call_id), tool_digest(asked.call, asked.args)
        if (known := self._find(name, digest)) is None:
            return await self._journaled(asked, name, digest)
        with self._draft(asked, name) as transaction:
            transaction.patch = known.patch
        if known.usage is not None:
            asked.ctx.usage.incr(counted(known.usage))
            self._meter.pass_over(known.usage)
        return outcome_of(known.result, asked.call.tool_name).unwrapped()

    async def _journaled(self, asked: Asked, name: str, digest: str) -> Any:
        raised: Exception | None = None
        tool, usage = asked.call.tool_name, asked.ctx.usage
        with self._draft(asked, name) as transaction, self._meter.running(usage_of(usage)):
            try:
                result = await asked.handler(asked.args)
                outcome = ToolOutcome("return" if isinstance(result, ToolReturn) else "value", result)
                transaction.commit()
            except (ToolRetryError, ToolFailedError, ModelRetry, ToolFailed) as error:
                if (told := _told(error)) is None:
                    raise
                outcome, raised = told, error
            made = Call(digest, outcome_json(outcome, tool), transaction.patch, self._meter.read(usage_of(usage)))
            await self._keep(name, made)
        if raised is not None:
            raise raised
        return outcome_of(made.result, tool).value

    def _find(self, name: str, digest: str) -> Call | None:
        known = self._log.find(name)
        if known is not None and known.digest != digest:
            self._broken = CallsDiffer(name)
            raise self._broken
        return known

    async def _keep(self, name: str, made: Call) -> None:
        try:
            await self._log.keep(name, made)
        except BaseException as error:
            self._broken = error
            raise


def check_one_journal(agent: AbstractAgent[Any, Any]) -> None:
    """Refuses an agent that has another engine of durability: there is one journal.

    Raises:
        DefinitionError: It has.
    """
    if (other := BaseDurabilityCapability.from_agent(agent)) is not None:
        raise DefinitionError(
            f"the agent has the capability '{type(other).__name__}', which journals its calls, as the run's store does;"
            " take it out of the agent, or run without a store"
        )


def _told(error: Exception) -> ToolOutcome | None:
    """What a tool has told the model by raising; None if that cannot be told again in the same words."""
    cause = error.__cause__ if isinstance(error, ToolRetryError | ToolFailedError) else error
    if isinstance(cause, ModelRetry):
        return ToolOutcome("retry", cause.message)
    return ToolOutcome("failed", cause.message) if isinstance(cause, ToolFailed) else None


class _Meter:
    """Tells calls that run side by side what each has used: of all that is used, each part once."""

    def __init__(self) -> None:
        self._running = 0
        self._read = Usage()

    @contextmanager
    def running(self, now: Usage) -> Iterator[None]:
        """A call is under way."""
        if not self._running:
            self._read = now
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    def read(self, now: Usage) -> Usage:
        """What was used since the last call read."""
        before, self._read = self._read, now
        return between(before, now)

    def pass_over(self, counted: Usage) -> None:
        """Something was counted that no call under way has used: it comes from the journal."""
        self._read = together(self._read, counted)
