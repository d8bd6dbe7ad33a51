"""The life of a ``Flujo``'s plugins: started before the first run, shut down after the last, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

import pytest
from plugin_kit import Marking, Proceed, ProceedRun, alone, plugin, work

from flujo_core import (
    AppInfo,
    AuthorizationRequest,
    Budget,
    Labels,
    MemoryStore,
    Plugin,
    PluginError,
    PluginInfo,
    RunEnd,
    RunEnded,
    RunEvent,
    RunStart,
    Settings,
    StepCall,
    StepResult,
    step,
)
from flujo_core.model.run import fold
from flujo_core.store.codec import decode

# ------------------------------------------------------------------------------------ on_startup, on_shutdown


def test_on_startup_is_called_once_before_the_first_run_on_an_event_loop() -> None:
    marks: list[str] = []
    flujo = alone(work, Marking(marks))

    async def main() -> None:
        await asyncio.gather(*(flujo.run_async(n) for n in range(5)))
        await flujo.run_async(1)

    asyncio.run(main())
    assert marks[0] == "on_startup" and marks.count("on_startup") == 1 and marks.count("on_pipeline_start") == 6
    asyncio.run(main())
    assert marks.count("on_startup") == 2, "clients of the first loop would have been used on the second"


def test_a_flujo_starts_up_as_its_block_begins_and_shuts_down_when_it_has_ended_after_its_runs() -> None:
    marks: list[str] = []

    @step
    async def slow(value: int) -> int:
        marks.append("step in")
        try:
            await asyncio.sleep(0.05)
        finally:
            marks.append("step out")
        return value

    async def main() -> None:
        async with alone(slow, Marking(marks)) as flujo:
            assert marks == ["on_startup"]
            task = asyncio.create_task(flujo.run_async(1))
            await asyncio.sleep(0.02)
            assert "step in" in marks
        await asyncio.wait([task])

    asyncio.run(main())
    assert marks[-1] == "on_shutdown" and marks.index("step out") < marks.index("on_shutdown")
    assert marks.count("on_shutdown") == marks.count("on_startup") == 1


def test_each_call_of_run_starts_up_and_shuts_down_what_it_needs() -> None:
    marks: list[str] = []
    flujo = alone(work, Marking(marks))
    for _ in range(2):
        flujo.run(1)
        assert (marks[0], marks[-1], marks.count("on_startup"), marks.count("on_shutdown")) == (
            "on_startup", "on_shutdown", 1, 1,
        )  # fmt: skip
        marks.clear()


def test_a_block_that_ends_with_an_error_shuts_down_too_and_keeps_its_error() -> None:
    marks: list[str] = []

    async def main() -> None:
        async with alone(work, Marking(marks)):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        asyncio.run(main())
    assert marks == ["on_startup", "on_shutdown"]


def test_on_startup_is_given_what_starts_up() -> None:
    seen: list[AppInfo] = []

    async def on_startup(self: Plugin, app: AppInfo, /) -> None:
        seen.append(app)

    flujo = alone((work >> work.named("b")).named("double"), plugin("z"), plugin("a", on_startup=on_startup))
    flujo.run(1)
    (app,) = seen
    assert app[:5] == (version("flujo-core"), "double", ("a", "z"), "default", False) and flujo.plugins == ("a", "z")
    assert app.inventory == (
        PluginInfo("a", None, None, "closed", ("on_startup",)),
        PluginInfo("z", None, None, "closed", ()),
    )


def test_on_startup_is_told_who_clears_labels() -> None:
    seen: list[AppInfo] = []

    async def on_startup(self: Plugin, app: AppInfo, /) -> None:
        seen.append(app)

    @step(labels=Labels(clears=["phi"]))
    async def mask(text: str) -> str:
        return text

    masking = plugin("a", on_startup=on_startup)
    masking.clears = ("pii",)
    alone((mask >> mask.named("again")).named("inner") >> mask.named("last"), masking).run("x")
    assert seen[0].clearances == {"inner/mask": ("phi",), "inner/again": ("phi",), "last": ("phi",)}
    assert seen[0].inventory[0].clears == ("pii",)


def test_the_digest_of_the_configuration_is_another_when_anything_is() -> None:
    said = [Settings(), Settings(profile="dev"), Settings(budgets=(Budget(tokens=5),)), Settings(codecs=("zstd",))]
    assert len({one.digest for one in said}) == len(said)
    assert Settings(source=Path("a.toml")).digest == Settings(source=Path("b.toml")).digest


def _living(name: str, marks: list[str], *, broken: str = "") -> Plugin:
    async def on_startup(self: Plugin, app: AppInfo, /) -> None:
        marks.append(f"{name} up")
        if broken == "up":
            raise OSError("CANARY")

    async def on_shutdown(self: Plugin) -> None:
        marks.append(f"{name} down")
        if broken == "down":
            raise OSError("CANARY")

    async def on_pipeline_start(self: Plugin, run: RunStart, /) -> None:
        marks.append("run")

    return plugin(name, on_startup=on_startup, on_shutdown=on_shutdown, on_pipeline_start=on_pipeline_start)


def test_plugins_start_one_after_the_other_and_shut_down_in_the_reverse_order() -> None:
    marks: list[str] = []
    alone(work, *(_living(name, marks) for name in "bca")).run(1)
    assert marks == ["a up", "b up", "c up", "run", "run", "run", "c down", "b down", "a down"]


@pytest.mark.parametrize("how", ["block", "run_async", "run", "stream"])
def test_if_one_does_not_start_those_that_did_are_shut_down_and_nothing_runs(how: str) -> None:
    marks: list[str] = []
    store = MemoryStore()
    plugins = [_living("a", marks), _living("b", marks), _living("c", marks, broken="up"), _living("d", marks)]
    flujo = alone(work, *plugins, store=store)

    async def main() -> None:
        if how == "block":
            async with flujo:
                marks.append("in the block")
        elif how == "stream":
            async with flujo.stream(1) as run:
                async for _ in run:
                    pass
        else:
            await flujo.run_async(1)

    with pytest.raises(PluginError) as refused:
        flujo.run(1) if how == "run" else asyncio.run(main())
    error = refused.value
    assert (error.plugin, error.hook, error.step) == ("c", "on_startup", None) and "CANARY" not in str(error)
    assert isinstance(error.__cause__, OSError)
    assert marks == ["a up", "b up", "c up", "b down", "a down"]
    assert asyncio.run(store.runs()) == []


def test_a_run_that_is_cancelled_while_plugins_start_does_not_take_another_with_it() -> None:
    ups: list[str] = []

    async def on_startup(self: Plugin, app: AppInfo, /) -> None:
        await asyncio.sleep(0.02)
        ups.append("up")

    async def main() -> None:
        flujo = alone(work, plugin("p", on_startup=on_startup))
        first, second = (asyncio.create_task(flujo.run_async(n)) for n in range(2))
        await asyncio.sleep(0.005)
        first.cancel()
        await asyncio.wait([first, second])
        assert first.cancelled() and second.result().output == 2 and ups == ["up"]

    asyncio.run(main())


def test_a_start_that_failed_is_tried_again_by_the_next_run() -> None:
    ups: list[str] = []

    async def on_startup(self: Plugin, app: AppInfo, /) -> None:
        ups.append("up")
        if len(ups) == 1:
            raise OSError

    flujo = alone(work, plugin("p", on_startup=on_startup))

    async def main() -> int:
        with pytest.raises(PluginError):
            await flujo.run_async(1)
        return int((await flujo.run_async(1)).output)

    assert asyncio.run(main()) == 2 and ups == ["up", "up"]


def test_each_plugin_that_was_started_is_shut_down_whatever_the_others_do() -> None:
    marks: list[str] = []
    flujo = alone(work, _living("a", marks), _living("b", marks, broken="down"), _living("c", marks))
    try:
        flujo.run(1)
    except PluginError as error:
        assert (error.plugin, error.hook) == ("b", "on_shutdown")
    assert marks[-3:] == ["c down", "b down", "a down"]


# ------------------------------------------------------------------------------------ cancellation


@asynccontextmanager
async def no_task_is_left() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


def test_a_run_cancelled_at_any_await_unwinds_its_plugins_leaves_no_task_and_a_truthful_journal() -> None:
    class Waiting(Marking):
        async def authorize(self, request: AuthorizationRequest, /) -> None:
            await asyncio.sleep(0)

        async def pre_step_execution(self, call: StepCall, /) -> None:
            await asyncio.sleep(0)

        async def on_event(self, event: RunEvent, /) -> None:
            await asyncio.sleep(0)

    class Swallowing(Plugin):
        name = "a"

        async def around_step(self, call: StepCall, proceed: Proceed, /) -> StepResult:
            try:
                return await proceed()
            except BaseException:
                return call.result(7)

        async def around_run(self, run: RunStart, proceed: ProceedRun, /) -> RunEnd:
            try:
                end = await proceed()
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                await asyncio.sleep(0)
                raise
            return end

    @step
    async def waiting(value: int) -> int:
        await asyncio.sleep(0)
        return value

    async def cancelled_at(tick: int) -> bool:
        marks: list[str] = []
        store = MemoryStore()
        flujo = alone(waiting >> waiting.named("b"), Swallowing(), Waiting(marks), store=store)
        async with no_task_is_left(), flujo:
            task = asyncio.create_task(flujo.run_async(1, run_id="r"))
            for _ in range(tick):
                await asyncio.sleep(0)
            finished = task.done()
            task.cancel()
            await asyncio.wait([task])
        assert task.cancelled() or task.exception() is None, f"tick {tick}: {task.exception()!r}"
        for around in ("around_run", "around_step"):
            assert marks.count(f"{around} in") == marks.count(f"{around} out"), f"tick {tick}: {marks}"
        records = await store.read("r")
        if task.cancelled() and records:
            last = decode(records[-1])
            assert isinstance(last, RunEnded) and last.status in ("cancelled", "completed"), f"tick {tick}: {records}"
            assert 7 not in [one.output for one in fold(map(decode, records)).steps.values()]
        return finished

    async def main() -> None:
        tick = 1
        while not await cancelled_at(tick):
            tick += 1
            assert tick < 400
        assert tick > 10

    asyncio.run(main())
