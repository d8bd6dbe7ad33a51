"""PluginHarness runs pipelines with exactly its plugins, and keeps what their hooks saw and gave."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from flujo_core import (
    AppInfo,
    MemoryStore,
    PipelineContext,
    Plugin,
    PluginError,
    PluginLoadError,
    Resources,
    RunFailed,
    RunRefused,
    Skip,
    StepCall,
    StepResult,
    Stop,
    Veto,
    hookimpl,
    step,
)
from flujo_core.testing import PluginHarness


class Ledger(PipelineContext):
    lines: list[str] = []


class Pool(Resources):
    size = 3


@step
async def work(value: str) -> str:
    return f"{value}!"


@step
async def fail(value: str) -> str:
    raise ValueError("CANARY")


@step
async def write(value: str, context: Ledger) -> str:
    context.lines.append(value)
    return value


class Guard(Plugin):
    """Refuses secrets, skips jokes, stops at the end, and shouts."""

    name = "guard"

    async def pre_step_execution(self, call: StepCall, /) -> Stop | Skip[str] | StepCall | None:
        if call.step_input == "secret":
            raise Veto("a secret")
        if call.step_input == "joke":
            return Skip("ha")
        return Stop("enough") if call.step_input == "end" else None

    async def post_step_execution(self, call: StepCall, result: StepResult, /) -> StepResult:
        return result.replace(output=result.output.upper())


class Faulty(Plugin):
    name = "faulty"

    async def pre_step_execution(self, call: StepCall, /) -> None:
        raise KeyError("CANARY")


def test_it_runs_with_its_plugins_only_and_without_any_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("flujo.toml").write_text("[plugins]\nrequired = ['nobody-has-this']\n")
    monkeypatch.setitem(os.environ, "FLUJO_HOOK_TIMEOUT", "nonsense")
    harness = PluginHarness(Guard())
    assert harness.run(work, "hello").output == "HELLO!"
    assert list(harness.flujo(work).plugins) == ["guard"]


def test_it_gives_results_and_refusals_and_failures_and_refuses_to_mistake_one_for_another() -> None:
    harness = PluginHarness(Guard())
    assert harness.run(work, "joke").output == "HA"
    assert harness.run(work, "end").reason == "enough"
    refused = harness.refused(work, "secret")
    assert isinstance(refused.__cause__, Veto) and refused.result.status == "refused" and "a secret" in str(refused)
    failed = harness.failed(fail, "x")
    assert failed.result.status == "failed"
    with pytest.raises(AssertionError, match=r"was to end as 'refused', and ended as 'completed'"):
        harness.refused(work, "hello")
    with pytest.raises(AssertionError, match=r"was to end as 'refused', and run '.*' failed"):
        harness.refused(fail, "hello")
    with pytest.raises(AssertionError, match=r"was to end as 'failed', and run '.*' refused"):
        harness.failed(work, "secret")
    with pytest.raises(RunRefused):
        harness.run(work, "secret")
    with pytest.raises(RunFailed):
        harness.run(fail, "x")


def test_the_async_ways_do_the_same() -> None:
    async def main() -> None:
        harness = PluginHarness(Guard())
        assert (await harness.run_async(work, "a", run_id="r", tenant="t")).run_id == "r"
        assert "a secret" in str(await harness.refused_async(work, "secret"))
        assert (await harness.failed_async(fail, "x")).result.status == "failed"

    asyncio.run(main())


def test_each_call_of_each_plugins_hook_is_kept_with_what_it_gave_or_raised() -> None:
    harness = PluginHarness(Guard(), Faulty(), order=["guard"], policies={"faulty": "open"})
    harness.run(work, "hi")
    assert [(call.plugin, call.hook, call.address) for call in harness.calls] == [
        ("guard", "pre_step_execution", "work"),
        ("faulty", "pre_step_execution", "work"),
        ("guard", "post_step_execution", "work"),
    ]
    guard, faulty = harness.calls_of("pre_step_execution")
    assert guard.gave is None and isinstance(faulty.raised, KeyError)
    assert harness.calls_of("post_step_execution", "guard")[0].gave.output == "HI!"
    assert harness.calls_of("post_step_execution", "faulty") == []
    assert "CANARY" not in repr(harness.calls) and "hi" not in repr(harness.calls)
    harness.calls.clear()
    harness.refused(work, "secret")
    assert isinstance(harness.calls[0].raised, Veto)


def test_policies_order_and_timeouts_are_as_given() -> None:
    class Slow(Plugin):
        name = "slow"

        async def pre_step_execution(self, call: StepCall, /) -> None:
            await asyncio.sleep(30)

    assert "took longer than 0.05 s" in str(PluginHarness(Slow(), hook_timeout=0.05).refused(work, "x"))
    assert PluginHarness(Slow(), hook_timeout=0.05, policies={"slow": "open"}).run(work, "x").output == "x!"
    assert isinstance(PluginHarness(Faulty()).refused(work, "x").__cause__, PluginError)
    both = PluginHarness(Guard(), Faulty(), order=["guard"])
    assert "a secret" in str(both.refused(work, "secret"))
    assert "KeyError" in str(PluginHarness(Guard(), Faulty()).refused(work, "secret"))


def test_marks_on_hooks_and_declared_order_stay() -> None:
    class Late(Guard):
        name = "a-late"

        @hookimpl(trylast=True)
        async def pre_step_execution(self, call: StepCall, /) -> None: ...

    class Early(Guard):
        name = "z-early"
        before = ("guard",)

    harness = PluginHarness(Late(), Guard(), Early())
    harness.run(work, "x")
    assert [call.plugin for call in harness.calls_of("pre_step_execution")] == ["z-early", "guard", "a-late"]


def test_a_context_resources_and_a_store_can_be_given() -> None:
    @step
    async def sized(value: str, *, pool: Pool) -> str:
        return f"{value}{pool.size}"

    store = MemoryStore()
    harness = PluginHarness(resources=Pool(), store=store)
    result = harness.run(write >> sized, "x", context=Ledger(lines=["a"]), run_id="r")
    assert result.output == "x3" and result.context.lines == ["a", "x"]
    assert [run.run_id for run in asyncio.run(store.runs())] == ["r"]

    async def streamed() -> list[str]:
        async with harness.flujo(write, context=Ledger).stream("x", run_id="s") as run:
            return [event.kind async for event in run]

    assert asyncio.run(streamed())[-1] == "run_ended"


def test_plugins_are_started_before_each_run_and_shut_down_after_it() -> None:
    class Living(Plugin):
        name = "living"

        async def on_startup(self, app: AppInfo, /) -> None: ...

        async def on_shutdown(self) -> None: ...

    harness = PluginHarness(Living())
    harness.run(work, "x")
    harness.run(work, "x")
    assert [call.hook for call in harness.calls] == ["on_startup", "on_shutdown"] * 2


@pytest.mark.parametrize("wrong", ["misspelt", "sync", "arguments", "duplicate", "no plugin"])
def test_a_plugin_that_cannot_be_loaded_is_refused_at_once(wrong: str) -> None:
    async def hook(self: Any, call: Any, /) -> None: ...

    async def more(self: Any, call: Any, result: Any, /) -> None: ...

    space: dict[str, Any] = {
        "misspelt": {"pre_step_executoin": hook},
        "sync": {"pre_step_execution": lambda self, call: None},
        "arguments": {"pre_step_execution": more},
    }.get(wrong, {})
    bad: Plugin = type("Bad", (Plugin,), {"name": "bad", **space})()
    given: list[Any] = {"duplicate": [bad, bad], "no plugin": [5]}.get(wrong, [bad])
    with pytest.raises(PluginLoadError):
        PluginHarness(*given)
