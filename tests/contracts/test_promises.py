"""The promises of DESIGN that exist by now, each by the name of its test."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from flujo_core import (
    AgentReply,
    DefinitionError,
    Flujo,
    FlujoError,
    MemoryStore,
    PipelineContext,
    PluginSettings,
    Retry,
    RunEnd,
    RunFailed,
    RunInfo,
    RunStart,
    Settings,
    SQLiteStore,
    Step,
    StepCall,
    StepResult,
    Veto,
    step,
)
from flujo_core.model.run import fold
from flujo_core.store.codec import decode

CANARY = "CANARY-4711"


@step
async def plain(value: int) -> int:
    return value + 1


def test_edges_are_type_checked_before_anything_runs() -> None:
    @step
    async def text(value: str) -> str:
        return value

    with pytest.raises(DefinitionError, match=r"'plain'.*'text'"):
        _ = plain >> text  # type: ignore[operator]


def test_the_journal_is_the_truth_and_state_is_a_fold_over_it() -> None:
    store = MemoryStore()
    result = Flujo(plain >> plain.named("b"), store=store).run(1, run_id="r")
    state = fold(decode(record) for record in asyncio.run(store.read("r")))
    assert (state.status, state.output, [one.output for one in state.steps.values()]) == ("completed", 3, [2, 3])
    assert state.run_id == result.run_id and state.pipeline == "plain >> b"


def test_every_leaf_step_is_a_transaction() -> None:
    class State(PipelineContext):
        log: list[str] = []

    @step(retry=Retry(attempts=2))
    async def half(value: int, context: State) -> int:
        context.log.append("half")
        raise ValueError

    half_step: Any = half
    with pytest.raises(RunFailed) as failed:
        Flujo(half_step, context=State).run(1)
    assert failed.value.result.context.log == []


def test_every_leaf_execution_has_an_address_made_of_names() -> None:
    result = Flujo((plain >> plain.named("x/y")).named("scope")).run(1)
    assert [one.address for one in result.steps] == ["scope/plain", "scope/x%2Fy"]


def test_plugins_fail_closed() -> None:
    async def broken(call: StepCall) -> None:
        raise RuntimeError

    ran: list[int] = []

    @step
    async def work(value: int) -> int:
        ran.append(1)
        return value

    with pytest.raises(RunFailed):
        Flujo(work, pre_step_execution=broken).run(1)
    assert ran == []


def test_a_missing_required_plugin_refuses_the_start() -> None:
    with pytest.raises(FlujoError, match="flujo-audit-nobody-has"):
        Flujo(plain, settings=Settings(PluginSettings(required=("flujo-audit-nobody-has",))))


def test_the_refusal_is_on_record() -> None:
    store = MemoryStore()

    async def veto(call: StepCall) -> None:
        raise Veto("not in the EU")

    with pytest.raises(RunFailed):
        Flujo(plain, pre_step_execution=veto, store=store).run(1, run_id="r")
    state = fold(decode(record) for record in asyncio.run(store.read("r")))
    assert state.status == "refused" and state.error is not None and "not in the EU" in state.error.message


def test_return_values_are_validated_and_a_message_has_the_path_and_not_the_value() -> None:
    class Mail(BaseModel):
        size: Annotated[int, Field(ge=0)]

    @step
    async def read(value: int) -> Mail:
        return {"size": CANARY}  # type: ignore[return-value]

    read_step: Any = read
    with pytest.raises(RunFailed, match="'size'") as failed:
        Flujo(read_step).run(1)
    assert CANARY not in str(failed.value)


def test_interrupting_the_process_leaves_a_truthful_status(tmp_path: Path) -> None:
    code = """
        import asyncio, sys
        from flujo_core import Flujo, step

        @step
        async def wait(value: int) -> int:
            print("waiting", flush=True)
            await asyncio.sleep(60)
            return value

        Flujo(wait, store=f"sqlite:///{sys.argv[1]}").run(1, run_id="r")
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "runs.db")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        assert child.stdout is not None and child.stdout.readline().strip() == "waiting"
        child.send_signal(signal.SIGINT)
        try:
            child.communicate(timeout=20)
        finally:
            child.kill()
    assert child.returncode not in (0, -signal.SIGKILL)
    assert _statuses(tmp_path / "runs.db") == ["cancelled"]


