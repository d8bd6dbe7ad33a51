"""How a run ends when branches end it in different ways: a refusal before a stop, a stop before a failure."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import permutations
from typing import Any, Literal

import pytest

from flujo_core import (
    BranchesFailed,
    Flujo,
    MemoryStore,
    Parallel,
    Plugin,
    Retry,
    RunFailed,
    RunRefused,
    StepCall,
    Stop,
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
