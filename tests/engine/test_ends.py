"""How a run ends when branches end it in different ways: a refusal before a stop, a stop before a failure."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import permutations
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from flujo_core import (
    Branch,
    BranchesFailed,
    Flujo,
    Map,
    MemoryStore,
    Merge,
    NoCase,
    Parallel,
    PipelineContext,
    Plugin,
    Retry,
    RunFailed,
    RunRefused,
    StepCall,
    StepError,
    StepTimeout,
    Stop,
    StoreError,
    Veto,
    step,
)
from flujo_core.model.run import fold


class Guard(Plugin):
    """Refuses a step; and lets all that end a run come to that at the same moment."""

    name = "guard"

    def __init__(self, together: int = 1) -> None:
        self._barrier = asyncio.Barrier(together)

    async def pre_step_execution(self, call: StepCall, /) -> None:
        if call.step_name in ("vetoed", "stop", "fail"):
            await self._barrier.wait()
        if call.step_name == "vetoed":
            raise Veto("not here")


@step
async def vetoed(value: int) -> int:
    return value


@step
async def stop(value: int) -> int | Stop:
    return Stop("enough")


@step
async def fail(value: int) -> int:
    raise ValueError


@step
async def slow(value: int) -> int:
    await asyncio.sleep(30)
    return value


STEPS = {"vetoed": vetoed, "stop": stop, "fail": fail, "slow": slow}


def ended(node: Any, store: str | None, together: int = 1) -> Any:
    try:
        return Flujo(node, plugins=[Guard(together)], store=store).run(1)
    except RunFailed as failure:
        return failure.result


@pytest.mark.parametrize("store", [None, "memory://"])
@pytest.mark.parametrize("on_error", ["cancel", "collect"])
@pytest.mark.parametrize(
    ("names", "status"),
    [
        *((names, "refused") for names in permutations(["vetoed", "stop", "fail"])),
        *((names, "stopped") for names in permutations(["stop", "slow"])),
        *((names, "refused") for names in permutations(["vetoed", "slow"])),
    ],
)
def test_the_worst_of_the_ends_counts_and_no_sibling_goes_on(
    names: tuple[str, ...], status: str, on_error: Literal["cancel", "collect"], store: str | None
) -> None:
    together = len([name for name in names if name != "slow"])
    fan = Parallel("fan", {name: STEPS[name] for name in names}, on_error=on_error)
    result = ended(
        fan.policy(retry=Retry(attempts=3), fallback=step(name="instead")(lambda value: {})), store, together
    )
    assert result.status == status
    state = fold(result.events)
    assert not [one for one in state.steps.values() if one.status == "running" or one.address.startswith("fan~")]
    assert state.nodes["fan"].attempts == 1 and state.nodes["fan"].status == "cancelled"


def test_a_stop_ends_the_run_from_any_depth() -> None:
    nested = Parallel("fan", a=(vetoed.named("fine") >> stop).named("deep"), b=slow)
    assert ended(nested >> step(name="end")(lambda value: value), None).status == "stopped"


def test_a_refusal_is_raised_as_such() -> None:
    with pytest.raises(RunRefused, match="not here"):
        Flujo(Parallel("fan", a=vetoed, b=slow), plugins=[Guard()]).run(1)


def test_a_cancellation_after_a_timeout_that_was_swallowed_is_the_runs_and_no_plugins() -> None:
    @step
    async def deaf(value: int) -> int:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(30)
        return value

    class Slow(Plugin):
        name = "slow"

        async def pre_step_execution(self, call: StepCall, /) -> None:
            if call.step_name == "last":
                await asyncio.sleep(30)

    async def run() -> str:
        node, store = (deaf >> slow).named("both").policy(timeout=0.01, fallback=slow.named("last")), MemoryStore()
        flujo = Flujo(node, plugins=[Slow()], store=store)
        task = asyncio.create_task(flujo.run_async(1, run_id="r"))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return (await store.runs())[0].status

    assert asyncio.run(run()) == "cancelled"


def test_errors_of_branches_are_in_the_order_of_declaration() -> None:
    @step
    async def late(value: int) -> int:
        await asyncio.sleep(0.01)
        raise KeyError

    with pytest.raises(RunFailed) as failed:
        Flujo(Parallel("fan", a=late, b=late.named("x"), c=fail, on_error="collect")).run(1)
    cause = failed.value.__cause__
    assert isinstance(cause, BranchesFailed) and [*cause.errors] == ["fan[a]", "fan[b]", "fan[c]"]
    assert str(cause).index("fan[a]/late") < str(cause).index("fan[c]/fail")


def stubborn(calls: list[int], **policies: Any) -> Any:
    """A step that makes another error of its cancellation, as client libraries may."""

    @step(name="stubborn", **policies)
    async def stubborn(value: int) -> int:
        calls.append(value)
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            raise ConnectionError from None
        return value

    return stubborn


POLICIES = [
    {"retry": Retry(attempts=3, backoff=30)},
    {"fallback": step(name="instead")(lambda value: value)},
    {"retry": Retry(attempts=3)},
]


@pytest.mark.parametrize("policies", POLICIES, ids=["backoff", "fallback", "retry"])
@pytest.mark.parametrize("of_node", [False, True])
def test_nothing_is_tried_again_after_a_sibling_has_failed(policies: dict[str, Any], of_node: bool) -> None:
    calls: list[int] = []
    one = stubborn(calls).named("in").named("stubborn") if of_node else stubborn(calls, **policies)
    one = (one >> slow).named("node").policy(**policies) if of_node else one
    result = ended(Parallel("fan", a=fail, b=one), None)
    assert result.status == "failed" and calls == [1] and result.end.error.message.startswith("step 'fan[a]/fail'")


def test_nothing_is_tried_again_after_the_time_of_a_node_is_over() -> None:
    calls: list[int] = []
    node = (stubborn(calls, retry=Retry(attempts=3, backoff=30)) >> slow).named("node").policy(timeout=0.02)
    with pytest.raises(RunFailed) as failed:
        Flujo(node).run(1)
    assert isinstance(failed.value.__cause__, StepTimeout) and calls == [1]


def test_a_step_that_makes_another_error_of_its_timeout_has_timed_out() -> None:
    with pytest.raises(RunFailed) as failed:
        Flujo(stubborn([], timeout=0.02)).run(1)
    assert isinstance(failed.value.__cause__, StepTimeout)


def test_a_step_does_not_begin_after_a_hook_that_has_swallowed_its_cancellation() -> None:
    calls: list[int] = []

    @step
    async def late(value: int) -> int:
        calls.append(value)
        return value

    class Deaf(Plugin):
        name = "deaf"

        async def pre_step_execution(self, call: StepCall, /) -> None:
            if call.step_name == "late":
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(30)

    with pytest.raises(RunFailed):
        Flujo(Parallel("fan", a=fail, b=late), plugins=[Deaf()]).run(1)
    assert calls == []


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_source_that_takes_its_time_to_end_is_waited_for_however_often_the_run_is_cancelled(times: int) -> None:
    ends: list[str] = []

    async def items() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0.05)
            ends.append("closed")
            raise ValueError("CANARY")

    async def run() -> None:
        task = asyncio.create_task(Flujo(Map("each", slow, over=lambda value: items())).run_async(1))
        for _ in range(times):
            await asyncio.sleep(0.02)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    gc.collect()
    assert ends == ["closed"]


def test_a_failed_append_is_the_error_though_the_node_that_waited_for_it_was_cancelled() -> None:
    class Full(MemoryStore):
        async def append(self, records: Any, lease: Any, /, **more: Any) -> None:
            if records[0].sequence > 1:
                await asyncio.sleep(0.1)
                raise StoreError("full")
            await super().append(records, lease, **more)

    node = (vetoed.named("one") >> vetoed.named("two")).named("node").policy(timeout=0.03, retry=Retry(attempts=2))
    with pytest.raises(StoreError, match="full"):
        Flujo(vetoed.named("zero") >> node, store=Full()).run(1)


def test_the_next_attempt_waits_for_the_thread_also_when_it_is_cut_off_itself() -> None:
    alive, most = [0], [0]

    @step
    def sync(value: int) -> int:
        alive[0] += 1
        most[0] = max(most[0], alive[0])
        time.sleep(0.3)
        alive[0] -= 1
        return value

    node = sync.named("in").named("sync")
    with pytest.raises(RunFailed):
        Flujo((node >> slow).named("node").policy(timeout=0.05, retry=Retry(attempts=4))).run(1)
    assert most == [1]


def test_a_reducer_may_change_what_it_is_given() -> None:
    def gather(base: list[str], values: list[list[str]]) -> list[str]:
        begun = len(base)
        for value in values:
            base += value[begun:]
        return base

    class Log(PipelineContext):
        lines: Annotated[list[str], Merge(gather)] = ["s"]

    @step
    async def note(value: int, context: Log) -> int:
        context.lines.append("x")
        return value

    result = Flujo(Parallel("fan", a=note, b=note), context=Log, store="memory://").run(1)
    assert result.context.lines == ["s", "x", "x"] == fold(result.events).context["lines"]


class Aliased(BaseModel):
    a: int = Field(alias="first")


def test_branches_become_fields_by_their_names_and_not_their_aliases() -> None:
    assert Flujo(Parallel("fan", into=Aliased, a=vetoed.named("x"))).run(1).output.a == 1


def test_a_case_for_1_is_none_for_true() -> None:
    with pytest.raises(RunFailed) as failed:
        Flujo(Branch("route", on=lambda value: value == 1).case(1, slow)).run(1)
    assert isinstance(failed.value.__cause__, NoCase)


def test_a_step_within_a_timeout_may_refuse_the_run() -> None:
    @step(timeout=30)
    async def refuse(value: int) -> int:
        raise Veto("not here")

    with pytest.raises(RunRefused, match="not here"):
        Flujo(refuse).run(1)


def test_no_item_is_taken_after_one_has_failed() -> None:
    taken: list[int] = []

    async def items() -> AsyncIterator[int]:
        for number in range(9):
            taken.append(number)
            yield number

    @step
    async def later(value: int) -> int:
        await asyncio.sleep(0.01)
        raise ValueError

    with pytest.raises(RunFailed):
        Flujo(Map("each", later, over=lambda value: items(), max_concurrency=1)).run(1)
    assert taken == [0]


@pytest.mark.parametrize("store", [None, "memory://"])
def test_no_plugin_stands_in_for_a_step_that_refuses_the_run(store: str | None) -> None:
    asked: list[str] = []

    @step
    async def refuse(value: int) -> int:
        raise Veto("not here")

    class Mends(Plugin):
        name = "mends"

        async def on_step_error(self, call: StepCall, error: StepError, /) -> None:
            asked.append(call.step_name)

    flujo: Flujo[int, int, Any] = Flujo(refuse, plugins=[Mends()], store=store)
    with pytest.raises(RunRefused, match="not here"):
        flujo.run(1)
    assert asked == []
