"""What we rely on in pydantic-ai, on the versions that we support: run it against the oldest and the newest.

Whoever changes a pin here has looked at what upstream does now. All models are simulated.
"""

from __future__ import annotations

import asyncio
import inspect
from contextvars import ContextVar
from typing import Any

import pytest
from agent_calls import Attempt, Log, Script, calling
from pydantic_ai import Agent, ModelRetry, RunContext, durable_exec
from pydantic_ai.capabilities import AbstractCapability, CapabilityOrdering
from pydantic_ai.exceptions import ToolFailedError, ToolRetryError
from pydantic_ai.messages import ModelMessagesTypeAdapter, ModelRequest, ModelResponse, TextPart, UserPromptPart
from pydantic_ai.tools import ToolDefinition

from flujo_core import PipelineContext
from flujo_core.agents.durable import CallJournal, ToolTransactions
from flujo_core.agents.pydantic_ai import capability_flaw
from flujo_core.agents.tool_drafts import ToolDrafts
from flujo_core.model.agent import CallsDiffer
from flujo_core.model.draft import draft


class Count(PipelineContext):
    n: int = 0


def test_our_capabilities_override_what_is_called_and_can_be_called_so() -> None:
    assert capability_flaw(ToolTransactions(ToolDrafts(draft(Count, {"n": 0}), restored=False), None)) is None
    of_the_base = {"engine_spec", "in_durable_context", "get_durable_operation_backend"}
    hooks = {name for name in vars(CallJournal) if not name.startswith("_")} - of_the_base
    assert {name for name in hooks if not hasattr(AbstractCapability, name)} == set()


def test_the_base_asks_of_an_engine_what_ours_has() -> None:
    base = durable_exec.BaseDurabilityCapability
    assert issubclass(CallJournal, base)
    assert base.__abstractmethods__ == {"in_durable_context", "get_durable_operation_backend"}
    assert {"BaseDurabilityCapability", "DurabilityEngineSpec"} <= set(durable_exec.__all__)
    assert set(inspect.signature(base.__init__).parameters) == {"self", "models", "event_stream_handler", "name"}


QUIET = {
    "before_run": "looks for a cancellation token, in a durable context",
    "before_model_request": "gives the request as it is",
    "prepare_model_request": "gives the request as it is",
    "get_serialization_name": "is of the class",
    "get_wrapper_toolset": "gives None, as it has no toolsets",
    "has_wrap_run_event_stream": "is False, as there is no handler",
    "wrap_run_event_stream": "is not called, as there is no handler",
    "resolve_model_id": "gives None, as it has no models",
}
"""The hooks of the base that we leave as they are, and why they do nothing outside a durable context."""


def test_what_is_left_of_the_base_does_nothing_outside_a_durable_context() -> None:
    ours = {name for kind in (CallJournal, ToolTransactions) for name in vars(kind)}
    theirs = vars(durable_exec.BaseDurabilityCapability)
    hooks = {name for name in theirs if not name.startswith("_") and hasattr(AbstractCapability, name)}
    assert hooks - ours <= QUIET.keys()


