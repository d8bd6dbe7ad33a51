"""``on_event``: nothing that a plugin does with it keeps a run from ending."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flujo_core import (
    Flujo,
    Plugin,
    PluginSettings,
    RunEnd,
    RunEvent,
    RunRefused,
    RunStart,
    Settings,
    StepCompleted,
    step,
)

ALONE = Settings(PluginSettings(allow=()))


@step
async def work(value: int) -> int:
    await asyncio.sleep(0.01)
    return value + 1


@step
async def long(value: int) -> int:
    await asyncio.sleep(10)
    return value


def listening(hear: Any) -> Plugin:
    async def on_event(self: Plugin, event: RunEvent, /) -> None:
        await hear(event)

    made: Plugin = type("Made", (Plugin,), {"name": "ears", "on_event": on_event})()
    return made


def test_a_hook_that_cancels_itself_has_failed() -> None:
    async def cancel(event: RunEvent) -> None:
        raise asyncio.CancelledError

    with pytest.raises(RunRefused, match="plugin 'ears' raised CancelledError in 'on_event'"):
        Flujo(work >> work.named("again"), plugins=[listening(cancel)], settings=ALONE).run(1)


def test_a_loop_that_is_closed_under_a_run_does_not_wait_for_plugins_that_it_has_ended() -> None:
    async def slow(event: RunEvent) -> None:
        await asyncio.sleep(10)

    async def main() -> None:
        flujo = Flujo(long, plugins=[listening(slow)], settings=ALONE)
        run = asyncio.create_task(flujo.run_async(1))
        await asyncio.sleep(0.02)
        assert not run.done()  # asyncio.run cancels it, and the plugin's task with it

    async def bounded() -> None:
        await asyncio.wait_for(main(), 5)

    asyncio.run(bounded())


def test_events_are_heard_to_the_last_before_the_run_returns() -> None:
    heard: list[str] = []

    async def note(event: RunEvent) -> None:
        await asyncio.sleep(0.005)
        heard.append(event.kind)

    Flujo(work, plugins=[listening(note)], settings=ALONE).run(1)
    assert heard == ["run_started", "step_started", "step_completed", "run_ended"]


@pytest.mark.parametrize("with_end_hook", [False, True])
def test_a_failure_in_the_last_event_before_the_end_refuses_the_run(with_end_hook: bool) -> None:
    ends: list[str] = []

    async def fail(event: RunEvent) -> None:
        if isinstance(event, StepCompleted):
            raise ValueError

    async def on_pipeline_end(run: RunStart, end: RunEnd) -> None:
        ends.append(end.pipeline_result.status)

    end = on_pipeline_end if with_end_hook else None
    with pytest.raises(RunRefused, match="plugin 'ears' raised ValueError in 'on_event'"):
        Flujo(work, plugins=[listening(fail)], on_pipeline_end=end, settings=ALONE).run(1)
    assert ends == (["refused"] if with_end_hook else [])
