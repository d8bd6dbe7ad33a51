"""A plugin that hangs fails closed, and costs nothing while it does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import pytest

from flujo_core import (
    Flujo,
    MemoryStore,
    Plugin,
    PluginError,
    PluginSettings,
    RunEnd,
    RunRefused,
    RunStart,
    Settings,
    StepCall,
    StepResult,
    step,
)
from flujo_core.hooks.watchdog import watchdog

QUICK = 0.1


@step
async def work(value: int) -> int:
    return value + 1


class Hanging(Plugin):
    """Does ``wait`` in the hook that it is made for."""

    name: ClassVar[str] = "hanging"

    def __init__(self, hook: str, wait: Callable[[], Awaitable[None]]) -> None:
        self.hook = hook
        self.wait = wait

    async def _maybe(self, hook: str) -> None:
        if hook == self.hook:
            await self.wait()

    async def on_pipeline_start(self, run: RunStart, /) -> None:
        await self._maybe("on_pipeline_start")

    async def pre_step_execution(self, call: StepCall, /) -> None:
        await self._maybe("pre_step_execution")

    async def post_step_execution(self, call: StepCall, result: StepResult, /) -> None:
        await self._maybe("post_step_execution")

    async def on_pipeline_end(self, run: RunStart, end: RunEnd, /) -> None:
        await self._maybe("on_pipeline_end")


def _settings(**plugins: Any) -> Settings:
    return Settings(PluginSettings(allow=(), hook_timeout=QUICK, **plugins))


async def _for_ever() -> None:
    await asyncio.Event().wait()


HOOKS = ["on_pipeline_start", "pre_step_execution", "post_step_execution", "on_pipeline_end"]


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_that_hangs_refuses_the_run_and_the_refusal_is_on_record(hook: str) -> None:
    store = MemoryStore()
    flujo = Flujo(work, plugins=[Hanging(hook, _for_ever)], settings=_settings(), store=store)
    with pytest.raises(RunRefused, match=f"plugin 'hanging' took longer than 0.1 s in '{hook}'") as refused:
        flujo.run(1, run_id="r")
    assert isinstance(refused.value.__cause__, PluginError)
    assert asyncio.run(store.read("r"))[-1].outcome == "refused"


@pytest.mark.parametrize("hook", HOOKS)
def test_under_the_open_policy_a_hook_that_hangs_is_passed_over(hook: str) -> None:
    flujo = Flujo(work, plugins=[Hanging(hook, _for_ever)], settings=_settings(policies={"hanging": "open"}))
    assert flujo.run(1).output == 2


def test_a_hook_that_swallows_its_cancellation_has_taken_too_long_all_the_same() -> None:
    async def stubborn() -> None:
        try:
            await _for_ever()
        except asyncio.CancelledError:
            return

    with pytest.raises(RunRefused, match="took longer"):
        Flujo(work, plugins=[Hanging("pre_step_execution", stubborn)], settings=_settings()).run(1)


def test_a_slow_step_is_not_the_watchdogs_business() -> None:
    @step
    async def slow(value: int) -> int:
        await asyncio.sleep(QUICK * 4)
        return value

    async def nothing() -> None: ...

    assert Flujo(slow, plugins=[Hanging("pre_step_execution", nothing)], settings=_settings()).run(1).output == 1


def test_many_quick_calls_of_one_hook_are_not_taken_for_one_long_one() -> None:
    async def brief() -> None:
        await asyncio.sleep(QUICK / 10)

    pipeline = work
    for n in range(30):
        pipeline = pipeline >> work.named(f"work {n}")  # type: ignore[assignment]
    result = Flujo(pipeline, plugins=[Hanging("pre_step_execution", brief)], settings=_settings()).run(0)
    assert result.output == 31


def test_a_run_cancelled_from_outside_while_a_hook_hangs_is_cancelled_and_not_refused() -> None:
    async def main() -> str:
        store = MemoryStore()
        settings = Settings(PluginSettings(allow=(), hook_timeout=30))
        flujo = Flujo(work, plugins=[Hanging("pre_step_execution", _for_ever)], settings=settings, store=store)
        task = asyncio.create_task(flujo.run_async(1, run_id="r"))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return (await store.read("r"))[-1].outcome

    assert asyncio.run(main()) == "cancelled"


def test_a_cancellation_from_outside_wins_over_the_watchdogs() -> None:
    async def main() -> str:
        store = MemoryStore()
        plugins = [Hanging("pre_step_execution", _cancelled_from_outside_too)]
        flujo = Flujo(work, plugins=plugins, settings=_settings(), store=store)
        task = asyncio.create_task(flujo.run_async(1, run_id="r"))
        await asyncio.wait([task])
        assert task.cancelled()
        return (await store.read("r"))[-1].outcome

    async def _cancelled_from_outside_too() -> None:
        try:
            await _for_ever()
        finally:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()

    assert asyncio.run(main()) == "cancelled"


def test_after_a_timeout_the_task_can_go_on_as_if_nothing_had_been() -> None:
    async def main() -> int:
        flujo = Flujo(work, plugins=[Hanging("pre_step_execution", _for_ever)], settings=_settings())
        with pytest.raises(RunRefused):
            await flujo.run_async(1)
        task = asyncio.current_task()
        assert task is not None
        await asyncio.sleep(0)
        return task.cancelling()

    assert asyncio.run(main()) == 0


def test_the_timer_runs_only_while_runs_with_hooks_do() -> None:
    async def main() -> None:
        dog = watchdog()
        async with asyncio.TaskGroup() as group:
            brief = Hanging("pre_step_execution", lambda: asyncio.sleep(0.02))
            flujo = Flujo(work, plugins=[brief], settings=_settings())
            for n in range(3):
                group.create_task(flujo.run_async(n))
            await asyncio.sleep(0.01)
            assert dog._timer is not None
        assert dog._timer is None and not dog._watches

    asyncio.run(main())


def test_a_loop_that_stood_still_has_not_given_the_hook_that_time() -> None:
    async def standing() -> None:
        asyncio.get_running_loop().call_soon(time.sleep, QUICK * 3)
        await asyncio.sleep(QUICK / 10)

    assert Flujo(work, plugins=[Hanging("pre_step_execution", standing)], settings=_settings()).run(1).output == 2


def test_runs_with_different_timeouts_side_by_side_each_have_their_own() -> None:
    async def main() -> list[int | BaseException]:
        async def patient() -> None:
            await asyncio.sleep(QUICK * 3)

        slow = Hanging("pre_step_execution", patient)
        long = Settings(PluginSettings(allow=(), hook_timeout=30))
        runs = [
            Flujo(work, plugins=[slow], settings=long).run_async(1),
            Flujo(work, plugins=[Hanging("pre_step_execution", _for_ever)], settings=_settings()).run_async(1),
        ]
        ended = await asyncio.gather(*runs, return_exceptions=True)
        return [one if isinstance(one, BaseException) else one.output for one in ended]

    ended = asyncio.run(main())
    assert ended[0] == 2 and isinstance(ended[1], RunRefused)


def test_what_a_task_group_of_a_step_leaves_behind_is_no_cancellation_of_the_run() -> None:
    async def fail() -> None:
        raise ValueError

    @step
    async def grouped(value: int) -> int:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
        except ExceptionGroup:
            return value
        raise AssertionError

    class Hanging(Plugin):
        name = "hanging"

        async def post_step_execution(self, call: StepCall, result: StepResult, /) -> None:
            await asyncio.sleep(10)

    settings = Settings(PluginSettings(allow=(), hook_timeout=0.1))
    with pytest.raises(RunRefused, match=r"took longer than 0\.1 s"):
        Flujo(grouped, plugins=[Hanging()], settings=settings).run(1)


def test_a_cancellation_that_a_step_asked_for_is_no_hooks_fault() -> None:
    class Waiting(Plugin):
        name = "waiting"

        async def post_step_execution(self, call: StepCall, result: StepResult, /) -> None:
            await asyncio.sleep(0)

    @step
    async def cancel(value: int) -> int:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return value

    async def main() -> None:
        flujo = Flujo(cancel, plugins=[Waiting()], settings=Settings(PluginSettings(allow=())))
        task = asyncio.create_task(flujo.run_async(1))
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(main())