def test_killing_the_process_loses_no_committed_step(tmp_path: Path) -> None:
    code = """
        import asyncio, os, signal, sys
        from flujo_core import Flujo, step

        @step
        async def first(value: int) -> int:
            return value + 1

        @step
        async def second(value: int) -> int:
            os.kill(os.getpid(), signal.SIGKILL)
            return value

        Flujo(first >> second, store=f"sqlite:///{sys.argv[1]}").run(1, run_id="r")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "runs.db")], timeout=30, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert _statuses(tmp_path / "runs.db") == ["running"]

    async def main() -> None:
        store = SQLiteStore(tmp_path / "runs.db")
        state = fold([decode(record) for record in await store.read("r")])
        assert state.steps["first"].status == "completed" and state.steps["first"].output == 2
        assert state.steps["second"].status == "running"
        await store.close()

    asyncio.run(main())


def _statuses(path: Path) -> list[str]:
    async def main() -> list[str]:
        store = SQLiteStore(path)
        try:
            return [run.status for run in await store.runs()]
        finally:
            await store.close()

    return asyncio.run(main())


# ---------------------------------------------------------------------------------------------------- secrets


class Patient(BaseModel):
    """A value that must not be seen. pydantic itself shows it; we must not."""

    name: str = CANARY


class Ward(PipelineContext):
    patient: Patient = Patient()
    names: list[str] = [CANARY]


def _seen(thing: object) -> Iterator[str]:
    yield str(thing)
    yield repr(thing)
    yield f"{thing}"


def _flujo_errors(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        if isinstance(error, FlujoError):
            yield error
        error = error.__cause__ or error.__context__


def _watch(things: list[object]) -> dict[str, Any]:
    async def start(run: RunStart) -> None:
        things.extend([run, run.context, tuple(_seen(run))])

    async def before(call: StepCall) -> None:
        things.extend([call, call.context])

    async def after(call: StepCall, result: StepResult) -> None:
        things.extend([call, result, call.replace(step_input=CANARY)])

    async def end(run: RunStart, end: RunEnd) -> None:
        things.extend([run, end, end.pipeline_result, end.context])

    return {
        "on_pipeline_start": start, "pre_step_execution": before, "post_step_execution": after, "on_pipeline_end": end,
    }  # fmt: skip


class Whisper:
    async def run(self, input: Patient, /, *, info: RunInfo) -> AgentReply[Patient]:
        return AgentReply(input)


ENDINGS = [
    "completed",
    "raises",
    "wrong output",
    "wrong context",
    "timeout",
    "lost",
    "wrong input",
    "wrong hook",
    "key",
]


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_value_of_a_run_is_in_any_text_of_flujo(ending: str) -> None:
    things: list[object] = []

    async def use(patient: Patient, context: Ward) -> Patient:
        context.names.append(CANARY)
        things.append(context)
        if ending == "raises":
            raise ValueError(f"no bed for {patient.name}")
        if ending == "wrong output":
            return {"name": [CANARY], CANARY: CANARY}  # type: ignore[return-value]
        if ending == "wrong context":
            context.patient = CANARY  # type: ignore[assignment]
        if ending == "timeout":
            await asyncio.sleep(60)
        if ending == "lost":
            return type("Secret", (Patient,), {})()
        if ending == "key":
            raise KeyError(CANARY)
        return patient

    hooks = _watch(things)
    if ending == "wrong hook":

        async def wrong(call: StepCall, result: StepResult) -> Any:
            return CANARY

        hooks["post_step_execution"] = wrong
    policy: dict[str, Any] = {"timeout": 0.05, "retry": Retry(attempts=2)}
    pipeline: Any = (step(**policy)(use) >> Step.agent("whisper", Whisper())).named("scope")
    store = MemoryStore()
    flujo = Flujo(pipeline, context=Ward, store=store, **hooks)
    given: Any = {"name": {"x": CANARY}} if ending == "wrong input" else Patient()

    async def main() -> None:
        try:
            async with flujo.stream(given, run_id="r") as run:
                things.append(run)
                async for event in run:
                    things.append(event)
                    things.extend(value for name in ("error",) if (value := getattr(event, name, None)))
            things.extend([run.result, run.result.context, *run.result.steps])
        except FlujoError as error:
            assert ending != "completed"
            things.extend(_flujo_errors(error))
            if isinstance(error, RunFailed):
                result = error.result
                things.extend([result, result.context, result.end, *result.steps, result.error])
                things.extend(one.error for one in result.steps)
        records = await store.read("r")
        things.extend(records)
        things.extend(record._replace(payload=b"") for record in records)
        events = [decode(record) for record in records]
        things.extend(events)
        if events:
            state = fold(events)
            things.extend([state, *state.steps.values(), state.error, state.reason])

    asyncio.run(main())
    assert len(things) > (0 if ending == "wrong input" else 8)
    shown = [text for thing in things for text in _seen(thing)]
    assert [text for text in shown if CANARY in text] == []
    flat = [tuple(record[:7]) for record in asyncio.run(store.read("r"))]
    assert CANARY not in repr(flat), "a clear header holds a value"


def test_a_failure_is_not_journaled_with_the_text_of_a_foreign_exception() -> None:
    store = MemoryStore()

    @step(retry=Retry(attempts=2))
    async def bad(value: int) -> int:
        raise ValueError(CANARY)

    bad_step: Any = bad
    with pytest.raises(RunFailed):
        Flujo(bad_step, store=store).run(1, run_id="r")
    assert all(CANARY.encode() not in record.payload for record in asyncio.run(store.read("r")))


def test_flujo_errors_can_cross_a_process() -> None:
    """What a process pool, a queue or a test runner does with an exception: pickle it."""
    with pytest.raises(RunFailed) as failed:

        async def broken(call: StepCall) -> None:
            raise RuntimeError

        Flujo(plain, pre_step_execution=broken).run(1)
    error = failed.value.__cause__
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    back = pickle.loads(pickle.dumps(failed.value))
    assert str(back) == str(failed.value) and back.result.status == "refused"


def test_pay_for_what_you_use_no_agent_no_pydantic_ai() -> None:
    code = """
        import sys
        before = set(sys.modules)  # a coverage tool may have brought some
        from flujo_core import Flujo, Settings, PluginSettings, step

        @step
        async def one(value: int) -> int:
            return value

        Flujo(one, settings=Settings(PluginSettings(allow=()))).run(1)
        dear = {"pydantic_ai", "sqlite3", "rich", "typer", "structlog"}
        print(sorted(dear & (set(sys.modules) - before)))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_one_flujo_can_run_many_times_side_by_side_and_in_threads() -> None:
    flujo = Flujo(plain, store="sqlite:///runs.db")

    async def main() -> list[int]:
        async with flujo:
            return [one.output for one in await asyncio.gather(*(flujo.run_async(n) for n in range(30)))]

    assert asyncio.run(main()) == list(range(1, 31))


def test_a_local_script_of_three_lines_runs() -> None:
    code = """
        from flujo_core import Flujo, Step
        from pydantic_ai import Agent
        from pydantic_ai.models.test import TestModel
        print(Flujo(Step.agent("haiku", Agent(TestModel(custom_output_text="leaves")))).run("autumn").output)
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FLUJO_")}
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", textwrap.dedent(code)],
        capture_output=True, text=True, env=environ, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, "leaves"), done.stderr
