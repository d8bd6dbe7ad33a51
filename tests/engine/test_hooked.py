"""One leaf with hooks: what is committed of which try, what is recorded of those that are not, and what they used."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from flujo_core import (
    AgentReply,
    AttemptFailed,
    Flujo,
    PipelineContext,
    Plugin,
    PluginSettings,
    RunFailed,
    RunInfo,
    RunRefused,
    Settings,
    Skip,
    Step,
    StepCall,
    StepCompleted,
    StepError,
    StepFailed,
    StepResult,
    Stop,
    Usage,
    Veto,
    step,
)

ALONE = Settings(PluginSettings(allow=()))
Proceed = Callable[[], Awaitable[StepResult]]


class Notes(PipelineContext):
    seen: list[str] = []


def plugin(**hooks: Any) -> Plugin:
    made: Plugin = type("Made", (Plugin,), {"name": "made", **hooks})()
    return made


def around(how: Callable[[StepCall, Proceed], Awaitable[StepResult]]) -> Plugin:
    async def around_step(self: Plugin, call: StepCall, proceed: Proceed, /) -> StepResult:
        return await how(call, proceed)

    return plugin(around_step=around_step)


class Flaky:
    """An agent that fails as often as it is told, and says what it used."""

    def __init__(self, failures: int) -> None:
        self.left = failures
        self.asked = 0

    async def run(self, input: str, /, *, info: RunInfo) -> AgentReply[str]:
        self.asked += 1
        if self.left:
            self.left -= 1
            error = StepError("no")
            error.usage = Usage(requests=1)
            raise error
        return AgentReply(f"{input} {info.attempt}", Usage(requests=10))


def events(flujo: Flujo[Any, Any, Any]) -> tuple[Any, list[Any]]:
    try:
        result = flujo.run("x")
    except RunFailed as error:
        result = error.result
    return result, [event for event in result._events if isinstance(event, AttemptFailed | StepCompleted | StepFailed)]


def ask(agent: Flaky, *plugins: Plugin) -> tuple[Any, list[Any]]:
    return events(Flujo(Step.agent("ask", agent), plugins=plugins, settings=ALONE))


def test_a_step_that_is_tried_again_records_the_failed_try_and_counts_on() -> None:
    async def twice(call: StepCall, proceed: Proceed) -> StepResult:
        try:
            return await proceed()
        except StepError:
            return await proceed()

    result, told = ask(Flaky(1), around(twice))
    assert [(type(one), one.attempt, one.usage) for one in told] == [
        (AttemptFailed, 1, Usage(requests=1)),
        (StepCompleted, 2, Usage(requests=10)),
    ]
    assert result.output == "x 2" and result.usage == Usage(requests=11)


def test_a_result_that_stands_for_a_failed_step_keeps_the_try_and_what_it_used() -> None:
    async def instead(call: StepCall, proceed: Proceed) -> StepResult:
        try:
            return await proceed()
        except StepError:
            return call.result("instead")

    result, told = ask(Flaky(1), around(instead))
    assert [(type(one), one.attempt, one.usage) for one in told] == [
        (AttemptFailed, 1, Usage(requests=1)),
        (StepCompleted, 1, None),
    ]
    assert result.output == "instead" and result.usage == Usage(requests=1) and result.steps[0].status == "completed"


def test_a_result_without_a_try_is_a_skipped_step() -> None:
    async def never(call: StepCall, proceed: Proceed) -> StepResult:
        return call.result("cached")

    agent = Flaky(0)
    result, told = ask(agent, around(never))
    assert (result.output, agent.asked, result.steps[0].status) == ("cached", 0, "skipped")
    assert [(one.attempt, one.usage) for one in told] == [(0, None)]


@pytest.mark.parametrize("replaced", [False, True])
def test_the_best_of_several_tries_counts_what_all_of_them_used(replaced: bool) -> None:
    async def first_of_two(call: StepCall, proceed: Proceed) -> StepResult:
        first = await proceed()
        await proceed()
        return first.replace(output=first.output + "!") if replaced else first

    result, told = ask(Flaky(0), around(first_of_two))
    assert result.output == ("x 1!" if replaced else "x 1") and result.usage == Usage(requests=20)
    assert [one.attempt for one in told] == [1]


def test_what_an_around_hook_sets_before_is_seen_by_the_step_and_what_it_sets_after_is_committed_with_it() -> None:
    @step
    async def note(text: str, context: Notes) -> str:
        context.seen.append("step")
        return text

    async def both(call: StepCall, proceed: Proceed) -> StepResult:
        call.context.seen = [*call.context.seen, "before"]  # type: ignore[attr-defined]
        result = await proceed()
        call.context.seen = [*call.context.seen, "after"]  # type: ignore[attr-defined]
        return result

    result = Flujo(note, context=Notes, plugins=[around(both)], settings=ALONE).run("x")
    assert result.context.seen == ["before", "step", "after"]


def test_an_error_hook_stands_in_and_what_pre_hooks_set_is_kept() -> None:
    @step
    async def fail(text: str, context: Notes) -> str:
        context.seen.append("lost")
        raise ValueError

    async def pre(self: Plugin, call: StepCall, /) -> None:
        call.context.seen = ["pre"]  # type: ignore[attr-defined]

    async def rescue(self: Plugin, call: StepCall, error: StepError, /) -> StepResult:
        assert error.attempts == 1 and isinstance(error.__cause__, ValueError)
        call.context.seen = [*call.context.seen, "rescue"]  # type: ignore[attr-defined]
        return call.result("rescued")

    helping = plugin(pre_step_execution=pre, on_step_error=rescue)
    result = Flujo(fail, context=Notes, plugins=[helping], settings=ALONE).run("x")
    assert result.output == "rescued" and result.context.seen == ["pre", "rescue"]


@pytest.mark.parametrize("hook", ["around_step", "on_step_error"])
def test_a_result_that_does_not_fit_fails_the_step(hook: str) -> None:
    async def wrong(self: Plugin, call: StepCall, _: Any, /) -> StepResult:
        return call.result(5)

    @step
    async def fail(text: str) -> str:
        raise ValueError

    with pytest.raises(RunFailed, match="its output is not a 'str'"):
        Flujo(fail, plugins=[plugin(**{hook: wrong})], settings=ALONE).run("x")


def test_an_error_hook_without_an_answer_lets_the_step_fail() -> None:
    async def none(self: Plugin, call: StepCall, error: StepError, /) -> None: ...

    result, told = ask(Flaky(1), plugin(on_step_error=none))
    assert result.status == "failed" and [type(one) for one in told] == [StepFailed]


@pytest.mark.parametrize("answer", [Skip("skipped"), Stop("enough")])
def test_a_skipped_or_stopped_step_meets_no_around_hook(answer: Any) -> None:
    async def pre(self: Plugin, call: StepCall, /) -> Any:
        return answer

    async def around_step(self: Plugin, call: StepCall, proceed: Proceed, /) -> StepResult:
        raise AssertionError

    result, _ = ask(Flaky(0), plugin(pre_step_execution=pre, around_step=around_step))
    assert result.status == ("completed" if isinstance(answer, Skip) else "stopped")


def test_a_post_hook_that_only_looks_at_the_context_changes_nothing() -> None:
    async def post(self: Plugin, call: StepCall, result: StepResult, /) -> None:
        assert call.context.seen == []  # type: ignore[attr-defined]

    @step
    async def same(text: str) -> str:
        return text

    result = Flujo(same, context=Notes, plugins=[plugin(post_step_execution=post)], settings=ALONE).run("x")
    patches = [event.patch for event in result._events if isinstance(event, StepCompleted)]
    assert result.output == "x" and patches == [{}]


def test_a_post_hook_may_stop() -> None:
    async def post(self: Plugin, call: StepCall, result: StepResult, /) -> Stop:
        return Stop("enough")

    result, told = ask(Flaky(0), plugin(post_step_execution=post))
    assert result.status == "stopped" and result.usage == Usage(requests=10)
    assert [(type(one), one.attempt, one.usage) for one in told] == [(AttemptFailed, 1, Usage(requests=10))]


@pytest.mark.parametrize("hook", ["post_step_execution", "around_step"])
def test_what_was_used_in_a_step_that_a_hook_refuses_is_on_record(hook: str) -> None:
    async def refuse(self: Plugin, call: StepCall, given: Any, /) -> Any:
        if hook == "around_step":
            await given()
        raise Veto("no")

    result, told = ask(Flaky(0), plugin(**{hook: refuse}))
    assert result.status == "refused" and result.usage == Usage(requests=10) and len(told) == 1


def test_what_was_used_for_an_output_that_a_hook_spoils_is_on_record() -> None:
    async def spoil(self: Plugin, call: StepCall, result: StepResult, /) -> StepResult:
        return result.replace(output=5)

    result, _ = ask(Flaky(0), plugin(post_step_execution=spoil))
    assert result.status == "failed" and result.usage == Usage(requests=10)


@pytest.mark.parametrize("policy", ["closed", "open"])
@pytest.mark.parametrize("hook", ["pre_step_execution", "post_step_execution", "on_step_error"])
def test_of_a_hook_that_fails_under_open_no_change_of_the_context_is_left(hook: str, policy: Any) -> None:
    async def bad(self: Plugin, call: StepCall, *more: Any) -> None:
        call.context.seen.append("bad")  # type: ignore[attr-defined]
        raise ValueError

    async def good(self: Plugin, call: StepCall, *more: Any) -> Any:
        call.context.seen.append("good")  # type: ignore[attr-defined]
        return call.result("x") if hook == "on_step_error" else None

    @step
    async def same(text: str) -> str:
        if hook == "on_step_error":
            raise ValueError
        return text

    def named(name: str, method: Any) -> Plugin:
        made: Plugin = type("Made", (Plugin,), {"name": name, hook: method})()
        return made

    plugins = [named("b", good), named("c", bad), named("a", good)]
    if hook == "on_step_error":
        plugins = [named("b", bad), named("c", good)]
    policies: dict[str, Any] = {plugin.name: policy for plugin in plugins}
    settings = Settings(PluginSettings(allow=(), policies=policies))
    flujo = Flujo(same, context=Notes, plugins=plugins, settings=settings)
    if policy == "closed":
        with pytest.raises(RunRefused):
            flujo.run("x")
    else:
        assert flujo.run("x").context.seen == ["good"] * (1 if hook == "on_step_error" else 2)


def test_an_around_hook_that_cuts_a_step_off_and_goes_on_counts_the_attempt() -> None:
    @step
    async def slow(text: str, info: RunInfo) -> str:
        await asyncio.sleep(10 if info.attempt == 1 else 0)
        return f"{text} {info.attempt}"

    async def hurry(call: StepCall, proceed: Proceed) -> StepResult:
        try:
            async with asyncio.timeout(0.01):
                return await proceed()
        except TimeoutError:
            return await proceed()

    result, told = events(Flujo(slow, plugins=[around(hurry)], settings=ALONE))
    assert result.output == "x 2"
    assert [(type(one), one.attempt) for one in told] == [(AttemptFailed, 1), (StepCompleted, 2)]
    assert "a plugin cut it off" in told[0].error.message


def test_an_earlier_result_given_after_a_failed_try_keeps_that_failure() -> None:
    async def first(call: StepCall, proceed: Proceed) -> StepResult:
        result = await proceed()
        agent.left = 1
        with suppress(StepError):
            await proceed()
        return result

    agent = Flaky(0)
    result, told = ask(agent, around(first))
    assert result.output == "x 1" and result.usage == Usage(requests=11)
    assert [(type(one), one.attempt) for one in told] == [(AttemptFailed, 2), (StepCompleted, 1)]
