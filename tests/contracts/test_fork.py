"""Forks: what they keep and what runs anew, of runs that have ended, failed, wait, or were killed; and replays."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from plugin_kit import alone
from random_pipelines import Shared, Wishes, World, built, pipelines
from reference_interpreter import Plans, expected
from run_checks import check_end, check_events, check_state, check_steps, events_of, plain

from flujo_core import (
    AlreadyAnswered,
    Branch,
    Flujo,
    HumanInput,
    IncompatiblePipeline,
    Loop,
    Map,
    MemoryStore,
    Parallel,
    PipelineContext,
    PipelineResult,
    Plugin,
    PluginSettings,
    ReplayMismatch,
    Retry,
    RunExists,
    RunFailed,
    RunInfo,
    Settings,
    SQLiteStore,
    StepError,
    UnknownAddress,
    UnknownQuestion,
    UnknownRun,
    Veto,
    step,
)
from flujo_core.engine.offshoot import Fork, forked
from flujo_core.model.event import RunStarted, StepCompleted, StepStarted
from flujo_core.model.run import fold
from flujo_core.store.codec import decode

SLOW = settings(phases=set(Phase) - {Phase.explain}, report_multiple_bugs=False, suppress_health_check=[*HealthCheck])
ALONE = Settings(PluginSettings(allow=()))


async def outcome(work: Any) -> tuple[PipelineResult[Any, Any], BaseException | None]:
    try:
        return await work, None
    except RunFailed as failed:
        return failed.result, failed.__cause__


def parts_of(result: PipelineResult[Any, Any]) -> list[str]:
    """The addresses of all that has begun."""
    state = fold(result.events)
    return [*state.steps, *state.nodes]


def begun(world: World) -> list[str]:
    return [entry[1] for entry in world.trace if entry[0] == "begin"]


# ---------------------------------------------------------------------------------------------------------- properties


@settings(SLOW, max_examples=60)
@given(pipelines(), st.integers(0, 30), st.data())
def test_a_fork_at_any_address_comes_to_what_a_fresh_run_comes_to(
    plans: Plans, value: int, data: st.DataObject
) -> None:
    world = World()
    flujo = alone(built(plans, world), context=Shared, store=MemoryStore())
    wanted = expected(plans, value)

    async def main() -> None:
        result, _ = await outcome(flujo.run_async(value, run_id="r"))
        parts = parts_of(result)
        at = data.draw(st.sampled_from(parts))
        records = await flujo._kept.read("r")
        kept = forked(records, Fork("f", at, False))
        lost = {record.address for record in records} - {record.address for record in kept}
        assert at in lost and not any(one.address == at for one in kept)
        world.clear()
        for event in map(decode, kept):
            if isinstance(event, StepStarted):
                world.times[re.sub(r"#\d+", "", event.address), event.attempt] += 1
        before = dict(world.times)
        again, error = await outcome(flujo.fork_async("r", at=at, fork_id="f"))
        check_end(wanted, again, error)
        check_steps(wanted, fold(again.events))
        check_state(fold(events_of(again)), again)
        check_events([decode(record) for record in await flujo._kept.read("f")])
        done = {one.address for one in map(decode, kept) if isinstance(one, StepCompleted)}
        ran = {one.address for one in again.events[len(kept) :] if isinstance(one, StepStarted)}
        assert not done & ran, "what was kept ran again"
        assert sum(world.times.values()) - sum(before.values()) == len(begun(world))
        assert await flujo._kept.read("r") == records, "the run that it is forked off has changed"
        assert (await flujo.replay_async("f")).status == again.status

    asyncio.run(main())


@settings(SLOW, max_examples=150)
@given(pipelines(Wishes(failures=False, policies=False)), st.integers(0, 30), st.data())
def test_what_depends_on_the_address_is_what_runs_anew(plans: Plans, value: int, data: st.DataObject) -> None:
    """A fork whose first step gives something else comes to what a whole run comes to in which it gives that."""
    world = World()
    flujo = alone(built(plans, world), context=Shared, store=MemoryStore())

    async def main() -> None:
        result, _ = await outcome(flujo.run_async(value, run_id="r"))
        at = data.draw(st.sampled_from([*fold(result.events).steps]))
        world.shifts = {at: data.draw(st.integers(1, 5))}
        forking, _ = await outcome(flujo.fork_async("r", at=at, fork_id="f"))
        fresh, _ = await outcome(flujo.run_async(value, run_id="s"))
        assert forking.status == fresh.status
        if fresh.status == "completed":
            assert plain(forking.output) == plain(fresh.output)
            assert plain(dict(forking.context)) == plain(dict(fresh.context))
            assert sorted(parts_of(forking)) == sorted(parts_of(fresh))
            one, two = fold(forking.events), fold(fresh.events)
            assert {a: plain(s.output) for a, s in one.steps.items()} == {
                a: plain(s.output) for a, s in two.steps.items()
            }
            assert (await flujo.diff_async("f", "s")).is_same

    asyncio.run(main())
