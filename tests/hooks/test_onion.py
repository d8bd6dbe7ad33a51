"""Around hooks: what they may handle, and what goes through them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from flujo_core import (
    Flujo,
    FlujoError,
    Plugin,
    PluginError,
    PluginSettings,
    RunEnd,
    RunFailed,
    RunRefused,
    RunStart,
    Settings,
    StepCall,
    StepError,
    StepResult,
    Veto,
    step,
)

Proceed = Callable[[], Awaitable[Any]]


@step
async def work(value: int) -> int:
    return value + 1


@step
async def slow(value: int) -> int:
    await asyncio.sleep(10)
    return value


def flujo(node: Any, *hooks: Callable[[StepCall, Proceed], Awaitable[Any]], policy: Any = "closed", **more: Any) -> Any:
    def plugin(number: int, hook: Any) -> Plugin:
        async def around_step(self: Plugin, call: StepCall, proceed: Proceed, /) -> Any:
            return await hook(call, proceed)

        made: Plugin = type("Made", (Plugin,), {"name": f"p{number}", "around_step": around_step})()
        return made

    policies = {f"p{number}": policy for number in range(len(hooks))}
    settings = Settings(PluginSettings(allow=(), policies=policies, hook_timeout=more.pop("hook_timeout", 30)))
    plugins = [plugin(number, hook) for number, hook in enumerate(hooks)]
    made: Any = Flujo(node, plugins=plugins, settings=settings, **more)
    return made


async def through(call: StepCall, proceed: Proceed) -> Any:
    return await proceed()


async def swallow(call: StepCall, proceed: Proceed) -> Any:
    try:
        return await proceed()
    except BaseException:
        return call.result(0)


def test_a_veto_further_in_cannot_be_swallowed() -> None:
    async def veto(call: StepCall, proceed: Proceed) -> Any:
        raise Veto("no")

    with pytest.raises(RunRefused, match=r"plugin 'p1' refused the run in 'around_step' before step 'work'.*: no"):
        flujo(work, swallow, veto).run(1)


def test_a_cancellation_cannot_be_swallowed() -> None:
    async def main() -> None:
        task = asyncio.create_task(flujo(slow, swallow).run_async(1))
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(main())


def test_a_hook_may_give_the_step_less_time_than_it_wants() -> None:
    async def hurry(call: StepCall, proceed: Proceed) -> Any:
        try:
            async with asyncio.timeout(0.01):
                return await proceed()
        except TimeoutError:
            return call.result(-1)

    assert flujo(slow, through, hurry, through).run(1).output == -1


def test_a_hook_that_cancels_itself_has_failed_and_the_run_is_not_cancelled() -> None:
    async def cancel(call: StepCall, proceed: Proceed) -> Any:
        raise asyncio.CancelledError

    with pytest.raises(RunRefused, match="plugin 'p0' raised CancelledError in 'around_step'"):
        flujo(work, cancel).run(1)


def test_the_time_of_the_step_is_not_the_hooks() -> None:
    @step
    async def longer(value: int) -> int:
        await asyncio.sleep(0.3)
        return value

    assert flujo(longer, through, hook_timeout=0.1).run(1).output == 1


@pytest.mark.parametrize("policy", ["closed", "open"])
def test_a_hook_that_hangs_after_the_step_is_ended(policy: str) -> None:
    async def hang(call: StepCall, proceed: Proceed) -> Any:
        result = await proceed()
        await asyncio.sleep(10)
        return result

    made = flujo(work, hang, policy=policy, hook_timeout=0.1)
    if policy == "open":
        assert made.run(1).output == 2
    else:
        with pytest.raises(RunRefused, match=r"took longer than 0\.1 s"):
            made.run(1)


def test_a_hook_that_was_ended_cannot_go_on_with_the_step() -> None:
    async def stubborn(call: StepCall, proceed: Proceed) -> Any:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            return await proceed()

    with pytest.raises(RunRefused, match=r"took longer than 0\.1 s"):
        flujo(work, stubborn, hook_timeout=0.1).run(1)


def test_proceed_is_not_for_two_at_once_nor_for_later() -> None:
    kept: list[Proceed] = []

    async def twice(call: StepCall, proceed: Proceed) -> Any:
        kept.append(proceed)
        first, second = await asyncio.gather(proceed(), proceed(), return_exceptions=True)
        assert isinstance(second, FlujoError) and "while it runs" in str(second)
        return first

    @step
    async def a_moment(value: int) -> int:
        await asyncio.sleep(0.01)
        return value

    assert flujo(a_moment, twice).run(1).output == 1
    with pytest.raises(FlujoError, match="after the hook has ended"):
        asyncio.run(kept[0]())  # type: ignore[arg-type]


def test_an_error_of_its_own_is_a_plugin_error_and_open_goes_on_with_what_there_was() -> None:
    async def raising(call: StepCall, proceed: Proceed) -> Any:
        await proceed()
        raise StepError("of its own")

    with pytest.raises(RunRefused, match="plugin 'p0' raised StepError"):
        flujo(work, raising).run(1)
    assert flujo(work, raising, policy="open").run(1).output == 2


def around_run(hook: Any, **more: Any) -> Any:
    async def around(self: Plugin, run: RunStart, proceed: Proceed, /) -> Any:
        return await hook(run, proceed)

    made: Plugin = type("Made", (Plugin,), {"name": "p", "around_run": around})()
    found: Any = Flujo(more.pop("node", work), plugins=[made], settings=Settings(PluginSettings(allow=(), **more)))
    return found


def test_around_run_may_change_the_output_which_is_validated() -> None:
    async def replaced(run: RunStart, proceed: Proceed) -> RunEnd:
        end: RunEnd = await proceed()
        return end.replace(pipeline_result=end.pipeline_result.replace(output=run.initial_input * 100))

    assert around_run(replaced).run(1).output == 100


@pytest.mark.parametrize(
    ("how", "said"),
    [("never", "did not await 'proceed'"), ("twice", "raised FlujoError"), ("wrong", "gave back 'int'")],
)
def test_a_run_happens_once(how: str, said: str) -> None:
    ends: list[RunEnd] = []

    async def keep(run: RunStart, proceed: Proceed) -> Any:
        ends.append(await proceed())
        return ends[-1]

    async def misuse(run: RunStart, proceed: Proceed) -> Any:
        if how == "never":
            return ends[0]
        end = await proceed()
        return 5 if how == "wrong" else await proceed() and end

    around_run(keep).run(1)
    with pytest.raises(RunRefused, match=said) as refused:
        around_run(misuse).run(1)
    assert isinstance(refused.value.__cause__, PluginError)
    assert around_run(misuse, policies={"p": "open"}).run(1).output == 2


def test_the_hooks_that_nobody_overrides_change_nothing() -> None:
    class Bare(Plugin):
        name = "bare"

    async def inner() -> Any:
        return "inner"

    bare: Any = Bare()
    assert asyncio.run(bare.around_run(None, inner)) == asyncio.run(bare.around_step(None, inner)) == "inner"
    assert bare.agent_capabilities(None) == () and asyncio.run(bare.authorize(None)) is None


def test_a_result_says_its_step() -> None:
    async def told(call: StepCall, proceed: Proceed) -> StepResult:
        result = call.result(7)
        assert (result.address, result.attempts, result.output) == ("work", 0, 7)
        return result

    assert flujo(work, told).run(1).output == 7


@pytest.mark.parametrize("policy", ["closed", "open"])
def test_a_hook_that_ends_while_the_step_still_runs_refuses_the_run(policy: str) -> None:
    ended: list[str] = []

    @step
    async def watched(value: int) -> int:
        try:
            await asyncio.sleep(10)
        finally:
            ended.append("cancelled")
        return value

    async def hedge(call: StepCall, proceed: Proceed) -> Any:
        await asyncio.wait({asyncio.ensure_future(proceed())}, timeout=0.02)  # type: ignore[type-var]
        return call.result(-1)

    with pytest.raises(RunRefused, match="ended while 'proceed' ran"):
        flujo(watched, hedge, policy=policy).run(1)
    assert ended == ["cancelled"]


def test_a_run_that_a_hook_has_cut_off_does_not_run_twice() -> None:
    async def cut(run: RunStart, proceed: Proceed) -> RunEnd:
        async with asyncio.timeout(0.02):
            return await proceed()  # type: ignore[no-any-return]

    with pytest.raises(RunRefused, match="cut off what it goes around"):
        around_run(cut, node=slow, policies={"p": "open"}).run(1)


def test_a_hook_that_hangs_after_a_failure_and_raises_it_again_has_hung() -> None:
    @step
    async def fail(value: int) -> int:
        raise ValueError

    async def hang(call: StepCall, proceed: Proceed) -> Any:
        try:
            return await proceed()
        except StepError:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(10)
            raise

    with pytest.raises(RunRefused, match=r"plugin 'p0' took longer than 0\.1 s"):
        flujo(fail, hang, hook_timeout=0.1).run(1)


def test_a_hook_that_hangs_after_a_veto_further_in_leaves_the_veto() -> None:
    async def veto(call: StepCall, proceed: Proceed) -> Any:
        raise Veto("no")

    async def hang(call: StepCall, proceed: Proceed) -> Any:
        try:
            return await proceed()
        finally:
            await asyncio.sleep(10)

    with pytest.raises(RunRefused, match="refused the run in 'around_step'"):
        flujo(work, hang, veto, hook_timeout=0.1).run(1)


def test_a_hook_that_needs_long_to_end_is_ended_all_the_same() -> None:
    async def cleanup(call: StepCall, proceed: Proceed) -> Any:
        try:
            await asyncio.sleep(10)
        finally:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.08)

    async def main() -> None:
        with pytest.raises(RunRefused, match=r"took longer than 0\.1 s"):
            await flujo(work, cleanup, hook_timeout=0.1).run_async(1)
        task = asyncio.current_task()
        assert task is not None and task.cancelling() == 0

    asyncio.run(main())


def test_an_odd_exception_of_a_hook_is_a_failure() -> None:
    class Odd(BaseException): ...

    async def odd(call: StepCall, proceed: Proceed) -> Any:
        raise Odd

    async def interrupt(call: StepCall, proceed: Proceed) -> Any:
        raise GeneratorExit

    with pytest.raises(RunRefused, match="plugin 'p0' raised Odd"):
        flujo(work, odd).run(1)
    with pytest.raises(GeneratorExit):
        flujo(work, interrupt).run(1)


def test_either_of_two_failures_may_be_raised_again() -> None:
    @step
    async def fail(value: int) -> int:
        raise ValueError

    async def first_of_two(call: StepCall, proceed: Proceed) -> Any:
        try:
            return await proceed()
        except StepError as first:
            with suppress(StepError):
                await proceed()
            raise first

    with pytest.raises(RunFailed, match="step 'fail' failed after 2 attempts: ValueError"):
        flujo(fail, first_of_two).run(1)


def test_a_cancellation_that_a_step_asked_for_is_the_runs() -> None:
    @step
    async def cancel(value: int) -> int:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return value

    async def main() -> None:
        task = asyncio.create_task(flujo(cancel, through).run_async(1))
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(main())
