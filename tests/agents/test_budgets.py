"""Budgets are hard: nothing is sent that they have no room for. All models are simulated, and have made-up prices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from budget_kit import ALONE, FORTY, Desk, check_never_over, metered, told
from hypothesis import given, settings
from hypothesis import strategies as st
from passing_store import Passing
from pydantic_ai import Agent
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import ModelHTTPError, UserError
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import RequestUsage

from flujo_core import (
    AgentReply,
    BranchesFailed,
    Budget,
    BudgetExceeded,
    BudgetRefused,
    BudgetReserved,
    BudgetSettled,
    Flujo,
    HumanInput,
    MemoryStore,
    OverBudget,
    Parallel,
    Price,
    Retry,
    RunFailed,
    RunInfo,
    Spend,
    Standing,
    Step,
    Store,
    StoreError,
    Usage,
    step,
)
from flujo_core.store.ledger import Hold, Shortage

STORES: list[Callable[[], Store | None]] = [lambda: None, MemoryStore]


def done(work: Any) -> Any:
    return asyncio.run(asyncio.wait_for(work, 30))


def refused(flujo: Flujo[Any, Any, Any], value: Any = "x", **keywords: Any) -> BudgetExceeded:
    with pytest.raises(BudgetExceeded) as caught:
        done(flujo.run_async(value, **keywords))
    return caught.value


@pytest.mark.parametrize("store", STORES)
def test_of_six_branches_that_cost_forty_cents_two_run_under_a_dollar(store: Callable[[], Store | None]) -> None:
    desk = Desk()
    error = refused(metered(desk.fan(6, on_error="collect"), Budget(cost_usd=1), store=store()))
    statuses = [one.status for one in error.result.steps]
    assert (statuses.count("completed"), statuses.count("failed"), desk.asked) == (2, 4, 2)
    assert {one.error.type for one in error.result.steps if one.error} == {"OverBudget"}
    assert check_never_over(error.result.events, Decimal(1)).cost_usd == Decimal("0.8")
    assert error.result.usage.cost_usd == Decimal("0.8")
    assert isinstance(error.__cause__, BranchesFailed)


@pytest.mark.parametrize("store", STORES)
def test_where_requests_settle_below_their_reservations_waiting_branches_go_on(
    store: Callable[[], Store | None],
) -> None:
    desk = Desk(tokens=100, turns=200)
    price = Price(input_usd_per_mtok=1000, output_usd_per_mtok=1000, context_window=100)
    flujo = metered(desk.fan(6), Budget(cost_usd=0.8), prices={"function:*": price}, store=store())
    result = done(flujo.run_async("x"))  # each may come to 0.20, and comes to 0.101
    assert desk.asked == 6 and desk.most_at_once == 4
    assert check_never_over(result.events, Decimal("0.8")).cost_usd == Decimal("0.606")


def test_a_budget_can_refuse_at_once_what_does_not_fit_now() -> None:
    desk = Desk(tokens=100)
    price = {"function:*": Price(input_usd_per_mtok=1000, output_usd_per_mtok=1000, context_window=400)}
    budget = Budget(cost_usd=1, when_short="refuse")
    error = refused(metered(desk.fan(6, on_error="collect"), budget, prices=price))
    assert desk.asked == 1
    assert "held for what is under way" in str(error)


def test_who_is_refused_is_told_the_budget_and_the_amounts() -> None:
    desk = Desk()
    error = refused(metered(desk.step("a") >> desk.step("b") >> desk.step("c"), Budget(cost_usd=1)))
    assert str(error.__cause__) == (
        "step 'c' failed: the budget of 1 USD per run has no room for a call that may come to 0.4 USD: 0.8 are spent"
    )
    assert isinstance(error, RunFailed) and isinstance(error.__cause__, OverBudget)
    last = told(error.result.events)[-1]
    assert isinstance(last, BudgetRefused)
    assert (last.address, last.attempt, last.budget, last.most) == (
        "c!model.1", 1, "1 USD per run", Spend(Decimal("0.4"), 0, 1),
    )  # fmt: skip


def test_a_step_that_a_budget_refuses_is_not_tried_again_and_its_fallback_stands_in() -> None:
    @step
    async def instead(text: str) -> str:
        return "instead"

    desk = Desk()
    again = desk.step("a").policy(retry=Retry(attempts=5), fallback=instead)
    result = done(metered(again, Budget(cost_usd=0.3)).run_async("x"))
    assert result.output == "instead" and desk.asked == 0
    assert len(told(result.events)) == 1


@pytest.mark.parametrize("store", STORES)
def test_a_budget_per_step_counts_each_step_with_all_its_attempts(store: Callable[[], Store | None]) -> None:
    desk = Desk()
    fails = 3

    def reject(text: str) -> str | None:
        nonlocal fails
        fails -= 1
        return "no" if fails >= 0 else None

    node = desk.step("a") >> desk.step("b").policy(retry=Retry(attempts=9), validators=[reject])
    error = refused(metered(node, Budget(cost_usd=1, per="step"), store=store()))
    assert desk.asked == 3  # one of a, two of b
    assert "per step" in str(error)


def test_budgets_of_requests_and_tokens_hold() -> None:
    desk = Desk(tokens=10)
    error = refused(metered(desk.step("a") >> desk.step("b") >> desk.step("c"), Budget(requests=2)))
    assert desk.asked == 2 and "2 requests per run" in str(error)
    bound = {"function:*": Price(context_window=100)}
    error = refused(metered(desk.step("a") >> desk.step("b"), Budget(tokens=105), prices=bound))
    assert "no room for a call that may come to 100 tokens" in str(error)


def test_a_budget_of_tool_calls_holds_and_nothing_of_the_call_is_done() -> None:
    called = []

    def ask(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[ToolCallPart("note", {"text": "x"})])

    agent = Agent(FunctionModel(ask, model_name="acme"), tools=[lambda: None][:0])

    @agent.tool_plain
    def note(text: str) -> str:
        called.append(text)
        return "noted"

    error = refused(metered(Step.agent("a", agent, input=str), Budget(tool_calls=2), store=MemoryStore()))
    assert called == ["x", "x"]
    assert "2 tool calls per run" in str(error)
    spent = [one.used.tool_calls for one in told(error.result.events) if isinstance(one, BudgetSettled)]
    assert sum(spent) == 2


# ---- prices


def test_a_model_without_a_known_price_is_refused_unless_the_budget_allows_it() -> None:
    class Private(FunctionModel):
        @property
        def system(self) -> str:
            return "private"

    async def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[TextPart("ok")], usage=RequestUsage(input_tokens=5, output_tokens=5))

    one = Step.agent("a", Agent(Private(answer, model_name="m")), input=str)
    error = refused(metered(one, Budget(cost_usd=1)))
    assert "takes no request of which the most that it can cost is not known" in str(error)
    result = done(metered(one, Budget(cost_usd=1, unpriced="allow")).run_async("x"))
    assert result.output == "ok"
    settled = told(result.events)[-1]
    assert isinstance(settled, BudgetSettled) and not settled.is_known and settled.used.tokens == 10
    result = done(metered(one, Budget(cost_usd=1), prices={"private:*": Price(request_usd=0.25)}).run_async("x"))
    assert result.usage.cost_usd == Decimal("0.25")


def test_a_request_without_a_bound_is_refused_where_tokens_are_limited() -> None:
    desk = Desk()
    error = refused(metered(desk.step("a"), Budget(tokens=10**9)))
    assert "takes no request that has no bound" in str(error)
    bounded = desk.step("a", model_settings={"max_tokens": 20})
    assert done(metered(bounded, Budget(tokens=10**9)).run_async("x")).output == "ok"


def test_an_agent_whose_requests_are_not_seen_is_refused_unless_the_budget_allows_it() -> None:
    class Foreign:
        async def run(self, input: str, /, *, info: RunInfo) -> AgentReply[str]:
            return AgentReply("ok", Usage(2, 30, 10, 1, Decimal("0.5")))

    one = Step.agent("a", Foreign())
    assert "takes no agent whose requests are not seen" in str(refused(metered(one, Budget(requests=5))))
    budget = Budget(cost_usd=0.8, unpriced="allow")
    error = refused(metered(_twice(Foreign()), budget))
    spent = [each.used for each in told(error.result.events) if isinstance(each, BudgetSettled)]
    assert spent == [Spend(Decimal("0.5"), 40, 2, 1)] * 2
    assert "1.0 are spent" in str(error)


def _twice(agent: Any) -> Any:
    desk = Desk()
    return Step.agent("a", agent) >> Step.agent("b", agent) >> desk.step("c")


def test_what_a_request_has_cost_above_its_most_is_spent_and_the_next_is_refused() -> None:
    desk = Desk(tokens=5000)  # of a model that has a window of 100
    price = {"function:*": Price(input_usd_per_mtok=1000, context_window=100)}
    error = refused(metered(desk.step("a") >> desk.step("b"), Budget(cost_usd=1), prices=price))
    assert desk.asked == 1
    assert "5 are spent" in str(error) or "5.000 are spent" in str(error)


# ---- requests that fail


@pytest.mark.parametrize(
    ("raised", "spent", "is_known"),
    [
        (ModelHTTPError(429, "acme"), Spend(requests=1), True),
        (ModelHTTPError(504, "acme"), Spend(Decimal("0.4"), 0, 1), False),
        (ConnectionError(), Spend(Decimal("0.4"), 0, 1), False),
        (UserError("not configured"), Spend(), True),
    ],
    ids=["the provider refused it", "a gateway timed out", "the connection was lost", "it was never sent"],
)
def test_a_request_that_fails_settles_at_what_it_can_have_cost(raised: Exception, spent: Spend, is_known: bool) -> None:
    def fail() -> None:
        raise raised

    with pytest.raises(RunFailed) as caught:
        done(metered(Desk(before=fail).step("a"), Budget(cost_usd=1)).run_async("x"))
    settled = told(caught.value.result.events)[-1]
    assert isinstance(settled, BudgetSettled)
    assert (settled.used, settled.is_known) == (spent, is_known)


def test_a_request_that_is_cancelled_settles_at_its_most() -> None:
    desk = Desk(turns=10**9)
    with pytest.raises(RunFailed) as caught:
        done(metered(desk.step("a").policy(timeout=0.05), Budget(cost_usd=1)).run_async("x"))
    settled = told(caught.value.result.events)[-1]
    assert isinstance(settled, BudgetSettled) and settled.used.cost_usd == Decimal("0.4") and not settled.is_known


def test_each_model_that_a_fallback_asks_is_reserved_for_itself() -> None:
    def fail() -> None:
        raise ModelHTTPError(503, "first")

    first, second = Desk("first", before=fail), Desk("acme")
    agent = Agent(FallbackModel(first.model, second.model))
    prices = {"function:first": Price(request_usd=0.7), **FORTY}
    one = Step.agent("a", agent, input=str)
    result = done(metered(one, Budget(cost_usd=1), prices=prices).run_async("x"))
    most = [each.most.cost_usd for each in told(result.events) if isinstance(each, BudgetReserved)]
    assert most == [Decimal("0.7"), Decimal("0.4")]
    assert check_never_over(result.events, Decimal(1)).cost_usd == Decimal("0.4")


def test_a_refusal_is_not_made_a_success_by_a_capability_of_the_agent() -> None:
    class Obliging(AbstractCapability[Any]):
        async def on_model_request_error(self, ctx: Any, *, request_context: Any, error: Exception) -> ModelResponse:
            return ModelResponse(parts=[TextPart("never mind")])

    one = Desk().step("a", capabilities=[Obliging()])
    assert isinstance(refused(metered(one, Budget(cost_usd=0.1))).__cause__, OverBudget)


def test_what_a_capability_has_answered_without_the_model_is_counted_when_it_is_told() -> None:
    class Batch(AbstractCapability[Any]):
        async def wrap_model_request(self, ctx: Any, *, request_context: Any, handler: Any) -> ModelResponse:
            return ModelResponse(parts=[TextPart("ok")], usage=RequestUsage(input_tokens=3, output_tokens=4))

    result = done(metered(Desk().step("a", capabilities=[Batch()]), Budget(cost_usd=1)).run_async("x"))
    (settled,) = told(result.events)
    assert isinstance(settled, BudgetSettled) and settled.hold == ""
    assert settled.used == Spend(Decimal("0.4"), 7, 1)


# ---- streams


async def _pieces(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
    for word in ("one ", "two ", "three"):
        yield word


@pytest.mark.parametrize("store", STORES)
def test_a_stream_is_settled_when_it_has_ended(store: Callable[[], Store | None]) -> None:
    agent = Agent(FunctionModel(stream_function=_pieces, model_name="acme"))
    flujo = metered(Step.agent("a", agent, input=str), Budget(cost_usd=1), store=store())

    async def main() -> Any:
        async with flujo.stream("x") as run:
            async for _ in run:
                pass
        return run.result

    result = done(main())
    assert result.output == "one two three"
    assert result.usage.cost_usd == Decimal("0.4")
    assert check_never_over(result.events, Decimal(1)).requests == 1


def test_a_stream_that_breaks_off_settles_at_its_most() -> None:
    async def broken(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        yield "one "
        raise ModelHTTPError(500, "acme")

    agent = Agent(FunctionModel(stream_function=broken, model_name="acme"))
    one = Step.agent("a", agent, input=str).policy(timeout=None)

    async def main() -> Any:
        flujo = metered(one, Budget(cost_usd=1))
        async with flujo.stream("x") as run:
            async for _ in run:
                pass
        return run.result

    with pytest.raises(RunFailed) as caught:
        done(main())
    settled = told(caught.value.result.events)[-1]
    assert isinstance(settled, BudgetSettled) and settled.used.cost_usd == Decimal("0.4") and not settled.is_known


# ---- resumed runs


def test_what_was_spent_before_a_pause_counts_after_it() -> None:
    desk = Desk()
    node = desk.step("a") >> HumanInput("ask", str, ask="go on?") >> desk.step("b") >> desk.step("c")

    async def main() -> BudgetExceeded:
        store = MemoryStore()
        paused = await metered(node, Budget(cost_usd=1), store=store).run_async("x")
        assert paused.status == "paused"
        with pytest.raises(BudgetExceeded) as caught:
            await metered(node, Budget(cost_usd=1), store=store).resume_async(paused.run_id, "yes")
        return caught.value

    error = done(main())
    assert desk.asked == 2
    assert check_never_over(error.result.events, Decimal(1)).cost_usd == Decimal("0.8")


class Dying(Passing):
    """A store whose holder dies after the k-th append: nothing more is written, and its lease can be taken."""

    def __init__(self, kept: Store, lasts: int) -> None:
        super().__init__(kept)
        self.lasts = lasts

    async def around(self, name: str, call: Callable[[], Any]) -> Any:
        if name == "append":
            if self.lasts <= 0:
                raise StoreError("the process is dead")
            self.lasts -= 1
        elif self.lasts <= 0 and name != "acquire":
            raise StoreError("the process is dead")
        return await call()

    async def settle(self, account: str, name: str, used: Spend, /) -> None:
        await self.around("settle", lambda: self.kept.settle(account, name, used))

    async def reserve(self, hold: Hold, limits: Any, /) -> Shortage | None:
        return await self.around("reserve", lambda: self.kept.reserve(hold, limits))


@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=5),
    st.integers(40, 150),
    st.lists(st.integers(1, 12), max_size=3),
    st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_whatever_branches_cost_and_wherever_processes_die_spent_and_held_never_exceed_the_limit(
    costs: list[int], limit: int, deaths: list[int], shared: bool
) -> None:
    """Costs in cents; each request may come to 10 cents more than it does."""

    def leaf(number: int, cost: int) -> Step[str, str]:
        async def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
            await asyncio.sleep(0)
            return ModelResponse(parts=[TextPart("ok")], usage=RequestUsage(input_tokens=cost * 10, output_tokens=0))

        return Step.agent(f"b{number}", Agent(FunctionModel(answer, model_name=f"m{number}")), input=str)

    node = Parallel("fan", **{f"b{n}": leaf(n, cost) for n, cost in enumerate(costs)}, on_error="collect")
    prices = {
        f"function:m{n}": Price(input_usd_per_mtok=1000, context_window=(cost + 10) * 10)
        for n, cost in enumerate(costs)
    }
    budget = Budget(cost_usd=Decimal(limit) / 100, per="tenant" if shared else "run")

    async def main() -> None:
        kept = MemoryStore()
        for lasts in [*deaths, 10**6]:
            flujo = metered(node, budget, prices=prices, store=Dying(kept, lasts), max_recoveries=9)
            try:
                if await kept.run("r") is None:
                    await flujo.run_async("x", run_id="r", tenant="acme")
                else:
                    await flujo.resume_async("r")
            except (BudgetExceeded, StoreError):
                pass
            standing = await kept.standing("acme")
            assert standing.spent.cost_usd + standing.held.cost_usd <= Decimal(limit) / 100
        if not shared:  # else the order in the journal is not that of the ledger
            check_never_over(await flujo.events_async("r"), Decimal(limit) / 100)

    done(main())


# ---- tenants


def test_a_tenants_budget_is_of_all_its_runs_and_of_nobody_elses() -> None:
    desk, store = Desk(), MemoryStore()
    budget = Budget(cost_usd=1, per="tenant", window=timedelta(days=1))

    async def main() -> BudgetExceeded:
        for _ in range(2):
            await metered(desk.step("a"), budget, store=store).run_async("x", tenant="acme")
        await metered(desk.step("a"), budget, store=store).run_async("x", tenant="umbra")
        with pytest.raises(BudgetExceeded) as caught:
            await metered(desk.step("a"), budget, store=store).run_async("x", tenant="acme")
        assert await store.standing("acme") == Standing(Spend(Decimal("0.8"), 22, 2))
        return caught.value

    assert "1 USD per tenant in 1 day, 0:00:00" in str(done(main()))


def test_without_a_store_a_tenants_budget_is_of_one_flujo() -> None:
    desk = Desk()
    flujo = metered(desk.step("a"), Budget(cost_usd=0.4, per="tenant"))
    done(flujo.run_async("x", tenant="acme"))
    refused(flujo, tenant="acme")
    done(flujo.run_async("x"))  # nobody's runs have a ledger of their own


def test_who_waits_for_a_tenants_budget_goes_on_when_another_process_gives_back() -> None:
    desk, store = Desk(), MemoryStore()

    async def main() -> Any:
        await store.reserve(Hold("acme", "other", Spend(Decimal("0.8")), 60.0), [])
        flujo = metered(desk.step("a"), Budget(cost_usd=1, per="tenant"), store=store)
        work = asyncio.ensure_future(flujo.run_async("x", tenant="acme"))
        await asyncio.sleep(0.1)
        assert desk.asked == 0
        await store.settle("acme", "other", Spend(Decimal("0.1")))
        return await work

    assert done(main()).output == "ok"


def test_a_ledger_that_cannot_be_asked_sends_nothing() -> None:
    class Broken(MemoryStore):
        async def reserve(self, hold: Hold, limits: Any, /) -> Shortage | None:
            raise StoreError("the server is away")

    desk = Desk()
    with pytest.raises((StoreError, RunFailed)):
        done(metered(desk.step("a"), Budget(cost_usd=1, per="tenant"), store=Broken()).run_async("x", tenant="t"))
    assert desk.asked == 0


def test_a_ledger_that_cannot_be_settled_counts_the_most_and_the_run_goes_on() -> None:
    class Broken(MemoryStore):
        async def settle(self, account: str, name: str, used: Spend, /) -> None:
            raise StoreError("the server is away")

    desk, store = Desk(), Broken()
    result = done(metered(desk.step("a"), Budget(cost_usd=1, per="tenant"), store=store).run_async("x", tenant="t"))
    assert result.output == "ok"
    assert done(store.standing("t")).held.cost_usd == Decimal("0.4")


# ---- the time


@pytest.mark.parametrize("store", STORES)
def test_a_run_whose_time_is_over_is_ended(store: Callable[[], Store | None]) -> None:
    @step
    async def slow(text: str) -> str:
        await asyncio.sleep(20)
        return text

    error = refused(metered(slow, Budget(wall_time=timedelta(seconds=0.1)), store=store()))
    assert "has gone on for its 0.1 s" in str(error)
    assert error.result.status == "failed"


def test_what_a_run_waits_for_people_is_not_its_time() -> None:
    @step
    async def quick(text: str) -> str:
        return text

    async def main() -> Any:
        store = MemoryStore()
        flujo = metered(quick >> HumanInput("ask", str, ask="?"), Budget(wall_time=timedelta(seconds=0.5)), store=store)
        paused = await flujo.run_async("x")
        await asyncio.sleep(0.7)
        return await flujo.resume_async(paused.run_id, "yes")

    assert done(main()).output == "yes"


def test_the_time_of_earlier_sessions_counts() -> None:
    @step
    async def slow(text: str) -> str:
        await asyncio.sleep(0.4)
        return text

    async def main() -> None:
        store = MemoryStore()
        node = slow >> HumanInput("ask", str, ask="?") >> slow.named("again")
        flujo = metered(node, Budget(wall_time=timedelta(seconds=0.6)), store=store)
        paused = await flujo.run_async("x")
        with pytest.raises(BudgetExceeded):
            await flujo.resume_async(paused.run_id, "yes")
        with pytest.raises(BudgetExceeded):  # the stored outcome is the same
            await flujo.resume_async(paused.run_id)

    done(main())


def test_budgets_of_the_configuration_hold_beside_those_of_the_program() -> None:
    desk = Desk()
    own = replace(ALONE, budgets=(Budget(requests=1),), prices={"function:acme": Price(request_usd=9)})
    flujo = Flujo(desk.step("a") >> desk.step("b"), settings=own, budgets=[Budget(cost_usd=100)], prices=FORTY)
    error = refused(flujo)
    assert "1 requests per run" in str(error)
    assert error.result.usage.cost_usd == Decimal("0.4")  # the program's price
