"""What each hook promises: when it is called, what it is given, and what its answer means."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from plugin_kit import Marking, Proceed, ProceedRun, State, alone, fail, insisting, plugin, work

from flujo_core import (
    AgentReply,
    AuthorizationRequest,
    Decision,
    MemoryStore,
    Plugin,
    PluginError,
    Retry,
    RunEnd,
    RunFailed,
    RunInfo,
    RunRefused,
    RunStart,
    Skip,
    Step,
    StepCall,
    StepError,
    StepResult,
    StepTimeout,
    Stop,
    Veto,
    step,
)
from flujo_core.model.run import fold
from flujo_core.store.codec import decode

# ------------------------------------------------------------------------------------ the commit of one leaf


def test_authorize_then_pre_hooks_then_around_all_attempts_then_post_hooks() -> None:
    marks: list[str] = []

    @step(retry=Retry(attempts=3))
    async def second_time(value: int) -> int:
        marks.append("attempt")
        if marks.count("attempt") < 2:
            raise ValueError
        return value

    alone(second_time, Marking(marks)).run(1)
    assert marks == [
        "on_startup", "authorize start_run", "on_pipeline_start", "around_run in",
        "authorize run_step", "pre_step_execution", "around_step in", "attempt", "attempt", "around_step out",
        "post_step_execution", "around_run out", "on_pipeline_end", "on_shutdown",
    ]  # fmt: skip


def test_on_step_error_is_called_after_around_step_and_a_step_that_failed_has_no_post_hooks() -> None:
    marks: list[str] = []
    with pytest.raises(RunFailed):
        alone(fail, Marking(marks)).run(1)
    assert marks[4:] == [
        "authorize run_step", "pre_step_execution", "around_step in", "around_step out", "on_step_error",
        "around_run out", "on_pipeline_end", "on_shutdown",
    ]  # fmt: skip


def test_a_skipped_step_is_authorized_has_no_around_and_no_other_pre_hook_and_the_post_hooks_of_all_plugins() -> None:
    marks: list[str] = []

    async def skip(self: Plugin, call: StepCall, /) -> Skip[int]:
        return Skip(70)

    async def post(self: Plugin, call: StepCall, result: StepResult, /) -> StepResult:
        return result.replace(output=result.output + 7)

    first = plugin("a", pre_step_execution=skip, post_step_execution=post)
    assert alone(work, first, Marking(marks)).run(1).output == 77
    assert marks[4:-3] == ["authorize run_step", "post_step_execution"]


# ------------------------------------------------------------------------------------ around_step


def test_around_step_may_retry_and_each_try_is_a_transaction() -> None:
    keys: list[str] = []

    @step
    async def third_time(value: int, context: State, info: RunInfo) -> int:
        context.log.append("step")
        keys.append(info.idempotency_key)
        if len(keys) < 3:
            raise ValueError
        return value

    async def around_step(self: Plugin, call: StepCall, proceed: Proceed, /) -> StepResult:
        assert isinstance(call.context, State)
        call.context.log.append("around")
        for _ in range(5):
            try:
                return await proceed()
            except StepError as error:
                assert isinstance(error.__cause__, ValueError)
        raise AssertionError

    store = MemoryStore()
    result = alone(third_time, plugin("p", around_step=around_step), context=State, store=store).run(1, run_id="r")
    assert result.output == 1 and len(keys) == 3 and len(set(keys)) == 1
    assert result.context.log == ["around", "step"], "what a failed try did was kept"
    state = fold(decode(record) for record in asyncio.run(store.read("r")))
    assert (state.status, state.output, state.context) == ("completed", 1, {"log": ["around", "step"]})


def test_around_step_may_retry_what_other_plugins_are_within() -> None:
    tries: list[int] = []
    within: list[str] = []

    @step
    async def second_time(value: int) -> int:
        tries.append(value)
        if len(tries) < 2:
            raise ValueError
        return value

    async def retrying(self: Plugin, call: StepCall, proceed: Proceed, /) -> StepResult:
        try:
            return await proceed()
        except StepError:
            return await proceed()

    async def passing(self: Plugin, call: StepCall, proceed: Proceed, /) -> StepResult:
        within.append(self.name)
        return await proceed()

    plugins = [plugin("a", around_step=retrying), *(plugin(name, around_step=passing) for name in "bc")]
    assert alone(second_time, *plugins).run(1).output == 1
    assert tries == [1, 1] and within == ["b", "c", "b", "c"]


@pytest.mark.parametrize("second", ["fails", "succeeds"])
def test_an_output_is_committed_with_the_context_of_its_own_try_or_not_at_all(second: str) -> None:
    tries: list[int] = []

    @step
    async def draft(value: int, context: State) -> int:
        tries.append(value)
        context.log.append(f"draft {len(tries)}")
        if len(tries) == 2 and second == "fails":
            raise ValueError
        return len(tries)

    async def best_of_two(self: Plugin, call: StepCall, proceed: Proceed, /) -> StepResult:
        first = await proceed()
        with suppress(StepError):
            await proceed()
        return first

    try:
        result = alone(draft, plugin("p", around_step=best_of_two), context=State).run(0)
    except RunFailed:
        return  # a hook may be held to the result of its last try
    assert (result.output, result.context.log) == (1, ["draft 1"])


def test_around_step_may_raise_again_what_proceed_raised_and_the_step_has_failed() -> None:
    async def around_step(self: Plugin, call: StepCall, proceed: Proceed, /) -> StepResult:
        try:
            return await proceed()
        except StepError as error:
            raise error

    with pytest.raises(RunFailed) as failed:
        alone(fail, plugin("p", around_step=around_step)).run(1)
    assert failed.value.result.status == "failed" and isinstance(failed.value.__cause__, StepError)


def test_around_step_may_replace_the_output_which_is_validated_again() -> None:
    async def around_step(self: Plugin, call: StepCall, proceed: Proceed, /) -> StepResult:
        return (await proceed()).replace(output="70")

    assert alone(work, plugin("p", around_step=around_step)).run(1).output == 70


def test_around_step_may_give_a_result_without_the_step_having_run() -> None:
    marks: list[str] = []

    @step
    async def never(value: int) -> int:
        marks.append("ran")
        return value

    async def around_step(self: Plugin, call: StepCall, proceed: Proceed, /) -> StepResult:
        return call.result(call.step_input * 10)

    store = MemoryStore()
    flujo = alone(never >> work, plugin("p", around_step=around_step), Marking(marks), store=store)
    assert flujo.run(1, run_id="r").output == 100
    assert "ran" not in marks and marks.count("post_step_execution") == 2
    state = fold(decode(record) for record in asyncio.run(store.read("r")))
    assert [one.output for one in state.steps.values()] == [10, 100]


@pytest.mark.parametrize("hook", ["around_step", "on_step_error", "post_step_execution"])
def test_a_result_of_a_hook_that_does_not_fit_the_step_is_never_committed(hook: str) -> None:
    later: list[Any] = []

    @step
    async def see(value: int) -> int:
        later.append(value)
        return value

    async def around_step(self: Plugin, call: StepCall, proceed: Proceed, /) -> StepResult:
        return call.result("CANARY")

    async def on_step_error(self: Plugin, call: StepCall, error: StepError, /) -> StepResult:
        return call.result("CANARY")

    async def post_step_execution(self: Plugin, call: StepCall, result: StepResult, /) -> StepResult:
        return result.replace(output="CANARY")

    hooks = {"around_step": around_step, "on_step_error": on_step_error, "post_step_execution": post_step_execution}
    first = fail if hook == "on_step_error" else work
    store = MemoryStore()
    with pytest.raises(RunFailed) as failed:
        alone(first >> see, plugin("p", **{hook: hooks[hook]}), store=store).run(1, run_id="r")
    assert later == [] and "CANARY" not in str(failed.value) and f"'{first.name}'" in str(failed.value)
    assert "step_completed" not in [record.kind for record in asyncio.run(store.read("r"))]


def test_the_context_in_around_step_is_what_the_step_will_see_and_afterwards_what_it_left() -> None:
    seen: list[list[str]] = []

    @step
    async def note(value: int, context: State) -> int:
        context.log.append("step")
        return value

    async def around_step(self: Plugin, call: StepCall, proceed: Proceed, /) -> StepResult:
        assert isinstance(call.context, State)
        call.context.log.append("before")
        result = await proceed()
        seen.append(list(call.context.log))
        call.context.log.append("after")
        return result

    result = alone(note, plugin("p", around_step=around_step), context=State).run(1)
    assert seen == [["before", "step"]] and result.context.log == ["before", "step", "after"]


def test_each_around_step_is_within_the_one_before_it_like_the_skins_of_an_onion() -> None:
    def skin(name: str) -> Plugin:
        async def around_step(self: Plugin, call: StepCall, proceed: Proceed, /) -> StepResult:
            result = await proceed()
            return result.replace(output=f"{name}({result.output})")

        return plugin(name, around_step=around_step)

    @step
    async def core(value: int) -> str:
        return str(value)

    assert alone(core, skin("b"), skin("c"), skin("a")).run(1).output == "a(b(c(1)))"


# ------------------------------------------------------------------------------------ around_run


def test_around_run_is_given_how_the_steps_ended_and_a_run_that_failed_raises_nothing_there() -> None:
    seen: list[tuple[str, str, Any]] = []

    async def around_run(self: Plugin, run: RunStart, proceed: ProceedRun, /) -> RunEnd:
        end = await proceed()
        seen.append((run.run_id, end.pipeline_result.status, run.initial_input))
        return end

    one = plugin("p", around_run=around_run)

    @step
    async def stop(value: int) -> int | Stop:
        return Stop("enough")

    alone(work, one).run(1, run_id="w")
    assert alone(stop, one).run(2, run_id="s").reason == "enough"
    with pytest.raises(RunFailed) as failed:
        alone(fail, one).run(3, run_id="f")
    assert isinstance(failed.value.__cause__, StepError)
    assert seen == [("w", "completed", 1), ("s", "stopped", 2), ("f", "failed", 3)]


def test_around_run_may_give_another_output_which_is_what_the_end_hooks_see_and_the_journal_has() -> None:
    seen: list[Any] = []

    def adding(name: str, n: int) -> Plugin:
        async def around_run(self: Plugin, run: RunStart, proceed: ProceedRun, /) -> RunEnd:
            end = await proceed()
            return end.replace(pipeline_result=end.pipeline_result.replace(output=end.pipeline_result.output * n + n))

        async def on_pipeline_end(self: Plugin, run: RunStart, end: RunEnd, /) -> None:
            seen.append(end.pipeline_result.output)

        return plugin(name, around_run=around_run, on_pipeline_end=on_pipeline_end)

    store = MemoryStore()
    assert alone(work, adding("a", 2), adding("b", 10), store=store).run(1, run_id="r").output == (2 * 10 + 10) * 2 + 2
    assert seen == [62, 62]
    assert fold(decode(record) for record in asyncio.run(store.read("r"))).output == 62


@pytest.mark.parametrize("times", [0, 2])
def test_a_run_happens_once_so_around_run_that_proceeds_never_or_twice_is_refused(times: int) -> None:
    ran: list[int] = []

    @step
    async def count(value: int) -> int:
        ran.append(value)
        return value

    kept: list[RunEnd] = []

    async def around_run(self: Plugin, run: RunStart, proceed: ProceedRun, /) -> RunEnd:
        for _ in range(times if kept else 1):
            kept.append(await proceed())
        return kept[-1]

    flujo = alone(count, plugin("p", around_run=around_run))
    flujo.run(1)
    with pytest.raises(RunRefused) as refused:
        flujo.run(2)
    error = refused.value.__cause__
    assert isinstance(error, PluginError) and (error.plugin, error.hook, error.step) == ("p", "around_run", None)
    assert ran.count(2) <= 1


@pytest.mark.parametrize("how", ["veto", "error", "denied", "stop"])
def test_around_run_cannot_turn_a_refused_or_stopped_run_into_a_completed_one(how: str) -> None:
    async def pre_step_execution(self: Plugin, call: StepCall, /) -> Stop | None:
        if call.step_input == 1:
            return None
        if how == "veto":
            raise Veto("never")
        if how == "error":
            raise RuntimeError
        return Stop("enough") if how == "stop" else None

    async def authorize(self: Plugin, request: AuthorizationRequest, /) -> Decision | None:
        denied = how == "denied" and request.run_id == "second" and request.action == "run_step"
        return Decision.deny("never") if denied else None

    inner = plugin("z", pre_step_execution=pre_step_execution, authorize=authorize)
    store = MemoryStore()
    flujo = alone(work, insisting("a"), inner, store=store)
    assert flujo.run(1, run_id="first").output == 2
    try:
        status = flujo.run(2, run_id="second").status
    except RunRefused as refused:
        status = refused.result.status
        assert how == "stop" or "'z'" in str(refused)
    assert status == "refused" or (how, status) == ("stop", "stopped")
    assert fold(decode(record) for record in asyncio.run(store.read("second"))).status == status


# ------------------------------------------------------------------------------------ on_step_error


def test_on_step_error_is_called_once_when_all_attempts_have_failed_and_before_that_is_recorded() -> None:
    seen: list[Any] = []
    store = MemoryStore()

    @step(retry=Retry(attempts=3))
    async def never(value: int) -> int:
        seen.append("attempt")
        raise KeyError("CANARY")

    async def on_step_error(self: Plugin, call: StepCall, error: StepError, /) -> None:
        kinds = [record.kind for record in await store.read("r")]
        seen.append((call.address, call.step_input, type(error.__cause__), error.address, "step_failed" in kinds))

    with pytest.raises(RunFailed):
        alone(never, plugin("p", on_step_error=on_step_error), store=store).run(1, run_id="r")
    assert seen == ["attempt"] * 3 + [("never", 1, KeyError, "never", False)]
    assert "step_failed" in [record.kind for record in asyncio.run(store.read("r"))]


def test_the_first_answer_to_a_step_error_that_is_not_none_decides_and_stands_for_the_steps_result() -> None:
    asked: list[str] = []

    def answering(name: str, output: int | None) -> Plugin:
        async def on_step_error(self: Plugin, call: StepCall, error: StepError, /) -> StepResult | None:
            asked.append(name)
            return None if output is None else call.result(output)

        async def post_step_execution(self: Plugin, call: StepCall, result: StepResult, /) -> StepResult:
            return result.replace(output=result.output + 1)

        return plugin(name, on_step_error=on_step_error, post_step_execution=post_step_execution)

    @step
    async def half(value: int, context: State) -> int:
        context.log.append("half")
        raise ValueError

    store = MemoryStore()
    flujo = alone(half, answering("a", None), answering("b", 10), answering("c", 20), context=State, store=store)
    result = flujo.run(1, run_id="r")
    assert result.output == 13 and asked == ["a", "b"]
    assert result.context.log == [], "what the failed step did to the context was committed"
    kinds = [record.kind for record in asyncio.run(store.read("r"))]
    assert kinds.count("step_completed") == 1 and "step_failed" not in kinds


@pytest.mark.parametrize("kind", [StepTimeout, StepError])
def test_on_step_error_hears_of_timeouts_and_of_outputs_that_do_not_fit(kind: type[StepError]) -> None:
    seen: list[StepError] = []

    @step(timeout=0.02)
    async def slow(value: int) -> int:
        await asyncio.sleep(60 if kind is StepTimeout else 0)
        return "text"  # type: ignore[return-value]

    async def on_step_error(self: Plugin, call: StepCall, error: StepError, /) -> StepResult:
        seen.append(error)
        return call.result(5)

    assert alone(slow, plugin("p", on_step_error=on_step_error)).run(1).output == 5
    assert len(seen) == 1 and isinstance(seen[0], kind)


@pytest.mark.parametrize("how", ["veto", "error", "stop", "step stops", "denied"])
def test_on_step_error_is_not_asked_about_what_is_no_failure_of_the_step(how: str) -> None:
    asked: list[str] = []

    async def on_step_error(self: Plugin, call: StepCall, error: StepError, /) -> StepResult:
        asked.append(call.address)
        return call.result(5)

    async def pre_step_execution(self: Plugin, call: StepCall, /) -> Stop | None:
        if how == "veto":
            raise Veto("never")
        if how == "error":
            raise RuntimeError
        return Stop("enough") if how == "stop" else None

    async def authorize(self: Plugin, request: AuthorizationRequest, /) -> Decision | None:
        return Decision.deny("no") if how == "denied" and request.address else None

    @step
    async def stopping(value: int) -> int | Stop:
        return Stop("enough") if how == "step stops" else value

    one = plugin("a", on_step_error=on_step_error)
    other = plugin("b", pre_step_execution=pre_step_execution, authorize=authorize)
    try:
        assert alone(stopping, one, other).run(1).status == "stopped"
    except RunRefused:
        assert how in ("veto", "error", "denied")
    assert asked == []


# ------------------------------------------------------------------------------------ authorize


class Asked(Plugin):
    """Answers requests to authorize, and keeps them."""

    def __init__(self, name: str, answer: Any = None, *, action: str = "") -> None:
        self.name = name  # type: ignore[misc]
        self.answer = answer
        self.action = action
        self.requests: list[AuthorizationRequest] = []

    async def authorize(self, request: AuthorizationRequest, /) -> Decision | None:
        self.requests.append(request)
        answer: Decision | None = self.answer if self.action in ("", request.action) else None
        return answer


class Parrot:
    async def run(self, input: int, /, *, info: RunInfo) -> AgentReply[int]:
        return AgentReply(input)


def test_authorize_is_called_before_a_run_and_once_before_each_step_with_what_is_about_to_happen() -> None:
    @step(retry=Retry(attempts=2))
    async def second_time(value: int, info: RunInfo) -> int:
        if info.attempt < 2:
            raise ValueError
        return value

    one = Asked("p")
    pipeline = (second_time >> Step.agent("ask", Parrot())).named("all")
    alone(pipeline, one).run(1, run_id="r", tenant="t")
    assert one.requests == [
        AuthorizationRequest("start_run", "r", "t", "all", "", None),
        AuthorizationRequest("run_step", "r", "t", "all", "all/second_time", None),
        AuthorizationRequest("run_step", "r", "t", "all", "all/ask", None),
    ]


@pytest.mark.parametrize(
    ("first", "second", "allowed"),
    [
        (None, None, True),
        (Decision.allow(), Decision.deny("no"), True),
        (Decision.deny("no"), Decision.allow(), False),
        (None, Decision.deny("no"), False),
        (None, Decision.allow(), True),
    ],
)
def test_the_first_plugin_whose_answer_is_not_none_decides(first: Any, second: Any, allowed: bool) -> None:
    a, b = Asked("a", first), Asked("b", second)
    flujo = alone(work, b, a)
    if allowed:
        assert flujo.run(1).output == 2
    else:
        with pytest.raises(RunRefused, match="no"):
            flujo.run(1)
    assert a.requests and bool(b.requests) is (first is None)


@pytest.mark.parametrize("action", ["start_run", "run_step"])
def test_a_denial_refuses_the_run_and_its_reason_is_on_record(action: str) -> None:
    marks: list[str] = []

    @step
    async def never(value: str) -> str:
        marks.append("ran")
        return value

    store = MemoryStore()
    flujo = alone(never, Asked("gate", Decision.deny("outside office hours"), action=action), store=store)
    with pytest.raises(RunRefused, match="outside office hours") as refused:
        flujo.run("CANARY", run_id="r")
    assert "'gate'" in str(refused.value) and refused.value.result.status == "refused" and marks == []
    records = asyncio.run(store.read("r"))
    state = fold(decode(record) for record in records)
    assert state.status == "refused" and state.error is not None and "outside office hours" in state.error.message
    if action == "start_run":
        assert all(b"CANARY" not in record.payload for record in records), "the input of a run that did not begin"


def test_a_run_that_is_not_authorized_has_no_start_hooks_and_a_step_that_is_not_no_pre_hooks() -> None:
    for action, last in (("start_run", "authorize start_run"), ("run_step", "authorize run_step")):
        marks: list[str] = []
        with pytest.raises(RunRefused):
            alone(work, Asked("zzz", Decision.deny("no"), action=action), Marking(marks)).run(1)
        assert [mark for mark in marks if "step" in mark or "authorize" in mark][-1] == last
        assert ("on_pipeline_start" in marks) is (action == "run_step")
