"""The process pool, with real crashes and real kills."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import backend_kit as kit
import pytest

from flujo_core import (
    ConfigurationError,
    Flujo,
    InvalidValue,
    Map,
    Plugin,
    ProcessPool,
    RemoteCall,
    RemoteFailure,
    RemoteOutput,
    ResourceHints,
    Retry,
    RunFailed,
    RunInfo,
    StepError,
    StepTimeout,
    WorkerCrashed,
)

KIT = Path(kit.__file__).parent


class TwoWorkers(Plugin):
    """A pool of two, whatever the machine has."""

    name = "two"

    def register_backends(self, registry):
        registry.add("pool", lambda: ProcessPool(workers=2))


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def until(holds: Callable[[], bool], within: float = 30.0) -> bool:
    ends = time.monotonic() + within
    while not holds():
        if time.monotonic() > ends:
            return False
        time.sleep(0.02)
    return True


def gone(*pids: int) -> bool:
    return until(lambda: not any(map(lives, pids)))


def pids_in(file: Path) -> list[int]:
    assert until(file.exists), "the step has not begun"
    return [int(one) for one in file.read_text().split()]


def error_of(node, value, **more) -> BaseException:
    with pytest.raises(RunFailed) as failed:
        Flujo(node, **more).run(value)
    error = failed.value.__cause__
    assert isinstance(error, StepError)
    return error


def call(step, value: bytes, **more) -> RemoteCall:
    info = RunInfo("run", None, step.name, 1, "key", None)
    return RemoteCall(f"backend_kit:{step.name}", step.name, value, info, **more)


async def outcome(pool: ProcessPool, one: RemoteCall):
    [found] = [item async for item in pool.execute(one)]
    return found


def test_workers_are_other_processes_and_are_used_again() -> None:
    async def run():
        async with Flujo(kit.pid) as flujo:
            return [(await flujo.run_async(1)).output for _ in range(3)]

    first, *others = asyncio.run(run())
    assert first != os.getpid()
    assert others == [first, first]
    assert gone(first)


def test_no_more_work_at_once_than_there_are_workers() -> None:
    async def run():
        nap = kit.nap.policy(backend="two/pool")
        async with Flujo(Map("all", nap, over=lambda n: [0.15] * n), plugins=[TwoWorkers()]) as flujo:
            return (await flujo.run_async(6)).output

    spans = asyncio.run(run())
    most = max(sum(begun <= moment < ended for begun, ended in spans) for moment, _ in spans)
    assert most == 2


@pytest.mark.parametrize(
    ("how", "told"), [("exit", "exit code 3"), ("kill", "signal 9 (SIGKILL)"), ("fault", "signal 11 (SIGSEGV)")]
)
def test_a_worker_that_crashes_fails_the_step_that_says_how(how: str, told: str) -> None:
    error = error_of(kit.crash, how)
    assert isinstance(error, WorkerCrashed)
    assert error.address == "crash"
    assert told in str(error)


def test_a_crash_is_tried_again_under_the_same_key(tmp_path: Path) -> None:
    result = Flujo(kit.crash_twice).run(str(tmp_path))
    assert result.output == "at last"
    assert result.steps[0].attempts == 3
    assert len({file.read_text() for file in tmp_path.iterdir()}) == 1


def test_a_crash_does_nothing_to_other_workers() -> None:
    async def run():
        pool = ProcessPool(workers=2)
        long = asyncio.ensure_future(outcome(pool, call(kit.nap, b"1.5")))
        await asyncio.sleep(0.1)
        crashed = await outcome(pool, call(kit.crash, b'"exit"'))
        still = not long.done()
        ended = await long
        await pool.aclose()
        return crashed, still, ended

    crashed, still, ended = asyncio.run(run())
    assert crashed.lineage == ("flujo_core.errors:WorkerCrashed",)
    assert still
    assert isinstance(ended, RemoteOutput)


def test_a_timeout_kills_the_worker_and_what_it_has_started(tmp_path: Path) -> None:
    file = tmp_path / "pids"

    async def run():
        async with Flujo(kit.spin) as flujo:
            running = asyncio.ensure_future(flujo.run_async(str(file)))
            worker, child = await asyncio.to_thread(pids_in, file)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert not lives(worker)
            assert gone(child)

    asyncio.run(run())


def test_a_step_that_does_not_end_times_out_and_is_tried_again(tmp_path: Path) -> None:
    limited = kit.spin.policy(timeout=2.0, retry=Retry(attempts=2, on=(StepTimeout,)))
    file = tmp_path / "pids"
    error = error_of(limited, str(file))
    assert isinstance(error, StepTimeout)
    assert error.attempts == 2
    assert gone(*pids_in(file))


def test_max_runtime_stops_a_step_by_force() -> None:
    began = time.monotonic()
    error = error_of(kit.too_long, 600.0)
    assert isinstance(error, StepTimeout)
    assert time.monotonic() - began < 60
    assert Flujo(kit.too_long).run(0.01).output == 0.01


def test_a_worker_that_was_killed_while_idle_is_replaced() -> None:
    async def run():
        async with Flujo(kit.pid) as flujo:
            first = (await flujo.run_async(1)).output
            os.kill(first, signal.SIGKILL)
            await asyncio.to_thread(gone, first)
            return first, (await flujo.run_async(1)).output

    first, second = asyncio.run(run())
    assert first != second


def test_a_pool_that_is_closed_fails_what_runs_and_can_be_used_again() -> None:
    async def run():
        pool = ProcessPool(workers=1)
        long = asyncio.ensure_future(outcome(pool, call(kit.nap, b"600")))
        await asyncio.to_thread(until, lambda: any(worker._is_ready for worker in pool._workers))
        await pool.aclose()
        closed, again = await long, await outcome(pool, call(kit.double, b"4"))
        await pool.aclose()
        return closed, again

    closed, again = asyncio.run(run())
    assert closed == RemoteFailure(
        "the process pool was closed before it was done", ("flujo_core.errors:WorkerCrashed",)
    )
    assert again.output == b"8"


def test_who_waits_for_a_worker_can_be_cancelled() -> None:
    async def run():
        pool = ProcessPool(workers=1)
        first = asyncio.ensure_future(outcome(pool, call(kit.nap, b"0.3")))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(outcome(pool, call(kit.double, b"1")))
        third = asyncio.ensure_future(outcome(pool, call(kit.double, b"2")))
        await asyncio.sleep(0.05)
        second.cancel()
        found = await asyncio.gather(first, second, third, return_exceptions=True)
        await pool.aclose()
        return found

    first, second, third = asyncio.run(run())
    assert isinstance(first, RemoteOutput)
    assert isinstance(second, asyncio.CancelledError)
    assert third.output == b"4"


def test_a_pool_serves_several_event_loops() -> None:
    pool = ProcessPool(workers=1)

    async def run():
        return await outcome(pool, call(kit.double, b"4"))

    assert [asyncio.run(run()).output for _ in range(2)] == [b"8", b"8"]
    asyncio.run(pool.aclose())


def test_cores_are_places_of_the_pool() -> None:
    hungry = kit.double.policy(backend="two/pool", resources=ResourceHints(cpu=3))
    error = error_of(hungry, 1, plugins=[TwoWorkers()])
    assert isinstance(error.__cause__, ConfigurationError)
    assert "wants 3 cores, and the process pool has 2 workers" in str(error)
    modest = kit.double.policy(backend="two/pool", resources=ResourceHints(cpu=3, required=()))
    assert Flujo(modest, plugins=[TwoWorkers()]).run(1).output == 2


def test_a_pool_has_at_least_one_worker() -> None:
    with pytest.raises(ConfigurationError, match="at least 1"):
        ProcessPool(workers=0)


def test_what_a_step_is_not_given_it_says(tmp_path: Path) -> None:
    missing = call(kit.double, b"1")._replace(step="backend_kit:nowhere")

    async def run():
        pool = ProcessPool(workers=1)
        found = await outcome(pool, missing), await outcome(pool, missing._replace(step="no_such_module:step"))
        await pool.aclose()
        return found

    for failure in asyncio.run(run()):
        assert failure.lineage[0] == "flujo_core.errors:ConfigurationError"
        assert "is not found where it is to run" in failure.message


def program(tmp_path: Path, body: str, guard: bool = True) -> subprocess.Popen[str]:
    """A program that is run as a script, and the steps are in its own module."""
    head = (
        "import asyncio, os, sys, time\nfrom pathlib import Path\nfrom flujo_core import *\nimport backend_kit as kit\n"
    )
    main = "if __name__ == '__main__':\n" if guard else "if True:\n"
    lines = body.partition("---\n")
    (tmp_path / "program.py").write_text(
        head + lines[0] + main + "".join(f"    {one}\n" for one in lines[2].split("\n"))
    )
    environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(KIT), *sys.path])}
    return subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py")],
        env=environ, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


OWN = """
class Own(PipelineContext):
    seen: list[int] = []

