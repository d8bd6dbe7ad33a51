"""Lifecycle hooks: order, what they may give, and that they fail closed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flujo_core import (
    Flujo,
    MemoryStore,
    Plugin,
    PluginError,
    PluginSettings,
    Retry,
    RunEnd,
    RunRefused,
    RunStart,
    Settings,
    Skip,
    StepCall,
    StepResult,
    Stop,
    Veto,
    step,
)

ALONE = Settings(PluginSettings(allow=()))
HOOKS = ["on_pipeline_start", "pre_step_execution", "post_step_execution", "on_pipeline_end"]


@step
async def work(value: int) -> int:
    return value + 1


def plugin(name: str, **hooks: Any) -> Plugin:
    """A plugin whose hooks are these async functions, called without ``self``."""

    async def on_pipeline_start(self: Plugin, run: Any, /) -> Any:
        return await hooks["on_pipeline_start"](run)

    async def pre_step_execution(self: Plugin, call: Any, /) -> Any:
        return await hooks["pre_step_execution"](call)

    async def post_step_execution(self: Plugin, call: Any, result: Any, /) -> Any:
        return await hooks["post_step_execution"](call, result)

    async def on_pipeline_end(self: Plugin, run: Any, end: Any, /) -> Any:
        return await hooks["on_pipeline_end"](run, end)

    callers = (on_pipeline_start, pre_step_execution, post_step_execution, on_pipeline_end)
    methods = {one.__name__: one for one in callers if one.__name__ in hooks}
    made: Plugin = type("Made", (Plugin,), {"name": name, **methods})()
    return made


def test_all_hooks_run_in_order_and_unwind_in_reverse() -> None:
    marks: list[str] = []

    def marking(name: str) -> Plugin:
        def mark(hook: str) -> Any:
            async def marked(*args: Any) -> None:
                marks.append(f"{hook} {name}")

            return marked

        return plugin(name, **{hook: mark(hook) for hook in HOOKS})

    Flujo(work, plugins=[marking("b"), marking("a")], settings=ALONE).run(1)
    assert marks == [
        "on_pipeline_start a", "on_pipeline_start b", "pre_step_execution a", "pre_step_execution b",
        "post_step_execution b", "post_step_execution a", "on_pipeline_end b", "on_pipeline_end a",
    ]  # fmt: skip


def test_each_plugin_gets_what_the_one_before_it_made() -> None:
    def adding(name: str, n: int) -> Plugin:
        async def pre(call: StepCall) -> StepCall:
            return call.replace(step_input=call.step_input * n)

        async def post(call: StepCall, result: StepResult) -> StepResult:
            return result.replace(output=f"{result.output}{name}")

        return plugin(name, pre_step_execution=pre, post_step_execution=post)

    @step
    async def show(value: int) -> str:
        return str(value)

    assert Flujo(show, plugins=[adding("a", 2), adding("b", 5)], settings=ALONE).run(1).output == "10ba"


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("retried", [False, True])
def test_a_veto_refuses_the_run_from_any_hook_and_no_later_plugin_is_asked(hook: str, retried: bool) -> None:
    asked: list[str] = []

    async def veto(*args: Any) -> None:
        raise Veto("not in the EU")

    async def note(*args: Any) -> None:
        asked.append(hook)

    wrapped_last = "a" if hook in ("post_step_execution", "on_pipeline_end") else "c"
    store = MemoryStore()
    pipeline = work.policy(retry=Retry(attempts=5)) if retried else work
    flujo = Flujo(
        pipeline,
        plugins=[plugin("b", **{hook: veto}), plugin(wrapped_last, **{hook: note})],
        settings=ALONE,
        store=store,
    )
    with pytest.raises(RunRefused, match="not in the EU") as refused:
        flujo.run(1, run_id="r")
    assert isinstance(refused.value.__cause__, Veto) and "'b'" in str(refused.value) and hook in str(refused.value)
    assert refused.value.result.status == "refused" and asked == []
    assert asyncio.run(store.runs())[0].status == "refused"
    assert refused.value.result.error is not None and "not in the EU" in refused.value.result.error.message


@pytest.mark.parametrize("hook", HOOKS)
def test_an_error_in_a_hook_is_a_plugin_error_that_names_plugin_hook_and_step(hook: str) -> None:
    async def bad(*args: Any) -> None:
        raise ZeroDivisionError("CANARY")

    with pytest.raises(RunRefused) as refused:
        Flujo(work.named("the step"), plugins=[plugin("audit", **{hook: bad})], settings=ALONE).run(1)
    error = refused.value.__cause__
    assert isinstance(error, PluginError)
    assert (error.plugin, error.hook, error.distribution, error.version) == ("audit", hook, None, None)
    assert error.step == ("the%20step" if "step" in hook else None)
    for part in ("'audit'", hook, "ZeroDivisionError", *(["the%20step"] if "step" in hook else [])):
        assert part in str(error)
    assert "CANARY" not in str(error) and isinstance(error.__cause__, ZeroDivisionError)


def _wrong() -> list[tuple[str, Any]]:
    values: list[Any] = [5, "text", True, {}, Veto("returned, not raised"), StepCall, object()]
    wrong = [(hook, value) for hook in HOOKS for value in values]
    wrong += [("on_pipeline_start", Skip(1)), ("post_step_execution", Skip(1)), ("on_pipeline_end", Stop("late"))]
    return wrong


@pytest.mark.parametrize(("hook", "value"), _wrong(), ids=lambda v: v if isinstance(v, str) else type(v).__name__)
def test_a_hook_that_gives_what_it_must_not_stops_the_run(hook: str, value: Any) -> None:
    async def give(*args: Any) -> Any:
        return value

    with pytest.raises(RunRefused) as refused:
        Flujo(work, plugins=[plugin("odd", **{hook: give})], settings=ALONE).run(1)
    error = refused.value.__cause__
    assert isinstance(error, PluginError) and error.hook == hook and "text" not in str(error).replace("context", "")


def test_a_hook_that_gives_the_record_of_another_hook_stops_the_run() -> None:
    async def pre(call: StepCall) -> Any:
        return StepResult(call.address, "completed", 1, 0.0)

    with pytest.raises(RunRefused, match="StepCall"):
        Flujo(work, plugins=[plugin("odd", pre_step_execution=pre)], settings=ALONE).run(1)


def test_stop_from_a_hook_ends_the_run_and_no_later_plugin_is_asked() -> None:
    asked: list[str] = []

    async def stop(call: StepCall) -> Stop:
        return Stop("enough")

    async def note(call: StepCall) -> None:
        asked.append("note")

    plugins = [plugin("a", pre_step_execution=stop), plugin("b", pre_step_execution=note)]
    result = Flujo(work, plugins=plugins, settings=ALONE).run(1)
    assert result.status == "stopped" and result.reason == "enough" and asked == []


def test_a_cancellation_in_a_hook_is_no_plugin_error() -> None:
    async def wait(call: StepCall) -> None:
        await asyncio.sleep(60)

    async def main() -> None:
        store = MemoryStore()
        flujo = Flujo(work, plugins=[plugin("slow", pre_step_execution=wait)], settings=ALONE, store=store)
        task = asyncio.create_task(flujo.run_async(1))
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() and (await store.runs())[0].status == "cancelled"

    asyncio.run(main())


def test_hooks_fire_for_each_leaf_with_its_address() -> None:
    seen: list[str] = []

    async def pre(call: StepCall) -> None:
        seen.append(call.address)

    inner = (work >> work.named("b")).named("inner")
    Flujo((inner >> work).named("outer"), plugins=[plugin("p", pre_step_execution=pre)], settings=ALONE).run(1)
    assert seen == ["outer/inner/work", "outer/inner/b", "outer/work"]


def test_run_hooks_see_the_run() -> None:
    seen: list[Any] = []

    async def start(run: RunStart) -> None:
        seen.append((run.run_id, run.tenant, run.initial_input, run.resumed, run.pipeline))

    async def end(run: RunStart, end: RunEnd) -> None:
        seen.append((run.run_id, run.initial_input, end.pipeline_result.output, end.pipeline_result.status))

    plugins = [plugin("p", on_pipeline_start=start, on_pipeline_end=end)]
    Flujo((work >> work.named("b")).named("double"), plugins=plugins, settings=ALONE).run(1, run_id="r", tenant="t")
    assert seen == [("r", "t", 1, False, "double"), ("r", 1, 3, "completed")]


def test_a_veto_inside_a_group_of_errors_still_stops_the_run() -> None:
    async def grouped(call: StepCall) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(_veto())

    async def _veto() -> None:
        raise Veto("no")

    with pytest.raises(RunRefused):
        Flujo(work, plugins=[plugin("p", pre_step_execution=grouped)], settings=ALONE).run(1)


def test_without_plugins_no_hook_is_called_and_the_run_needs_none() -> None:
    assert Flujo(work, settings=ALONE).run(1).output == 2


# ---------------------------------------------------------------------------------------------- policies and order


async def _raise(*given: Any) -> Any:
    raise ValueError("CANARY")


async def _wrong(*given: Any) -> Any:
    return "CANARY"


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("mistake", [_raise, _wrong])
def test_under_the_open_policy_an_error_is_logged_and_counted_and_the_run_goes_on(
    hook: str, mistake: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(PluginSettings(allow=(), policies={"Loose": "open"}))
    flujo = Flujo(work, plugins=[plugin("loose", **{hook: mistake})], settings=settings)
    assert flujo.run(1).output == 2 and flujo.run(1).output == 2
    logged = capsys.readouterr().err
    assert logged.count("plugin.failure_passed_over") == 2 and "plugin 'loose'" in logged and hook in logged
    assert "count=2" in logged.replace("\x1b[35m", "").replace("\x1b[0m", "").replace("\x1b[36m", "")
    assert "CANARY" not in logged


def test_under_the_open_policy_what_earlier_plugins_made_stands() -> None:
    async def seven(call: StepCall) -> StepCall:
        return call.replace(step_input=7)

    settings = Settings(PluginSettings(allow=(), policies={"b": "open"}))
    plugins = [plugin("a", pre_step_execution=seven), plugin("b", pre_step_execution=_raise)]
    assert Flujo(work, plugins=plugins, settings=settings).run(1).output == 8


@pytest.mark.parametrize("hook", HOOKS)
def test_a_veto_passes_through_the_open_policy(hook: str) -> None:
    async def veto(*given: Any) -> None:
        raise Veto("never")

    settings = Settings(PluginSettings(allow=(), policies={"loose": "open"}))
    with pytest.raises(RunRefused, match="never"):
        Flujo(work, plugins=[plugin("loose", **{hook: veto})], settings=settings).run(1)


def test_the_configured_order_comes_first_and_then_the_names() -> None:
    seen: list[str] = []

    def marking(name: str) -> Plugin:
        async def pre(call: StepCall) -> None:
            seen.append(f"pre {name}")

        async def post(call: StepCall, result: StepResult) -> None:
            seen.append(f"post {name}")

        return plugin(name, pre_step_execution=pre, post_step_execution=post)

    settings = Settings(PluginSettings(allow=(), order=("d", "B_b")))
    Flujo(work, plugins=[marking(name) for name in ("a", "b-b", "c", "d")], settings=settings).run(1)
    before = ["pre d", "pre b-b", "pre a", "pre c"]
    assert seen == [*before, *(mark.replace("pre", "post") for mark in reversed(before))]


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_that_exits_refuses_the_run_and_does_not_end_the_process(hook: str) -> None:
    async def leave(*given: Any) -> None:
        raise SystemExit(7)

    with pytest.raises(RunRefused, match=f"raised SystemExit in '{hook}'"):
        Flujo(work, plugins=[plugin("p", **{hook: leave})], settings=ALONE).run(1)
