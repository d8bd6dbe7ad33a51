"""Random pipelines give what the reference interpreter says, whatever runs first, with a store or hooks or without."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from plugin_kit import alone
from random_pipelines import Leaks, Shared, World, built, pipelines, settled
from reference_interpreter import Leaf, Plans, all_plans, expected
from run_checks import (
    TracedStore,
    check_durable,
    check_end,
    check_events,
    check_order,
    check_state,
    check_steps,
    events_of,
    with_attempts,
)

from flujo_core import (
    PipelineResult,
    Plugin,
    RunEnd,
    RunFailed,
    RunStart,
    StepCall,
    StepResult,
)
from flujo_core.model.run import fold
from flujo_core.store.codec import decode

SLOW = settings(
    phases=set(Phase) - {Phase.explain},
    report_multiple_bugs=False,
    suppress_health_check=[*HealthCheck],
)


class Idle(Plugin):
    """A plugin that has hooks, and does nothing in them but let others run."""

    name = "idle"

    async def on_pipeline_start(self, run: RunStart, /) -> None:
        await asyncio.sleep(0)

    async def pre_step_execution(self, call: StepCall, /) -> None:
        await asyncio.sleep(0)

    async def post_step_execution(self, call: StepCall, result: StepResult, /) -> None:
        await asyncio.sleep(0)

    async def on_pipeline_end(self, run: RunStart, end: RunEnd, /) -> None:
        await asyncio.sleep(0)


async def run(pipeline: Any, value: int, **keywords: Any) -> tuple[PipelineResult[Any, Any], BaseException | None]:
    """Runs it once; gives the result, and what the run failed with."""
    plugins = keywords.pop("plugins", ())
    try:
        return await alone(pipeline, *plugins, context=Shared, **keywords).run_async(value, run_id="r"), None
    except RunFailed as failed:
        return failed.result, failed.__cause__


def went(pipeline: Any, value: int, **keywords: Any) -> tuple[PipelineResult[Any, Any], BaseException | None]:
    """Runs it in a loop of its own, which nothing is left in."""
    leaks = Leaks()
    found: tuple[PipelineResult[Any, Any], BaseException | None] = asyncio.run(
        settled(run(pipeline, value, **keywords), leaks)
    )
    assert not leaks
    return found


# ---------------------------------------------------------------------------------------------------------- properties


@settings(SLOW, max_examples=150)
@given(pipelines(), st.integers(0, 30), st.integers(0, 5))
def test_a_random_pipeline_gives_what_the_reference_interpreter_says(plans: Plans, value: int, seed: int) -> None:
    wanted = expected(plans, value)
    world = World()
    pipeline = built(plans, world)
    spoils = any(isinstance(plan, Leaf) and plan.spoils for plan in all_plans(plans))
    store = TracedStore(world, seed)
    for keywords in ({}, {"store": store}, {"plugins": [Idle()]}):
        world.clear()
        result, error = went(pipeline, value, **keywords)
        check_end(wanted, result, error)
        state = fold(events_of(result))
        check_steps(wanted, state, outputs="store" in keywords or not spoils)
        check_state(state, result)
        check_events(events_of(result))
        check_order(plans, [(event.kind, event.address) for event in events_of(result)])
        if "store" in keywords:
            trace = with_attempts(world.trace)
            check_order(plans, trace)
            check_durable(trace)
            events = [decode(record) for record in asyncio.run(store.read("r"))]
            check_events(events)
            check_state(fold(events), result)
            check_steps(wanted, fold(events))
