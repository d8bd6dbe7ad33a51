"""One function is a tool of agents and a step of pipelines. Models are simulated."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Annotated, Any

import pytest
from agent_calls import Script, calling
from pydantic import BaseModel, Field
from pydantic_ai import Agent, DeferredToolRequests, FunctionToolset, RunContext
from pydantic_ai.messages import RetryPromptPart, ToolReturnPart

from flujo_core import (
    AgentBuilder,
    DefinitionError,
    Flujo,
    FlujoTool,
    From,
    MemoryStore,
    NotApproved,
    PauseForHumanInput,
    PipelineContext,
    Resources,
    Retry,
    RunFailed,
    RunInfo,
    SignatureError,
    Step,
    StepTimeout,
    Stop,
    diagram,
    tool,
)
from flujo_core.model.body import body_of, identity_of
from flujo_core.model.event import CallCompleted


class Desk(PipelineContext):
    looked: int = 0
    orders: list[str] = []


class Clients(Resources):
    def __init__(self, prefix: str = "order") -> None:
        self.prefix = prefix


class Query(BaseModel):
    order: str
    limit: int = 1


@tool
async def lookup(order: str, limit: int = 1) -> str:
    """Looks an order up.

    Args:
        order: The order's number.
        limit: How many lines.
    """
    return f"{order} x{limit}"


def agent_with(
    *tools: FlujoTool[Any, Any], asks: Sequence[tuple[str, dict[str, Any]]]
) -> tuple[Agent[Any, Any], Script]:
    """An agent whose model calls tools at once, and then says that it is done."""
    script = Script(calling(*asks), "Done")
    made: Agent[Any, Any] = Agent(
        script.model, output_type=[str, DeferredToolRequests], tools=[one.as_tool() for one in tools]
    )
    return made, script


def told(script: Script) -> list[Any]:
    """What the model was told of its tool calls."""
    parts = [part for message in script.requests[-1] for part in message.parts]
    return [part.content for part in parts if isinstance(part, ToolReturnPart | RetryPromptPart)]


# ------------------------------------------------------------------------------------------------------- the definition


def test_a_model_is_told_name_docstring_and_parameters_and_not_what_is_injected() -> None:
    @tool
    async def find(order: str, *, info: RunInfo, clients: Clients, context: Desk) -> str:
        """Finds an order.

        Args:
            order: Its number.
        """
        return order

    made = find.as_tool()
    assert (made.name, made.description) == ("find", "Finds an order.")
    assert made.function_schema.json_schema["properties"] == {"order": {"type": "string", "description": "Its number."}}


def test_one_parameter_model_is_what_the_model_gives() -> None:
    @tool
    async def find(query: Query) -> str:
        return f"{query.order} {query.limit}"

    assert set(find.as_tool().function_schema.json_schema["properties"]) == {"order", "limit"}
    assert find.parameters is Query
    agent, script = agent_with(find, asks=[("find", {"order": "a", "limit": 2})])
    assert Flujo(Step.agent("ask", agent)).run("?").output == "Done"
    assert told(script) == ["a 2"]
    assert Flujo(find.as_step()).run(Query(order="b")).output == "b 1"


def test_options_say_more_of_a_tool() -> None:
    @tool(name="pay_out", description="Pays.", requires_approval=True, egress="bank", timeout=5, sequential=True)
    def pay(amount: Annotated[int, Field(gt=0)]) -> str:
        """Not this."""
        return f"paid {amount}"

    made = pay.as_tool()
    assert (made.name, made.description, made.requires_approval) == ("pay_out", "Pays.", True)
    assert (made.timeout, made.sequential, made.metadata) == (5, True, {"egress": "bank"})
    assert made.function_schema.json_schema["properties"]["amount"] == {"type": "integer", "exclusiveMinimum": 0}
    assert (pay.egress, repr(pay)) == ("bank", "<FlujoTool 'pay_out'>")
    assert lookup.as_tool().metadata is None


def local_tool() -> FlujoTool[Any, Any]:
    class Local(BaseModel):
        n: int

    @tool
    async def count(one: Local, more: Local) -> Local:
        return Local(n=one.n + more.n)

    return count


def test_annotations_may_name_what_is_local() -> None:
    made = local_tool()
    assert set(made.parameters.model_fields) == {"one", "more"}
    got = Flujo(made.as_step()).run(made.parameters(one={"n": 1}, more={"n": 2})).output
    assert got.n == 3


async def unknown(order: Missing) -> str: ...  # type: ignore[name-defined] # noqa: F821


async def many(*orders: str) -> str: ...


async def by_place(order: str, /) -> str: ...


async def taken_by_name(order: str, *, other: Annotated[str, From("up")]) -> str: ...


async def stops(order: str) -> str | Stop: ...


async def asks(order: str) -> PauseForHumanInput[str]: ...


async def twice(order: str, *, a: RunInfo, b: RunInfo) -> str: ...


async def in_context(ctx: RunContext[None], order: str) -> str: ...


def yields(order: str) -> Any:
    yield order


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (unknown, "names 'Missing'"),
        (many, "name each parameter"),
        (by_place, "by position only"),
        (taken_by_name, "an agent has no steps before its tools"),
        (stops, "'requires_approval=True'"),
        (asks, "'requires_approval=True'"),
        (twice, "takes its info twice, as 'a' and as 'b'"),
        (in_context, "take 'RunInfo'"),
        (yields, "return it instead of yielding"),
        (5, "not from 'int'"),
    ],
)
def test_a_function_that_cannot_be_a_tool_is_refused(function: Any, said: str) -> None:
    with pytest.raises(SignatureError, match=said):
        tool(function)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"name": "look up"}, "models cannot call"), ({"name": ""}, "name"), ({"timeout": 0}, "above 0")],
)
def test_options_that_cannot_be_are_refused(options: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        tool(**options)(lookup.function)


# ------------------------------------------------------------------------------------------------------ in a Flujo run


@pytest.mark.parametrize("store", [None, "memory://"])
@pytest.mark.parametrize("as_async", [True, False])
def test_a_tool_is_given_what_it_takes_of_the_run(store: str | None, as_async: bool) -> None:
    seen: list[RunInfo] = []

    def body(order: str, info: RunInfo, clients: Clients, context: Desk) -> str:
        seen.append(info)
        context.looked += 1
        return f"{clients.prefix} {order}"

    @tool(name="find", timeout=60)
    async def find_async(order: str, *, info: RunInfo, clients: Clients, context: Desk) -> str:
        return body(order, info, clients, context)

    @tool(name="find", timeout=60)
    def find_sync(order: str, *, info: RunInfo, clients: Clients, context: Desk) -> str:
        assert threading.current_thread() is not threading.main_thread()
        return body(order, info, clients, context)

    agent, script = agent_with(find_async if as_async else find_sync, asks=[("find", {"order": "7"})])
    flujo = Flujo(Step.agent("ask", agent), context=Desk, resources=Clients(), store=store)
    result = flujo.run("?", run_id="r", tenant="acme")
    assert told(script) == ["order 7"]
    assert result.context.looked == 1
    (info,) = seen
    assert (info.run_id, info.tenant, info.address, info.attempt) == ("r", "acme", "ask!tool.c1", 1)
    assert info.deadline is not None


def test_each_call_has_a_key_of_its_own_that_is_the_same_in_each_run_of_that_id() -> None:
    def keys() -> list[str]:
        seen: list[str] = []

        @tool
        async def pay(amount: int, *, info: RunInfo) -> str:
            seen.append(info.idempotency_key)
            return "paid"

        agent, _ = agent_with(pay, asks=[("pay", {"amount": 1}), ("pay", {"amount": 1})])
        Flujo(Step.agent("ask", agent).policy(timeout=60)).run("?", run_id="r")
        return sorted(seen)

    first = keys()
    assert len(set(first)) == 2
    assert keys() == first


def test_an_id_that_comes_again_has_another_key() -> None:
    seen: list[RunInfo] = []

    @tool
    async def pay(amount: int, *, info: RunInfo) -> str:
        seen.append(info)
        return "paid"

    script = Script(calling(("pay", {"amount": 1})), calling(("pay", {"amount": 2})), "Done")
    agent = Agent(script.model, tools=[pay.as_tool()])
    for store in (None, "memory://"):
        script.requests.clear()
        Flujo(Step.agent("ask", agent), store=store).run("?", run_id="r")
    assert [info.address for info in seen] == ["ask!tool.c1", "ask!tool.c1.2"] * 2
    assert len({info.idempotency_key for info in seen}) == 2


def test_what_a_tool_changes_is_the_patch_of_its_call() -> None:
    @tool
    async def note(order: str, *, context: Desk) -> str:
        context.orders = [*context.orders, order]
        return "noted"

    store = MemoryStore()
    agent, _ = agent_with(note, asks=[("note", {"order": "7"})])

    async def main() -> None:
        async with Flujo(Step.agent("ask", agent), context=Desk, store=store) as flujo:
            result = await flujo.run_async("?", run_id="r")
            assert result.context.orders == ["7"]
            calls = [one for one in await flujo.events_async("r") if isinstance(one, CallCompleted)]
            assert [list(one.patch) for one in calls if "!tool." in one.address] == [["orders"]]

    asyncio.run(main())


@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: one.prefixed("my")])
def test_what_a_tool_takes_is_checked_when_the_flujo_is_made(wrap: Any) -> None:
    @tool
    async def find(order: str, *, clients: Clients, context: Desk) -> str:
        return order

    agent: Agent[None, str] = Agent("test", toolsets=[wrap(FunctionToolset([find.as_tool()]))])
    with pytest.raises(DefinitionError, match=r"step 'ask' takes resources of type 'Clients'"):
        Flujo(Step.agent("ask", agent), context=Desk)
    with pytest.raises(DefinitionError, match=r"step 'ask' takes a context of type 'Desk'"):
        Flujo(Step.agent("ask", agent), resources=Clients())


def test_a_call_that_takes_too_long_is_told_to_the_model() -> None:
    @tool(timeout=0.01)
    async def wait(order: str) -> str:
        await asyncio.sleep(60)
        return order

    agent, script = agent_with(wait, asks=[("wait", {"order": "7"})])
    assert Flujo(Step.agent("ask", agent), store="memory://").run("?").output == "Done"
    assert "Timed out" in told(script)[0]


def test_a_tool_that_fails_fails_its_step() -> None:
    @tool
    async def fail(order: str) -> str:
        raise OSError

    agent, _ = agent_with(fail, asks=[("fail", {"order": "7"})])
    with pytest.raises(RunFailed) as caught:
        Flujo(Step.agent("ask", agent)).run("?")
    assert isinstance(caught.value.__cause__ and caught.value.__cause__.__cause__, OSError)


# -------------------------------------------------------------------------------------------------- outside of a run


def test_an_agent_that_is_asked_elsewhere_can_call_what_takes_nothing_of_a_run() -> None:
    agent, script = agent_with(lookup, asks=[("lookup", {"order": "7", "limit": 2})])
    assert asyncio.run(agent.run("?")).output == "Done"
    assert told(script) == ["7 x2"]


def test_outside_of_a_run_defaults_stand_for_what_is_injected() -> None:
    @tool
    async def find(order: str, info: RunInfo | None = None, clients: Clients | None = None) -> str:
        return f"{order} {info is None} {clients is None}"

    agent, script = agent_with(find, asks=[("find", {"order": "7"})])
    asyncio.run(agent.run("?"))
    assert told(script) == ["7 True True"]
    agent, script = agent_with(find, asks=[("find", {"order": "7"})])
    Flujo(Step.agent("ask", agent), resources=Clients()).run("?")
    assert told(script) == ["7 False False"]


def test_outside_of_a_run_a_tool_says_what_it_lacks() -> None:
    @tool
    async def find(order: str, *, info: RunInfo) -> str:
        return order

    agent, _ = agent_with(find, asks=[("find", {"order": "7"})])
    with pytest.raises(DefinitionError, match="tool 'find' takes the info of a run as 'info'"):
        asyncio.run(agent.run("?"))


def test_an_agent_that_a_tool_asks_by_itself_has_no_call_of_the_run() -> None:
    seen: list[RunInfo | None] = []

    @tool
    async def inner(order: str, info: RunInfo | None = None) -> str:
        seen.append(info)
        return order

    script = Script(calling(("inner", {"order": "7"}), first=9), "Inner")
    helper = Agent(script.model, tools=[inner.as_tool()])

    @tool
    async def outer(order: str, *, info: RunInfo) -> str:
        seen.append(info)
        return (await helper.run(order)).output

    agent, _ = agent_with(outer, asks=[("outer", {"order": "7"})])
    Flujo(Step.agent("ask", agent), store="memory://").run("?")
    assert [one is None for one in seen] == [False, True]


def test_a_tool_that_is_not_known_before_the_run_is_not_given_the_context() -> None:
    @tool
    async def note(order: str, *, context: Desk) -> str:
        return order

    script = Script(calling(("note", {"order": "7"})), "Done")
    agent: Agent[None, str] = Agent(script.model)

    @agent.toolset
    def late(ctx: RunContext[None]) -> FunctionToolset[None]:
        return FunctionToolset([note.as_tool()])

    with pytest.raises(RunFailed) as caught:
        Flujo(Step.agent("ask", agent), context=Desk, store="memory://").run("?")
    cause = caught.value.__cause__
    assert cause is not None
    assert "takes the context of a run" in str(cause.__cause__)


# ----------------------------------------------------------------------------------------------------------- approval


def payer(paid: list[str]) -> FlujoTool[int, str]:
    @tool(requires_approval=True)
    async def pay(amount: int, *, info: RunInfo) -> str:
        paid.append(info.idempotency_key)
        return f"paid {amount}"

    return pay


@pytest.mark.parametrize(("yes", "reply"), [(True, "paid 5"), (False, "The tool call was denied.")])
def test_a_call_of_an_agent_is_approved_or_not_once(yes: bool, reply: str, tmp_path: Any) -> None:
    paid: list[str] = []
    agent, script = agent_with(payer(paid), asks=[("pay", {"amount": 5})])

    async def main() -> None:
        async with Flujo(Step.agent("ask", agent), store=f"sqlite:///{tmp_path}/runs.db") as flujo:
            waiting = await flujo.run_async("?", run_id="r")
            assert [one.address for one in waiting.questions] == ["ask!tool.c1"]
            assert paid == []
            assert (await flujo.run_async("?", run_id="r")).status == "paused"
            assert (await flujo.resume_async("r", yes)).output == "Done"
            assert (await flujo.run_async("?", run_id="r")).output == "Done"

    asyncio.run(main())
    assert len(paid) == yes
    assert told(script) == [reply]


def test_a_builder_takes_a_tool_as_it_is() -> None:
    paid: list[str] = []
    script = Script(calling(("pay", {"amount": 5})), "Done")
    agent = AgentBuilder().with_model(script.model).with_tool(payer(paid)).build()
    result = Flujo(Step.agent("ask", agent), store="memory://").run("?")
    assert (result.status, paid) == ("paused", [])
    with pytest.raises(DefinitionError, match="says itself"):
        AgentBuilder().with_tool(payer(paid), approval=True)


# ------------------------------------------------------------------------------------------------------------ as a step


def test_of_one_parameter_the_step_takes_that() -> None:
    @tool
    def shout(text: str) -> str:
        return text.upper()

    step = shout.as_step()
    assert (step.takes, step.gives, step.name) == (str, str, "shout")
    assert Flujo(step).run("a").output == "A"


def test_of_several_parameters_the_step_takes_a_model() -> None:
    flujo = Flujo(lookup.as_step(), store="memory://")
    assert lookup.parameters.__name__ == "LookupParameters"
    assert flujo.run(lookup.parameters(order="7")).output == "7 x1"
    assert flujo.run({"order": "7", "limit": "2"}).output == "7 x2"


def test_of_no_parameters_the_step_ignores_its_input() -> None:
    @tool
    async def ping() -> str:
        return "pong"

    assert Flujo(ping.as_step()).run().output == "pong"
    agent, script = agent_with(ping, asks=[("ping", {})])
    Flujo(Step.agent("ask", agent)).run("?")
    assert told(script) == ["pong"]


def test_a_step_is_given_what_it_takes_of_the_run() -> None:
    @tool
    async def find(order: str, limit: int, *, info: RunInfo, clients: Clients, context: Desk) -> str:
        context.looked += limit
        return f"{clients.prefix} {info.address}"

    result = Flujo(find.as_step(), context=Desk, resources=Clients()).run(find.parameters(order="7", limit=2))
    assert (result.output, result.context.looked) == ("order find", 2)


def test_a_step_has_the_tools_timeout_and_takes_policies() -> None:
    tries: list[int] = []

    @tool(timeout=0.01)
    async def wait(order: str) -> str:
        tries.append(1)
        await asyncio.sleep(60)
        return order

    with pytest.raises(RunFailed) as caught:
        Flujo(wait.as_step().policy(retry=Retry(attempts=2, backoff=0))).run("7")
    cause = caught.value.__cause__
    assert cause is not None
    assert isinstance(cause, StepTimeout) or isinstance(cause.__cause__, StepTimeout)
    assert len(tries) == 2


@pytest.mark.parametrize("as_async", [True, False])
@pytest.mark.parametrize("yes", [True, False])
def test_a_step_that_needs_approval_asks_once_and_runs_only_when_approved(yes: bool, as_async: bool) -> None:
    called: list[str] = []

    @tool(name="pay", requires_approval=True, timeout=60)
    async def pay_async(amount: int, *, info: RunInfo, context: Desk) -> str:
        called.append(info.address)
        context.looked += amount
        return f"paid {amount}"

    @tool(name="pay", requires_approval=True, timeout=60)
    def pay_sync(amount: int, *, info: RunInfo, context: Desk) -> str:
        called.append(info.address)
        context.looked += amount
        return f"paid {amount}"

    async def main() -> None:
        node = (pay_async if as_async else pay_sync).as_step()
        assert (node.takes, node.gives) == (int, str)
        async with Flujo(node, context=Desk, store="memory://") as flujo:
            waiting = await flujo.run_async(5, run_id="r")
            (question,) = waiting.questions
            assert question.address == "pay/approve"
            assert question.text == "May the tool 'pay' be called with this?\n\n5"
            assert called == []
            if not yes:
                with pytest.raises(RunFailed) as caught:
                    await flujo.resume_async("r", False)
                assert isinstance(caught.value.__cause__, NotApproved)
                assert called == []
                return
            result = await flujo.resume_async("r", True)
            assert (result.output, result.context.looked) == ("paid 5", 5)
            assert called == ["pay/call"]

    asyncio.run(main())


def test_a_fallback_stands_for_a_step_that_was_not_approved() -> None:
    @tool(requires_approval=True)
    async def ping() -> str:
        return "pong"

    @tool
    async def silence() -> str:
        return "silence"

    async def main() -> list[str]:
        async with Flujo(ping.as_step().policy(fallback=silence.as_step()), store="memory://") as flujo:
            for run_id in ("yes", "no"):
                waiting = await flujo.run_async(None, run_id=run_id)
                assert [one.text for one in waiting.questions] == ["May the tool 'ping' be called?"]
            return [(await flujo.resume_async(run_id, run_id == "yes")).output for run_id in ("yes", "no")]

    assert asyncio.run(main()) == ["pong", "silence"]


def test_a_tool_is_known_by_its_function_in_a_pipeline_too() -> None:
    step = lookup.as_step()
    assert isinstance(step, Step)
    assert identity_of(step.action.function).endswith(":lookup")

    @tool(name="lookup")
    async def other(order: str, limit: int = 1) -> str:
        return order * limit

    changed = other.as_step()
    assert isinstance(changed, Step)
    assert body_of(step.action.function) == body_of(lookup.as_step().action.function)
    assert body_of(step.action.function) != body_of(changed.action.function)
    assert body_of(lookup.as_tool().function) != body_of(other.as_tool().function)
    assert "approve" in diagram(payer([]).as_step())
