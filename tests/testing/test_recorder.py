"""HookRecorder keeps each call of each hook, and changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from flujo_core import Flujo, Plugin, PluginSettings, RunFailed, Settings, Skip, StepCall, Veto, step
from flujo_core.hooks.spec import HOOKS
from flujo_core.testing import HookCall, HookRecorder

ALONE = Settings(PluginSettings(allow=()))


@step
async def work(value: str) -> str:
    return f"{value} done"


@step
async def fail(value: str) -> str:
    raise ValueError("CANARY")


def alone(pipeline: Any, *plugins: Plugin) -> Flujo[Any, Any, Any]:
    made: Flujo[Any, Any, Any] = Flujo(pipeline, plugins=plugins, settings=ALONE)
    return made


def test_it_overrides_every_hook() -> None:
    assert set(HOOKS) <= set(vars(HookRecorder))


def test_it_keeps_the_calls_in_order_with_their_addresses() -> None:
    recorder = HookRecorder()
    assert alone((work >> work.named("again")).named("both"), recorder).run("CANARY").output == "CANARY done done"
    calls = [(call.hook, call.address) for call in recorder.calls if call.hook != "on_event"]
    loading = [(name, "") for name in HOOKS if name.startswith("register_")]
    each = ["authorize", "pre_step_execution", "around_step", "post_step_execution"]
    steps = [(hook, address) for address in ("both/work", "both/again") for hook in each]
    before = [("on_startup", ""), ("authorize", ""), ("on_pipeline_start", ""), ("around_run", "")]
    assert calls == [*loading, *before, *steps, ("on_pipeline_end", ""), ("on_shutdown", "")]
    assert [call.address for call in recorder.of("on_event")] == [
        "", "both", *["both/work"] * 2, *["both/again"] * 2, "both", ""
    ]  # fmt: skip


def test_it_keeps_what_a_hook_was_given_and_what_went_around() -> None:
    recorder = HookRecorder()
    with pytest.raises(RunFailed):
        alone(work >> fail, recorder).run("x")
    pre, failed = recorder.of("pre_step_execution")
    assert pre.given[0].step_input == "x" and failed.given[0].step_input == "x done" and pre.gave is None
    around, raised = recorder.of("around_step")
    assert around.gave.output == "x done" and around.raised is None and len(around.given) == 1
    assert raised.gave is None and type(raised.raised).__name__ == "StepError"
    (error,) = recorder.of("on_step_error")
    assert error.given[1] is raised.raised and error.address == "fail"


def test_no_value_of_a_run_is_in_a_repr() -> None:
    recorder = HookRecorder()
    with pytest.raises(RunFailed):
        alone(work >> fail, recorder).run("CANARY")
    assert "CANARY" not in repr(recorder) and "CANARY" not in repr(recorder.calls)
    assert repr(recorder) == f"<HookRecorder 'recorder' {len(recorder.calls)} calls>"
    assert repr(recorder.of("around_step")[1]) == "<HookCall 'recorder' around_step 'fail' raised StepError>"
    assert repr(recorder.of("on_startup")) == "[<HookCall 'recorder' on_startup>]"


def test_several_recorders_have_names_and_may_share_their_calls() -> None:
    calls: list[HookCall] = []
    alone(work, HookRecorder("b", calls), HookRecorder("a", calls)).run("x")
    both = [
        f"{call.hook} {call.plugin}" for call in calls if call.hook in ("pre_step_execution", "post_step_execution")
    ]
    assert both == [
        "pre_step_execution a", "pre_step_execution b", "post_step_execution b", "post_step_execution a",
    ]  # fmt: skip
    assert HookRecorder().name == HookRecorder.name == "recorder"


def test_it_sees_what_plugins_before_it_left_and_nothing_of_what_they_refused() -> None:
    class First(Plugin):
        name = "a"

        async def pre_step_execution(self, call: StepCall, /) -> StepCall | Skip[str]:
            if call.step_name == "again":
                raise Veto("no")
            return call.replace(step_input="changed")

    recorder = HookRecorder()
    with pytest.raises(RunFailed):
        alone(work >> work.named("again"), First(), recorder).run("x")
    assert [call.given[0].step_input for call in recorder.of("pre_step_execution")] == ["changed"]