class Mine(Exception):
    pass

@step(backend="process")
def own(number: int, context: Own) -> int:
    context.seen.append(number)
    return number + 1

@step(backend="process", retry=Retry(attempts=2, on=(Mine,)))
def raising(number: int, info: RunInfo) -> int:
    if info.attempt == 1:
        raise Mine
    return number * 10
---
result = Flujo(own >> raising, context=Own).run(1)
print(result.output, result.context.seen)
"""


def test_steps_of_a_script_run(tmp_path: Path) -> None:
    out, err = program(tmp_path, OWN).communicate(timeout=60)
    assert out == "20 [1]\n", err


def test_a_script_without_a_guard_is_told_to_have_one(tmp_path: Path) -> None:
    process = program(tmp_path, OWN, guard=False)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "put what runs a pipeline below \"if __name__ == '__main__':\"" in err


def test_workers_write_where_the_program_does(tmp_path: Path) -> None:
    out, err = program(tmp_path, "---\nFlujo(kit.say).run('hello')").communicate(timeout=60)
    assert (out, err) == ("hello\n", "hello\n")


def test_a_program_ends_though_nobody_closes_its_flujo(tmp_path: Path) -> None:
    out, err = program(tmp_path, "---\nprint(asyncio.run(Flujo(kit.double).run_async(2)).output)").communicate(
        timeout=60
    )
    assert out == "4\n", err


@pytest.mark.parametrize("step", ["spin", "spin_in_c"])
def test_no_worker_outlives_a_program_that_is_killed(tmp_path: Path, step: str) -> None:
    if step == "spin_in_c" and sys.platform != "linux":
        pytest.skip("only Linux ends a process that lets none of its threads run")
    process = program(tmp_path, f"---\nFlujo(kit.{step}).run({str(tmp_path / 'pids')!r})")
    pids = pids_in(tmp_path / "pids")
    process.kill()
    process.communicate(timeout=60)
    assert gone(*pids)


RESUMED = """
class Seen(PipelineContext):
    keys: list[str] = []

