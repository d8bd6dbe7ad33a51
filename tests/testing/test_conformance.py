"""assert_conforms: good plugins pass, and for each check there is a bad plugin that only that check refuses."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from types import MethodType
from typing import Any, ClassVar

import pytest
import structlog

from flujo_core import (
    AgentInfo,
    AppInfo,
    AuthorizationRequest,
    Decision,
    FlujoError,
    Plugin,
    Registry,
    RunEnd,
    RunEvent,
    RunStart,
    Skip,
    StepCall,
    StepError,
    StepResult,
    Stop,
    Veto,
    hookimpl,
)
from flujo_core.testing import HookRecorder, assert_conforms
from flujo_core.testing.conformance.blocking import check_blocking
from flujo_core.testing.conformance.finding import Remark
from flujo_core.testing.conformance.loading import check_registrations
from flujo_core.testing.conformance.remains import flaws
from flujo_core.testing.conformance.scenario import SOUND
from flujo_core.testing.conformance.subject import Subject
from flujo_core.testing.conformance.trial import Setup, tried
from flujo_core.testing.conformance.witness import Witness

Proceed = Callable[[], Awaitable[StepResult]]
ProceedRun = Callable[[], Awaitable[RunEnd]]


def refusal(given: Any, **keywords: Any) -> str:
    """What ``assert_conforms`` says of a plugin that does not conform."""
    with pytest.raises(AssertionError) as refused:
        assert_conforms(given, **keywords)
    return str(refused.value)


def checks(message: str) -> set[str]:
    """The checks that found something."""
    return set(re.findall(r"^- (\w+):", message, re.MULTILINE))


# ------------------------------------------------------------------------------------ good plugins


class Empty(Plugin):
    name = "empty"


class Whole(Plugin):
    """Overrides every hook of a run, each well behaved."""

    name = "whole"

    def __init__(self) -> None:
        self.queue: asyncio.Queue[str] | None = None
        self.task: asyncio.Task[None] | None = None
        self.inputs: dict[str, Any] = {}

    async def on_startup(self, app: AppInfo, /) -> None:
        self.queue = asyncio.Queue()
        self.task = asyncio.create_task(self._write(self.queue))

    async def _write(self, queue: asyncio.Queue[str]) -> None:
        while True:
            await queue.get()

    async def on_shutdown(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.wait([self.task])

    def register_agents(self, registry: Registry[Any], /) -> None:
        registry.add("counter", "collections:Counter")

    async def authorize(self, request: AuthorizationRequest, /) -> Decision | None:
        await asyncio.sleep(0.001)
        return Decision.allow() if request.action == "start_run" else None

    async def on_pipeline_start(self, run: RunStart, /) -> RunStart | Stop | None:
        self.inputs[run.run_id] = run.initial_input
        await asyncio.to_thread(len, "work")
        return run.replace(initial_input=f"{run.initial_input}?")

    async def around_run(self, run: RunStart, proceed: ProceedRun, /) -> RunEnd:
        try:
            return await proceed()
        finally:
            await asyncio.sleep(0)

    async def pre_step_execution(self, call: StepCall, /) -> StepCall | Stop | Skip[Any] | None:
        assert self.queue is not None
        await self.queue.put(call.address)
        return call.replace(step_input=call.step_input.strip())

    async def around_step(self, call: StepCall, proceed: Proceed, /) -> StepResult:
        try:
            return await proceed()
        except StepError:
            return await proceed()

    async def on_step_error(self, call: StepCall, error: StepError, /) -> StepResult | None:
        await asyncio.sleep(0)
        return None

    async def post_step_execution(self, call: StepCall, result: StepResult, /) -> StepResult | Stop | None:
        await asyncio.sleep(0)
        return result.replace(output=result.output + ".")

    async def on_pipeline_end(self, run: RunStart, end: RunEnd, /) -> RunEnd | None:
        await asyncio.sleep(0.001)
        self.inputs.pop(run.run_id, None)
        return None

    async def on_event(self, event: RunEvent, /) -> None:
        assert self.queue is not None
        await self.queue.put(event.kind)


class Capable(Plugin):
    name = "capable"

    def agent_capabilities(self, agent: AgentInfo, /) -> list[object]:
        return []


@pytest.mark.parametrize("given", [Empty, HookRecorder, Capable, lambda: Whole()], ids=lambda one: one.__name__)
def test_a_well_behaved_plugin_conforms(given: Any) -> None:
    report = assert_conforms(given)
    assert report.plugin == given().name
    assert str(report).startswith(f"plugin '{report.plugin}' conforms")
    assert {remark.partition(":")[0] for remark in report.remarks} <= {"imports"}, str(report)


def test_an_instance_is_used_in_all_trials() -> None:
    report = assert_conforms(Refusing())
    assert report.plugin == "refusing" and report.seconds > 0


class Refusing(Plugin):
    name = "refusing"

    async def pre_step_execution(self, call: StepCall, /) -> None:
        raise Veto("not today")


class Stopping(Plugin):
    name = "stopping"

    async def on_pipeline_start(self, run: RunStart, /) -> Stop:
        return Stop("enough")


class Denying(Plugin):
    name = "denying"

    async def authorize(self, request: AuthorizationRequest, /) -> Decision:
        return Decision.deny("nobody may")


@pytest.mark.parametrize("kind", [Refusing, Stopping, Denying])
def test_a_plugin_may_refuse_or_stop_runs_and_the_report_says_what_could_not_be_looked_at(kind: type[Plugin]) -> None:
    report = assert_conforms(kind)
    assert any("did not let an async step run to its end" in remark for remark in report.remarks)


def test_it_prints_and_logs_nothing_and_leaves_logging_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    assert_conforms(Empty)
    assert capsys.readouterr() == ("", "") and not structlog.is_configured()
    with pytest.raises(AssertionError):
        assert_conforms(Failing)
    assert not structlog.is_configured()
    structlog.configure()
    try:
        assert_conforms(Empty)
        assert structlog.is_configured() and len(structlog.get_config()["processors"]) > 1
    finally:
        structlog.reset_defaults()
    assert capsys.readouterr() == ("", "")


def test_in_a_running_event_loop_it_says_that_it_would_block_it() -> None:
    async def main() -> None:
        with pytest.raises(FlujoError, match="not async"):
            assert_conforms(Empty)

    asyncio.run(main())


# ------------------------------------------------------------------------------------ loading


class Misspelt(Plugin):
    name = "bad"

    async def on_evnt(self, event: RunEvent, /) -> None: ...


class Sync(Plugin):
    name = "bad"

    def on_event(self, event: RunEvent, /) -> None: ...  # type: ignore[override]


class Arguments(Plugin):
    name = "bad"

    async def on_event(self) -> None: ...  # type: ignore[override]


class Nameless(Plugin): ...


class Future(Plugin):
    name = "bad"
    api = ">=9"


class Twice(Plugin):
    name = "bad"

    def register_agents(self, registry: Registry[Any], /) -> None:
        registry.add("a", len)
        registry.add("a", len)


class Unmade(Plugin):
    name = "bad"

    def __init__(self) -> None:
        raise OSError("CANARY")


class Kernel(Plugin):
    name = "flujo"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Misspelt, "did you mean 'on_event'"), (Sync, "not async"), (Arguments, "with 1 argument"),
        (Nameless, "has no name"), (Future, "'>=9'"), (Twice, "'a' twice"), (Unmade, "raised OSError at testing/"),
        (Kernel, "named 'flujo'"), (object, "not an instance of a 'flujo_core.Plugin' class"), (5, "'int'"),
    ],
)  # fmt: skip
def test_loading_refuses_what_the_host_refuses(given: Any, said: str) -> None:
    message = refusal(given)
    assert checks(message) == {"loading"} and said in message and "CANARY" not in message, message


# ------------------------------------------------------------------------------------ registrations


@hookimpl(tryfirst=True)
async def _first(self: Plugin, call: StepCall, /) -> None: ...


class Fickle(Plugin):
    name = "bad"
    made: ClassVar[int] = 0

    def __init__(self) -> None:
        type(self).made += 1
        self.number = self.made

    def register_agents(self, registry: Registry[Any], /) -> None:
        registry.add(f"agent-{self.number}", len)


class Renamed(Plugin):
    made: ClassVar[int] = 0

    def __init__(self) -> None:
        type(self).made += 1
        self.name = f"bad-{self.made}"  # type: ignore[misc]


class Once(Plugin):
    name = "bad"
    loads: ClassVar[int] = 0

    def register_agents(self, registry: Registry[Any], /) -> None:
        type(self).loads += 1
        if self.loads > 1:
            raise OSError


class Aimless(Plugin):
    name = "bad"

    def register_models(self, registry: Registry[Any], /) -> None:
        registry.add("local", "flujo_core.no_such_module:factory")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Fickle, "agent 'bad/agent-1' is registered at one load and not at the next"),
        (Renamed, "its name is 'bad-1' at one load and 'bad-2' at the next"),
        (Once, "it loads once, and not again"),
        (Aimless, "'flujo_core.no_such_module:factory', which cannot be imported"),
    ],
)
def test_registrations_are_the_same_each_time_and_can_be_imported(given: Any, said: str) -> None:
    found = list(check_registrations(Subject(given), import_targets=True))
    assert said in found[0].what


def test_a_plugin_that_registers_by_chance_does_not_conform() -> None:
    message = refusal(Fickle)
    assert checks(message) == {"registrations"}, message


def test_targets_need_not_be_imported() -> None:
    assert assert_conforms(Aimless, import_targets=False).plugin == "bad"


# ------------------------------------------------------------------------------------ runs


class Failing(Plugin):
    name = "bad"

    async def post_step_execution(self, call: StepCall, result: StepResult, /) -> None:
        raise KeyError("CANARY")


class Unstarted(Plugin):
    name = "bad"

    async def on_startup(self, app: AppInfo, /) -> None:
        raise ConnectionError("CANARY")


class Mistyping(Plugin):
    name = "bad"

    async def pre_step_execution(self, call: StepCall, /) -> StepCall:
        return call.replace(step_input=["CANARY"])


class Untidy(Plugin):
    name = "bad"

    async def on_startup(self, app: AppInfo, /) -> None:
        self.task = asyncio.create_task(self._forever())

    async def _forever(self) -> None:
        await asyncio.Event().wait()


class Unheard(Plugin):
    name = "bad"

    async def on_pipeline_start(self, run: RunStart, /) -> None:
        self.task = asyncio.create_task(self._fail())

    async def _fail(self) -> None:
        raise OSError("CANARY")


class Mixing(Plugin):
    name = "bad"

    async def on_pipeline_start(self, run: RunStart, /) -> None:
        self.input = run.initial_input

    async def on_pipeline_end(self, run: RunStart, end: RunEnd, /) -> RunEnd | None:
        if end.pipeline_result.status != "completed":
            return None
        return end.replace(pipeline_result=end.pipeline_result.replace(output=self.input))


class Failed(Plugin):
    """Fails in a run for a reason that only some pipelines have: a step that fails."""

    name = "bad"

    async def on_pipeline_end(self, run: RunStart, end: RunEnd, /) -> None:
        _ = end.pipeline_result.output


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Failing, r"'post_step_execution' raised KeyError \(testing/test_conformance.py:\d+\)"),
        (Unstarted, r"'on_startup' raised ConnectionError"),
        (Mistyping, r"ended as 'failed' .*without the plugin as 'completed' .*an async step"),
        (Untidy, r"task 'Untidy._forever' \(testing/test_conformance.py:\d+\) was left behind"),
        (Unheard, r"nobody heard of OSError in 'Unheard._fail'"),
        (Mixing, r"three runs at once do not end as .*'run_id'"),
        (Failed, r"'on_pipeline_end' raised NoOutput .*the pipeline was a step that fails"),
    ],
)
def test_runs_go_on_as_without_the_plugin(given: Any, said: str) -> None:
    message = refusal(given)
    assert checks(message) == {"runs"} and re.search(said, message) and "CANARY" not in message, message
    assert "Mend that first" in message


def test_a_plugin_that_never_ends_is_stuck_and_the_suite_is_not() -> None:
    class Stubborn(Plugin):
        name = "bad"

        async def post_step_execution(self, call: StepCall, result: StepResult, /) -> None:
            while True:
                try:
                    await asyncio.sleep(30)
                except asyncio.CancelledError:
                    continue

    (seen,) = tried([Setup(SOUND, (Stubborn(),), patience=0.03)])
    assert seen.stuck and list(flaws(seen, Witness(), "bad")) == [
        "the run did not come to an end; a hook must end when it is cancelled"
    ]


class Random(Plugin):
    name = "random"
    made: ClassVar[int] = 0

    async def pre_step_execution(self, call: StepCall, /) -> Skip[str] | StepCall:
        type(self).made += 1
        return Skip("often") if self.made % 3 else call.replace(step_input=f"turn {self.made}")


def test_what_is_not_the_same_twice_is_remarked_and_no_failure() -> None:
    remarks = "\n".join(assert_conforms(Random).remarks)
    assert "did not give the same" in remarks


# ------------------------------------------------------------------------------------ blocking


class Blocking(Plugin):
    name = "bad"

    async def on_pipeline_start(self, run: RunStart, /) -> None:
        await asyncio.sleep(0)
        time.sleep(0.12)  # noqa: ASYNC251 - just what must not be


class BlockingAround(Plugin):
    name = "bad"

    async def around_step(self, call: StepCall, proceed: Proceed, /) -> StepResult:
        result = await proceed()
        end = time.monotonic() + 0.15
        while time.monotonic() < end:
            pass
        return result


class BlockingOnce(Plugin):
    name = "once"
    done: ClassVar[bool] = False

    async def on_startup(self, app: AppInfo, /) -> None:
        if not self.done:
            type(self).done = True
            time.sleep(0.15)  # noqa: ASYNC251 - just what must not be


def test_a_hook_that_blocks_the_loop_is_named_with_the_place() -> None:
    message = refusal(Blocking)
    assert checks(message) == {"blocking"}, message
    place = r"testing/test_conformance\.py:\d+"
    assert re.search(rf"'on_pipeline_start' blocked the loop for 0\.\d+ s at {place}", message), message
    (found,) = check_blocking(Subject(BlockingAround), 0.1)
    assert re.search(rf"'around_step' blocked the loop for 0\.\d+ s at {place}", found.what), found


def test_a_hook_that_blocks_the_loop_only_once_is_remarked() -> None:
    (remark,) = check_blocking(Subject(BlockingOnce), 0.1)
    assert isinstance(remark, Remark) and "and did not when called again" in remark.what


def test_what_a_step_does_within_an_around_hook_is_not_the_hooks_blocking() -> None:
    assert list(check_blocking(Subject(Whole), 0.1)) == []


# ------------------------------------------------------------------------------------ faults


class Swallowing(Plugin):
    name = "bad"

    async def around_step(self, call: StepCall, proceed: Proceed, /) -> StepResult:
        try:
            return await proceed()
        except StepError:
            raise
        except Exception:
            return call.result("all is well")


class Masking(Plugin):
    name = "bad"

    async def around_step(self, call: StepCall, proceed: Proceed, /) -> StepResult:
        try:
            return await proceed()
        except StepError:
            raise
        except Exception as error:
            raise RuntimeError from error


class Relying(Plugin):
    """Counts on its ``on_pipeline_start`` having been called."""

    name = "bad"

    def __init__(self) -> None:
        self.runs: dict[str, Any] = {}

    async def on_pipeline_start(self, run: RunStart, /) -> None:
        self.runs[run.run_id] = run.initial_input

    async def on_pipeline_end(self, run: RunStart, end: RunEnd, /) -> None:
        del self.runs[run.run_id]


class Closing(Plugin):
    """Counts on a run having begun."""

    name = "bad"
    client: Any = None

    async def on_pipeline_start(self, run: RunStart, /) -> None:
        self.client = run

    async def on_shutdown(self) -> None:
        _ = self.client.run_id


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Swallowing, r"'around_step' gave an answer although 'proceed' had raised Veto"),
        (Masking, r"'around_step' raised RuntimeError although 'proceed' had raised PluginError"),
        (
            Relying,
            r"'on_pipeline_end' raised KeyError \(testing/test_conformance.py:\d+\); a hook must not fail because",
        ),
        (Closing, r"'on_shutdown' raised AttributeError"),
    ],
)
def test_faults_of_neighbours_and_of_its_own_hooks_end_as_the_contract_says(given: Any, said: str) -> None:
    message = refusal(given)
    assert checks(message) == {"faults"} and re.search(said, message), message
    assert "a neighbour " in message or "(it " in message


def test_the_groups_that_tasks_raise_are_no_swallowing() -> None:
    class Grouping(Plugin):
        name = "grouping"

        async def around_step(self, call: StepCall, proceed: Proceed, /) -> StepResult:
            try:
                async with asyncio.TaskGroup():
                    return await proceed()
            except BaseExceptionGroup as group:
                if (failed := group.subgroup(StepError)) is not None:
                    raise failed.exceptions[0] from None
                raise

    assert assert_conforms(Grouping).plugin == "grouping"


# ------------------------------------------------------------------------------------ cancellation


class Deaf(Plugin):
    name = "bad"

    async def pre_step_execution(self, call: StepCall, /) -> None:
        try:
            await asyncio.sleep(0.002)
        except asyncio.CancelledError:
            return


class Lingering(Plugin):
    name = "bad"

    async def pre_step_execution(self, call: StepCall, /) -> None:
        try:
            await asyncio.sleep(0.002)
        except asyncio.CancelledError:
            await asyncio.sleep(1.2)
            raise


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Deaf, "the run ended as 'completed'; let the cancellation through"),
        (Lingering, "the run ended later than 1 s after that"),
    ],
)
def test_a_cancelled_run_ends_at_once_as_cancelled(given: Any, said: str) -> None:
    message = refusal(given)
    assert checks(message) == {"cancellation"} and said in message, message
    assert "a run is cancelled while 'pre_step_execution' waits" in message


# ------------------------------------------------------------------------------------ order


class Wandering(Plugin):
    """Is called first in every second process, so to speak."""

    name = "bad"
    made: ClassVar[int] = 0

    def __init__(self) -> None:
        type(self).made += 1
        if self.made // 2 % 2:
            self.pre_step_execution = MethodType(_first, self)  # type: ignore[method-assign]

    async def pre_step_execution(self, call: StepCall, /) -> None: ...


def test_the_order_does_not_depend_on_chance() -> None:
    message = refusal(Wandering)
    assert checks(message) == {"order"}, message
    assert "'pre_step_execution' is called in different orders" in message


class OneSided(Plugin):
    name = "one-sided"

    @hookimpl(tryfirst=True)
    async def pre_step_execution(self, call: StepCall, /) -> None: ...

    async def post_step_execution(self, call: StepCall, result: StepResult, /) -> None: ...


def test_a_plugin_that_is_not_unwrapped_where_it_was_wrapped_is_told() -> None:
    remarks = "\n".join(assert_conforms(OneSided).remarks)
    assert "not unwrapped in 'post_step_execution' in the reverse of the order of 'pre_step_execution'" in remarks
