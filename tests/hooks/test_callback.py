"""Callbacks given to the constructor: plugins with one method."""

from __future__ import annotations

from typing import Any

import pytest

from flujo_core import Flujo, PluginError, PluginLoadError, RunEnd, RunRefused, RunStart, StepCall, StepResult, step


@step
async def work(value: int) -> int:
    return value + 1


def test_all_four_callbacks_are_called_as_the_hooks_are() -> None:
    calls: list[tuple[str, Any]] = []

    async def start(run: RunStart) -> RunStart:
        calls.append(("start", run.initial_input))
        return run.replace(initial_input=10)

    async def before(call: StepCall) -> StepCall:
        calls.append(("pre", call.step_input))
        return call.replace(step_input=20)

    async def after(call: StepCall, result: StepResult) -> StepResult:
        calls.append(("post", result.output))
        return result.replace(output=30)

    async def end(run: RunStart, end: RunEnd) -> RunEnd:
        calls.append(("end", end.pipeline_result.output))
        return end.replace(pipeline_result=end.pipeline_result.replace(output=40))

    result = Flujo(
        work, on_pipeline_start=start, pre_step_execution=before, post_step_execution=after, on_pipeline_end=end
    ).run(1)
    assert calls == [("start", 1), ("pre", 10), ("post", 21), ("end", 30)] and result.output == 40


def test_a_callback_may_be_a_method_or_a_callable_object() -> None:
    class Watch:
        seen = 0

        async def method(self, call: StepCall) -> None:
            self.seen += 1

        async def __call__(self, call: StepCall, result: StepResult) -> None:
            self.seen += 1

    watch = Watch()
    Flujo(work, pre_step_execution=watch.method, post_step_execution=watch).run(1)
    assert watch.seen == 2


@pytest.mark.parametrize("hook", ["on_pipeline_start", "pre_step_execution", "post_step_execution", "on_pipeline_end"])
def test_a_callback_that_is_not_async_is_refused_before_anything_runs(hook: str) -> None:
    hooks: dict[str, Any] = {hook: lambda *args: None}
    with pytest.raises(PluginLoadError, match=hook):
        Flujo(work, **hooks)


@pytest.mark.parametrize("hook", ["on_pipeline_start", "pre_step_execution", "post_step_execution", "on_pipeline_end"])
def test_a_callback_that_raises_is_named_by_its_hook(hook: str) -> None:
    async def bad(*args: Any) -> None:
        raise KeyError("CANARY")

    hooks: dict[str, Any] = {hook: bad}
    with pytest.raises(RunRefused, match=hook) as refused:
        Flujo(work, **hooks).run(1)
    error = refused.value.__cause__
    assert isinstance(error, PluginError) and error.hook == hook and error.distribution is None
    assert isinstance(error.__cause__, KeyError) and "CANARY" not in str(refused.value)