@step(backend="process")
def begin(folder: str, context: Seen, info: RunInfo) -> str:
    context.keys.append(info.idempotency_key)
    with open(folder + "/begun", "a") as file:
        file.write("x")
    return folder

@step(backend="process")
def go_on(folder: str, info: RunInfo) -> str:
    with open(folder + "/keys", "a") as file:
        file.write(info.idempotency_key + " ")
    if info.epoch == 1:
        kit.spin.action.function(folder + "/pids")
    return "done"
---
flujo = Flujo(begin >> go_on, context=Seen, store="sqlite:///runs.db")
result = flujo.run(os.getcwd(), run_id="one")
print(result.output, len(result.context.keys))
"""


def test_a_killed_run_goes_on_and_repeats_no_committed_step(tmp_path: Path) -> None:
    process = program(tmp_path, RESUMED)
    pids = pids_in(tmp_path / "pids")
    process.kill()
    process.communicate(timeout=60)
    assert gone(*pids)
    out, err = program(tmp_path, RESUMED).communicate(timeout=60)
    assert out == "done 1\n", err
    assert (tmp_path / "begun").read_text() == "x"
    first, second = (tmp_path / "keys").read_text().split()
    assert first == second


def test_an_outcome_that_cannot_be_sent_is_a_failure_and_the_worker_goes_on() -> None:
    async def run():
        pool = ProcessPool(workers=1)
        found = [await outcome(pool, call(one, b"1")) for one in (kit.stop_oddly, kit.pid, kit.silence, kit.pid)]
        await pool.aclose()
        return found

    failed, before, silent, after = asyncio.run(run())
    assert isinstance(failed, RemoteFailure)
    assert silent.output == b"1"
    assert before == after


def test_a_pool_that_is_closed_before_a_worker_is_ready_fails_the_call() -> None:
    async def run():
        pool = ProcessPool(workers=1)
        found = asyncio.ensure_future(outcome(pool, call(kit.nap, b"600")))
        while not pool._workers:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        await pool.aclose()
        return await found

    assert asyncio.run(run()).message == "the process pool was closed before it was done"


def test_invalid_values_keep_their_class() -> None:
    assert isinstance(error_of(kit.wrong, 1), InvalidValue)
