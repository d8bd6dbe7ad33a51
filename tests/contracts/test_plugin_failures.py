"""When a hook goes wrong: the policies closed and open, vetoes, timeouts; whatever the plugins around it do."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from plugin_kit import QUICK, Mistake, Proceed, ProceedRun, alone, fail, insisting, plugin, work

from flujo_core import (
    AppInfo,
    AuthorizationRequest,
    Decision,
    MemoryStore,
    Plugin,
    PluginError,
    PluginLoadError,
    Record,
    Retry,
    RunEnd,
    RunFailed,
    RunRefused,
    RunStart,
    StepCall,
    StepError,
    StepResult,
    Stop,
    StoreError,
    Veto,
    step,
)
from flujo_core.hooks.spec import HOOKS
from flujo_core.model.run import fold
from flujo_core.store.codec import decode


@step
async def brief(value: int) -> int:
    await asyncio.sleep(0.01)
    return value + 1


async def _raise() -> Any:
    raise ValueError("CANARY")


async def _answer() -> Any:
    return "CANARY"


async def _hang() -> Any:
    await asyncio.Event().wait()


MISTAKES = {"raises": _raise, "gives what it must not": _answer, "hangs": _hang}
SAID = {"raises": "ValueError", "gives what it must not": "", "hangs": "took longer than 0.1 s"}


def mistaken(name: str, hook: str, mistake: Mistake, *, late: bool = False) -> Plugin:
    """A plugin that makes the mistake in that hook; ``late``: after ``proceed``."""

    async def one(self: Plugin, given: Any, /) -> Any:
        return await mistake()

    async def two(self: Plugin, given: Any, more: Any, /) -> Any:
        if late:
            await more()
        return await mistake()

    arity = len(inspect.signature(getattr(Plugin, hook)).parameters) - 1
    return plugin(name, **{hook: two if arity == 2 else one})


# ------------------------------------------------------------------------------------ one failure

IN_A_RUN = ["around_step", "around_run", "on_step_error", "authorize"]
HAVE_A_STEP = ("around_step", "on_step_error")


@pytest.mark.parametrize("how", MISTAKES)
@pytest.mark.parametrize("hook", IN_A_RUN)
def test_closed_a_failure_stops_the_run_and_names_plugin_hook_and_step_and_is_on_record(hook: str, how: str) -> None:
    store = MemoryStore()
    pipeline = fail if hook == "on_step_error" else work
    flujo = alone(pipeline.named("a b"), mistaken("audit", hook, MISTAKES[how]), quick=True, store=store)
    with pytest.raises(RunRefused) as refused:
        flujo.run(1, run_id="r")
    error = refused.value.__cause__
    assert isinstance(error, PluginError)
    assert (error.plugin, error.hook, error.distribution, error.version) == ("audit", hook, None, None)
    if hook in HAVE_A_STEP:
        assert error.step == "a%20b" and "a%20b" in str(refused.value)
    assert "'audit'" in str(refused.value) and hook in str(refused.value) and SAID[how] in str(refused.value)
    assert "CANARY" not in str(refused.value)
    state = fold(decode(record) for record in asyncio.run(store.read("r")))
    assert state.status == "refused" and state.error is not None and "audit" in state.error.message


@pytest.mark.parametrize("how", MISTAKES)
@pytest.mark.parametrize("hook", ["around_step", "around_run", "on_event"])
def test_open_the_failure_is_logged_and_counted_and_the_run_goes_on(
    hook: str, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flujo = alone(work, mistaken("audit", hook, MISTAKES[how]), opened="audit", quick=True)
    assert flujo.run(1).output == 2
    printed = capsys.readouterr().err
    assert "plugin.failure_passed_over" in printed and "'audit'" in printed and hook in printed
    assert "CANARY" not in printed


@pytest.mark.parametrize("how", MISTAKES)
def test_open_a_failure_in_on_step_error_leaves_the_answer_to_the_next_plugin(how: str) -> None:
    async def on_step_error(self: Plugin, call: StepCall, error: StepError, /) -> StepResult:
        return call.result(7)

    flawed = mistaken("a", "on_step_error", MISTAKES[how])
    assert alone(fail, flawed, plugin("b", on_step_error=on_step_error), opened="a", quick=True).run(1).output == 7
    with pytest.raises(RunFailed) as failed:
        alone(fail, flawed, opened="a", quick=True).run(1)
    assert failed.value.result.status == "failed" and isinstance(failed.value.__cause__, StepError)


NO_BOOL: Any = "no"
WRONG_ANSWERS = [True, False, 1, "yes", (True, ""), Decision, Decision(NO_BOOL), Stop("no"), object()]


@pytest.mark.parametrize("policy", ["closed", "open"])
@pytest.mark.parametrize("action", ["start_run", "run_step"])
@pytest.mark.parametrize("wrong", WRONG_ANSWERS, ids=lambda wrong: repr(wrong)[:20])
def test_authorize_that_answers_anything_else_means_no_under_any_policy(policy: str, action: str, wrong: Any) -> None:
    ran: list[int] = []

    @step
    async def never(value: int) -> int:
        ran.append(value)
        return value

    async def authorize(self: Plugin, request: AuthorizationRequest, /) -> Any:
        return wrong if request.action == action else None

    with pytest.raises(RunRefused, match="gate"):
        alone(never, plugin("gate", authorize=authorize), opened="gate" if policy == "open" else "").run(1)
    assert ran == []


@pytest.mark.parametrize("how", ["raises", "hangs"])
def test_authorize_that_errs_or_hangs_means_no_under_the_open_policy_too(how: str) -> None:
    async def allow(self: Plugin, request: AuthorizationRequest, /) -> Decision:
        return Decision.allow()

    gate = mistaken("gate", "authorize", MISTAKES[how])
    with pytest.raises(RunRefused, match="gate"):
        alone(work, gate, plugin("later", authorize=allow), opened="gate later", quick=True).run(1)


@pytest.mark.parametrize("hook", ["authorize", "around_step", "around_run", "on_step_error", "on_event"])
def test_a_veto_is_never_swallowed_and_passes_through_the_open_policy(hook: str) -> None:
    async def veto() -> Any:
        raise Veto("not in the EU")

    store = MemoryStore()
    pipeline: Any = fail if hook == "on_step_error" else brief >> brief.named("b") >> brief.named("c")
    with pytest.raises(RunRefused, match="not in the EU") as refused:
        alone(pipeline, mistaken("eu", hook, veto), opened="eu", store=store).run(1, run_id="r")
    assert isinstance(refused.value.__cause__, Veto) and "'eu'" in str(refused.value) and hook in str(refused.value)
    state = fold(decode(record) for record in asyncio.run(store.read("r")))
    assert state.status == "refused" and state.error is not None and "not in the EU" in state.error.message


@pytest.mark.parametrize("how", MISTAKES)
def test_on_startup_that_fails_refuses_the_start(how: str) -> None:
    with pytest.raises(PluginError) as refused:
        alone(work, mistaken("vault", "on_startup", MISTAKES[how]), quick=True).run(1)
    assert (refused.value.plugin, refused.value.hook) == ("vault", "on_startup") and SAID[how] in str(refused.value)


@pytest.mark.parametrize("how", ["raises", "hangs"])
def test_open_a_failure_in_on_startup_is_passed_over_and_that_plugin_is_not_shut_down(
    how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    downs: list[str] = []

    async def on_startup(self: Plugin, app: AppInfo, /) -> None:
        await MISTAKES[how]()

    async def on_shutdown(self: Plugin) -> None:
        downs.append(self.name)

    flawed = plugin("vault", on_startup=on_startup, on_shutdown=on_shutdown)
    sound = plugin("sound", on_shutdown=on_shutdown)
    assert alone(work, flawed, sound, opened="vault", quick=True).run(1).output == 2
    assert downs == ["sound"]
    printed = capsys.readouterr().err
    assert "plugin.failure_passed_over" in printed and "'vault'" in printed and "on_startup" in printed


def test_a_shutdown_that_hangs_ends_and_the_others_are_shut_down() -> None:
    downs: list[str] = []

    async def on_shutdown(self: Plugin) -> None:
        downs.append(self.name)
        if self.name == "b":
            await _hang()

    flujo = alone(work, *(plugin(name, on_shutdown=on_shutdown) for name in "abc"), quick=True)
    try:
        flujo.run(1)
    except PluginError as error:
        assert error.plugin == "b" and "took longer" in str(error)
    assert downs == ["c", "b", "a"]


# ------------------------------------------------------------------------------------ at load


@pytest.mark.parametrize("hook", sorted(HOOKS))
def test_a_hook_is_sync_or_async_as_the_specification_says_and_else_is_refused_at_load(hook: str) -> None:
    arity = len(inspect.signature(getattr(Plugin, hook)).parameters) - 1
    parameters = ", ".join(["self", *(f"p{n}" for n in range(arity))])
    odd = "" if HOOKS[hook].is_async else "async "
    space: dict[str, Any] = {}
    exec(f"{odd}def {hook}({parameters}): pass", space)
    with pytest.raises(PluginLoadError, match=rf"'odd'.*{hook}|{hook}.*'odd'"):
        alone(work, plugin("odd", **{hook: space[hook]}))


@pytest.mark.parametrize("hook", sorted(HOOKS))
def test_a_hook_with_other_parameters_is_refused_at_load(hook: str) -> None:
    arity = len(inspect.signature(getattr(Plugin, hook)).parameters)
    parameters = ", ".join(["self", *(f"p{n}" for n in range(arity))])
    space: dict[str, Any] = {}
    exec(f"{'async ' if HOOKS[hook].is_async else ''}def {hook}({parameters}): pass", space)
    with pytest.raises(PluginLoadError, match=hook):
        alone(work, plugin("odd", **{hook: space[hook]}))


@pytest.mark.parametrize("hook", ["on_evnt", "around_steps", "on_step_errors", "register_stpes", "transform_chnk"])
def test_a_misspelt_hook_is_refused_with_a_close_match(hook: str) -> None:
    async def method(self: Plugin, given: Any, /) -> None: ...

    with pytest.raises(PluginLoadError, match=rf"{hook}.*did you mean"):
        alone(work, plugin("odd", **{hook: method}))


# ------------------------------------------------------------------------------------ the last good value


class Counted:
    """A step that counts how often it ran."""

    def __init__(self) -> None:
        self.ran = 0

    async def __call__(self, value: int) -> int:
        self.ran += 1
        return value + 1


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("how", MISTAKES)
@pytest.mark.parametrize("hook", ["around_step", "around_run"])
def test_open_the_last_good_value_of_an_around_hook_is_what_proceed_gave_or_would_have_given(
    hook: str, how: str, late: bool
) -> None:
    counted = Counted()
    flawed = mistaken("a", hook, MISTAKES[how], late=late)
    assert alone(step(counted).named("work"), flawed, opened="a", quick=True).run(1).output == 2
    assert counted.ran == 1, "the step ran twice, or never"


def test_open_an_around_step_that_fails_over_a_failed_step_leaves_that_failure() -> None:
    async def around_step(self: Plugin, call: StepCall, proceed: Proceed, /) -> StepResult:
        try:
            return await proceed()
        except StepError:
            raise KeyError("CANARY") from None

    with pytest.raises(RunFailed) as failed:
        alone(fail, plugin("a", around_step=around_step), opened="a").run(1)
    assert failed.value.result.status == "failed" and isinstance(failed.value.__cause__, StepError)
    assert isinstance(failed.value.__cause__.__cause__, ValueError)


@pytest.mark.parametrize("times", [0, 2])
def test_open_an_around_run_that_proceeds_never_or_twice_is_passed_over_and_the_run_happens_once(times: int) -> None:
    counted = Counted()
    kept: list[RunEnd] = []

    async def around_run(self: Plugin, run: RunStart, proceed: ProceedRun, /) -> RunEnd:
        for _ in range(times):
            kept.append(await proceed())
        return kept[-1]

    flujo = alone(step(counted).named("work"), plugin("a", around_run=around_run), opened="a")
    assert flujo.run(1).output == 2 and counted.ran == 1


# ------------------------------------------------------------------------------------ around everything else


def swallowing(name: str) -> Plugin:
    """A plugin that makes a good result of whatever ``proceed`` raises."""

    async def around_step(self: Plugin, call: StepCall, proceed: Proceed, /) -> StepResult:
        try:
            return await proceed()
        except BaseException:
            return call.result(7)

    return plugin(name, around_step=around_step)


def test_around_step_can_make_a_result_of_a_failed_step() -> None:
    assert alone(fail, swallowing("a")).run(1).output == 7


@pytest.mark.parametrize("how", ["veto", "raises", "gives what it must not", "hangs"])
def test_around_step_cannot_swallow_a_veto_or_a_failure_of_a_plugin_further_in(how: str) -> None:
    async def veto() -> Any:
        raise Veto("never")

    inner = mistaken("b", "around_step", veto if how == "veto" else MISTAKES[how])
    with pytest.raises(RunRefused) as refused:
        alone(work, swallowing("a"), inner, opened="a", quick=True).run(1)
    assert "'b'" in str(refused.value) and "'a'" not in str(refused.value)
    assert isinstance(refused.value.__cause__, Veto if how == "veto" else PluginError)


def test_around_step_cannot_turn_a_stop_into_a_result() -> None:
    later = Counted()

    @step
    async def stop(value: int) -> int | Stop:
        return Stop("enough")

    result = alone(stop >> step(later).named("later"), swallowing("a")).run(1)
    assert (result.status, result.reason, later.ran) == ("stopped", "enough", 0)


class Full(MemoryStore):
    """A store that fails from its ``broken_from``-th append on."""

    def __init__(self, broken_from: int) -> None:
        super().__init__()
        self.broken_from = broken_from
        self.calls = 0

    async def append(self, records: Any, lease: Any, /, **more: Any) -> None:
        self.calls += 1
        if self.calls >= self.broken_from:
            raise StoreError("the disk is full")
        await super().append(records, lease, **more)


def _appends() -> int:
    class Counting(MemoryStore):
        calls = 0

        async def append(self, records: Any, lease: Any, /, **more: Any) -> None:
            type(self).calls += 1
            await super().append(records, lease, **more)

    alone(work.policy(retry=Retry(attempts=2)), swallowing("a"), store=Counting()).run(1)
    return Counting.calls


def test_around_hooks_cannot_turn_a_failure_of_the_store_into_something_else() -> None:
    outer = insisting("a")
    alone(work, outer).run(1)
    for broken_from in range(1, _appends() + 1):
        flujo = alone(work.policy(retry=Retry(attempts=2)), outer, swallowing("b"), store=Full(broken_from))
        with pytest.raises(StoreError, match="disk is full"):
            flujo.run(1)


def test_a_cancellation_passes_through_around_hooks_that_would_swallow_it() -> None:
    finished: list[str] = []

    async def around_run(self: Plugin, run: RunStart, proceed: ProceedRun, /) -> RunEnd:
        try:
            return await proceed()
        finally:
            finished.append("around_run")

    @step
    async def waiting(value: int) -> int:
        await asyncio.Event().wait()
        return value

    async def main() -> str:
        store = MemoryStore()
        flujo = alone(waiting, swallowing("a"), plugin("b", around_run=around_run), opened="a b", store=store)
        task = asyncio.create_task(flujo.run_async(1, run_id="r"))
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        return (await store.read("r"))[-1].outcome

    assert asyncio.run(main()) == "cancelled" and finished == ["around_run"]


def test_around_hooks_are_safe_for_try_and_finally() -> None:
    marks: list[str] = []

    def finishing(name: str) -> Plugin:
        async def around_step(self: Plugin, call: StepCall, proceed: Proceed, /) -> StepResult:
            try:
                return await proceed()
            finally:
                marks.append(f"{name} step")

        async def around_run(self: Plugin, run: RunStart, proceed: ProceedRun, /) -> RunEnd:
            try:
                return await proceed()
            finally:
                marks.append(f"{name} run")

        return plugin(name, around_step=around_step, around_run=around_run)

    async def veto() -> Any:
        raise Veto("never")

    with pytest.raises(RunRefused):
        alone(work, finishing("b"), finishing("a"), mistaken("c", "around_step", veto)).run(1)
    assert marks == ["b step", "a step", "b run", "a run"]


# ------------------------------------------------------------------------------------ the watchdog's clock


@pytest.mark.parametrize("hook", ["around_step", "around_run"])
def test_while_an_around_hook_waits_for_proceed_its_clock_stands_still(hook: str) -> None:
    @step
    async def slow(value: int) -> int:
        await asyncio.sleep(QUICK * 4)
        return value

    async def around(self: Plugin, given: Any, proceed: Callable[[], Awaitable[Any]], /) -> Any:
        return await proceed()

    plugins = [plugin(name, **{hook: around}) for name in "ab"]
    assert alone(slow, *plugins, quick=True).run(1).output == 1


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("hook", ["around_step", "around_run"])
def test_the_watchdog_blames_the_around_hook_that_hangs_and_not_those_that_wait_for_it(hook: str, late: bool) -> None:
    async def around(self: Plugin, given: Any, proceed: Callable[[], Awaitable[Any]], /) -> Any:
        return await proceed()

    outer, inner = plugin("a", **{hook: around}), plugin("c", **{hook: around})
    with pytest.raises(RunRefused) as refused:
        alone(work, outer, mistaken("b", hook, _hang, late=late), inner, quick=True).run(1)
    error = refused.value.__cause__
    assert isinstance(error, PluginError) and (error.plugin, error.hook) == ("b", hook)


def test_many_tries_of_one_step_are_not_taken_for_one_long_hook() -> None:
    async def around_step(self: Plugin, call: StepCall, proceed: Proceed, /) -> StepResult:
        for _ in range(9):
            try:
                return await proceed()
            except StepError:
                continue
        return call.result(7)

    @step
    async def slow(value: int) -> int:
        await asyncio.sleep(QUICK / 4)
        raise ValueError

    assert alone(slow, plugin("a", around_step=around_step), quick=True).run(1).output == 7


def test_a_refusal_at_any_hook_commits_no_step_that_comes_after_it() -> None:
    async def veto() -> Any:
        raise Veto("never")

    for hook in ("authorize", "around_step", "around_run", "pre_step_execution", "on_pipeline_start"):
        store = MemoryStore()
        counted = Counted()
        with pytest.raises(RunRefused):
            alone(step(counted).named("work"), mistaken("p", hook, veto), store=store).run(1, run_id="r")
        records: list[Record] = list(asyncio.run(store.read("r")))
        assert counted.ran == 0 and "step_completed" not in [record.kind for record in records]
        assert records[-1].outcome == "refused"