class Told(AbstractCapability[Any]):
    """Notes each hook as it is called, with what we read there."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def get_ordering(self) -> CapabilityOrdering:
        return CapabilityOrdering(position="outermost")

    async def wrap_run(self, ctx: RunContext[Any], *, handler: Any) -> Any:
        self.told.append("run")
        return await handler()

    async def wrap_node_run(self, ctx: RunContext[Any], *, node: Any, handler: Any) -> Any:
        result = await handler(node)
        self.told.append(type(node).__name__)
        return result

    async def wrap_model_request(self, ctx: RunContext[Any], *, request_context: Any, handler: Any) -> Any:
        assert request_context.model.model_id == "function:script"
        assert isinstance(request_context.messages[-1], ModelRequest)
        response = await handler(request_context)
        assert response.state == "complete"
        self.told.append(f"model {ctx.run_step}")
        return response

    async def wrap_tool_execute(
        self, ctx: RunContext[Any], *, call: Any, tool_def: ToolDefinition, args: Any, handler: Any
    ) -> Any:
        assert ctx.tool_manager is not None
        assert ctx.tool_manager.get_parallel_execution_mode() == "parallel"
        assert tool_def.tool_kind is None
        self.told.append(f"tool {call.tool_call_id} {ctx.run_step} {tool_def.sequential}")
        assert call.tool_call_id in [part.tool_call_id for part in ctx.messages[-1].tool_calls]  # type: ignore[union-attr]
        try:
            return await handler(args)
        except (ToolRetryError, ToolFailedError) as error:
            self.told.append(f"raised {type(error.__cause__).__name__}")
            raise


@pytest.mark.parametrize("streaming", [False, True])
def test_each_hook_is_called_once_for_what_it_is_around(streaming: bool) -> None:
    script = Script(calling(("one", {}), ("two", {})), calling(("fail", {}), first=3), "Done")
    agent = Agent(script.model)
    told = Told()

    @agent.instructions
    def look() -> str:
        told.told.append("instructions")
        return ""

    agent.tool_plain(name="one")(lambda: 1)  # type: ignore[misc]

    @agent.tool_plain(sequential=True)
    def two() -> int:
        return 2

    @agent.tool_plain
    def fail() -> int:
        raise ModelRetry("no")

    async def on_events(ctx: Any, events: Any) -> None:
        async for _ in events:
            pass

    asyncio.run(agent.run("Go", capabilities=[told], event_stream_handler=on_events if streaming else None))
    assert told.told == [
        "run",
        "UserPromptNode",
        "instructions",
        "model 1",
        "ModelRequestNode",
        "tool c1 1 False",
        "tool c2 1 True",
        "CallToolsNode",  # before anything of the next request is made
        "instructions",
        "model 2",
        "ModelRequestNode",
        "tool c3 2 False",
        "raised ModelRetry",
        "CallToolsNode",
        "instructions",
        "model 3",
        "ModelRequestNode",
        "CallToolsNode",
    ]


@pytest.mark.parametrize("streaming", [False, True])
def test_a_request_can_be_answered_without_the_model_and_counts(streaming: bool) -> None:
    class Answering(AbstractCapability[Any]):
        async def wrap_model_request(self, ctx: Any, *, request_context: Any, handler: Any) -> Any:
            return ModelResponse([TextPart("from afar")])

    events = []

    async def on_events(ctx: Any, stream: Any) -> None:
        events.extend([type(event).__name__ async for event in stream])

    script = Script()
    handler = on_events if streaming else None
    result = asyncio.run(Agent(script.model).run("Go", capabilities=[Answering()], event_stream_handler=handler))
    assert result.output == "from afar"
    assert result.usage.requests == 1
    assert script.requests == []
    assert ("PartStartEvent" in events) is streaming


def test_a_sync_tool_has_the_context_variables_of_its_call() -> None:
    number: ContextVar[int] = ContextVar("number", default=0)

    class Setting(AbstractCapability[Any]):
        async def wrap_tool_execute(self, ctx: Any, *, call: Any, tool_def: Any, args: Any, handler: Any) -> Any:
            number.set(int(call.tool_call_id[1:]))
            return await handler(args)

    seen = []
    script = Script(calling(("look", {}), ("look", {})), "Done")
    agent = Agent(script.model)
    agent.tool_plain(name="look")(lambda: seen.append(number.get()))  # type: ignore[misc]
    asyncio.run(agent.run("Go", capabilities=[Setting()]))
    assert sorted(seen) == [1, 2]
    assert number.get() == 0


def test_messages_have_the_parts_that_a_digest_is_of() -> None:
    (message,) = ModelMessagesTypeAdapter.dump_python([ModelRequest([UserPromptPart("Hi")])], mode="json")
    assert {"kind", "parts", "instructions", "state"} <= set(message)
    assert message["parts"][0].keys() == {"content", "timestamp", "part_kind"}


def test_no_other_capability_hides_that_the_journal_differs() -> None:
    class Forgiving(AbstractCapability[Any]):
        async def wrap_run(self, ctx: Any, *, handler: Any) -> Any:
            try:
                return await handler()
            except Exception:
                raise ZeroDivisionError from None

    script = Script("Hi")
    log = Log()
    agent = Agent(script.model)
    asyncio.run(Attempt(agent, log).run())
    with pytest.raises(CallsDiffer):
        asyncio.run(Attempt(agent, log).run("Else", capabilities=[Forgiving()]))
