"""What is on record, and what is done, while the disk fails, hangs, and comes back."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from flujo_audit_advanced import AuditLog, AuditPlugin, NotRecorded, Rule, verify_log
from flujo_audit_advanced.claims import Trust
from flujo_audit_advanced.keys import key_of
from flujo_audit_advanced.report import Report
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel
from recording_kit import QUIET, SIGNER, Asked, kinds, recorded, recording

from flujo_core import Flujo, PluginError, RunRefused, Step, Veto, step


@step
async def shout(text: str) -> str:
    return text.upper()


def report(folder: Path) -> Report:
    return verify_log(folder / "log", Trust(key=key_of("flujo.local/audit", SIGNER)))


def numbers(records: list[dict[str, Any]]) -> set[int]:
    """The numbers that a recorder gave its records."""
    return {int(one["id"].rpartition("-")[2]) for one in records if "-" in one["id"]}


def failing(*_: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@contextmanager
def without(*calls: str) -> Iterator[None]:
    """A disk on which these calls fail."""
    with pytest.MonkeyPatch.context() as disk:
        for name in calls:
            disk.setattr(os, name, failing)
        yield


DEAD = "fdatasync", "fsync", "pwrite"


def test_what_is_written_again_after_one_failure_is_no_replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, failures = os.fdatasync, [errno.EIO]

    def fails_once(file: int) -> None:
        if failures:
            raise OSError(failures.pop(), "it fails once")
        real(file)

    async def main() -> None:
        async with Flujo(shout, plugins=[AuditPlugin(recording(tmp_path))]) as flujo:
            monkeypatch.setattr(os, "fdatasync", fails_once)
            assert (await flujo.run_async("x")).output == "X"

    asyncio.run(main())
    assert failures == []
    found = report(tmp_path)
    assert found.intact and not found.findings
    assert kinds(tmp_path).count("run.started") == 2  # the disk had kept the first


def test_all_that_was_lost_is_counted_by_kind_and_nothing_else_is_missing(tmp_path: Path) -> None:
    async def main() -> None:
        what = recording(tmp_path, QUIET)
        held = what.log()
        await asyncio.to_thread(held.open)
        recorder = what.recorder(held)

        async def some(kind: str) -> None:
            for _ in range(20):
                await recorder.record(kind, {})
            await asyncio.sleep(0.2)

        await some("step.started")
        with without(*DEAD):
            await some("step.completed")
            await some("step.failed")
        await asyncio.sleep(1.1)
        await some("run.ended")
        await some("run.paused")
        await asyncio.to_thread(held.close)

    asyncio.run(main())
    found = recorded(tmp_path)
    missing = set(range(100)) - numbers(found)
    told: Counter[str] = Counter()
    for gap in (one for one in found if one["kind"] == "audit.gap"):
        told.update(gap["kinds"])
        assert gap["count"] == sum(gap["kinds"].values()) and gap["since"] < gap["at"]
    kept = Counter(one["kind"] for one in found)
    assert kept["step.started"] == 20 and kept["run.paused"] == 20
    assert missing and told == Counter({kind: 20 - kept[kind] for kind in told})
    assert len(missing) == told.total() and {"step.completed", "step.failed"} <= {*told}
    assert report(tmp_path).intact


def test_what_was_lost_just_before_the_end_is_on_record_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with Flujo(shout, plugins=[AuditPlugin(recording(tmp_path, QUIET))]) as flujo:
            await flujo.run_async("one")
            await asyncio.sleep(0.1)
            with without(*DEAD):
                await flujo.run_async("two")
                await asyncio.sleep(0.2)

    with caplog.at_level(logging.ERROR):
        asyncio.run(main())
    assert kinds(tmp_path)[-1] == "audit.gap" and "a record says so" in caplog.text
    assert recorded(tmp_path)[-1]["kinds"]["run.ended"] == 1


def test_what_no_record_can_tell_is_told_in_the_log_of_the_process(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        flujo = Flujo(shout, plugins=[AuditPlugin(recording(tmp_path, QUIET))])
        async with flujo:
            await flujo.run_async("one")
            await asyncio.sleep(0.1)
            disk.enter_context(without(*DEAD))
            await flujo.run_async("two")
            await asyncio.sleep(0.2)

    with caplog.at_level(logging.ERROR), ExitStack() as disk:
        asyncio.run(main())
    critical = [one.getMessage() for one in caplog.records if one.levelno == logging.CRITICAL]
    assert critical and "no record says so" in critical[0] and "'run.ended': 1" in critical[0]


AT_EXIT = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from recording_kit import QUIET, recording
from test_recording_disk import DEAD, shout, without
from flujo_audit_advanced import AuditPlugin
from flujo_core import Flujo

flujo = Flujo(shout, plugins=[AuditPlugin(recording(Path(sys.argv[1]), QUIET))])

async def main():
    await flujo.run_async("one")
    await asyncio.sleep(0.1)
    disk.__enter__()
    await flujo.run_async("two")
    await asyncio.sleep(0.2)

disk = without(*DEAD)
asyncio.run(main())
if sys.argv[3] == "well":
    disk.__exit__(None, None, None)
"""


@pytest.mark.parametrize("disk", ["well", "dead"])
def test_what_was_lost_is_told_as_the_process_ends_without_a_shutdown(tmp_path: Path, disk: str) -> None:
    arguments = [sys.executable, "-c", AT_EXIT, str(tmp_path), str(Path(__file__).parent), disk]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert "no record says so" in done.stderr and "'run.ended': 1" in done.stderr


@pytest.mark.parametrize("calls", [("pwrite",), ("fdatasync", "fsync"), DEAD])
def test_whatever_of_the_disk_fails_no_step_begins_and_the_refusal_is_typed(
    tmp_path: Path, calls: tuple[str, ...]
) -> None:
    ran: list[str] = []

    @step
    async def work(text: str) -> str:
        ran.append(text)
        return text

    async def main() -> None:
        async with Flujo(work >> shout, plugins=[AuditPlugin(recording(tmp_path))]) as flujo:
            with without(*calls):
                for _ in range(3):
                    with pytest.raises(RunRefused) as refused:
                        await flujo.run_async("x")
                    veto = refused.value.__cause__
                    assert isinstance(veto, Veto) and isinstance(veto.__cause__, NotRecorded)
            await asyncio.sleep(1.1)
            await flujo.run_async("y")

    asyncio.run(main())
    assert ran == ["y"] and report(tmp_path).intact


def test_when_the_disk_fails_between_two_steps_the_second_does_not_begin(tmp_path: Path) -> None:
    ran: list[str] = []

    async def main() -> None:
        disk = without(*DEAD)

        @step
        async def first(text: str) -> str:
            disk.__enter__()
            ran.append("first")
            return text

        @step
        async def second(text: str) -> str:
            ran.append("second")
            return text

        async with Flujo(first >> second, plugins=[AuditPlugin(recording(tmp_path))]) as flujo:
            try:
                with pytest.raises(RunRefused, match="could not be put on record"):
                    await flujo.run_async("x", run_id="r1")
            finally:
                disk.__exit__(None, None, None)
            await asyncio.sleep(1.1)

    asyncio.run(main())
    assert ran == ["first"]
    begun = [one["address"] for one in recorded(tmp_path) if one["kind"] == "step.started"]
    assert begun == ["first"] and report(tmp_path).intact


def test_a_tool_whose_call_cannot_be_put_on_record_is_not_called(tmp_path: Path) -> None:
    called: list[str] = []
    agent = Agent(TestModel())
    disk = without(*DEAD)

    @agent.tool_plain
    def send(text: str) -> str:
        called.append(text)
        return text

    @agent.instructions
    def told() -> str:
        disk.__enter__()
        return "Send it."

    async def main() -> None:
        rules = Rule(["tool.called"], "strict"), Rule(["*"], "batch")
        async with Flujo(Step.agent("ask", agent), plugins=[AuditPlugin(recording(tmp_path, *rules))]) as flujo:
            try:
                with pytest.raises(RunRefused, match=r"'tool\.called' could not be put on record"):
                    await flujo.run_async("x")
            finally:
                disk.__exit__(None, None, None)

    asyncio.run(main())
    assert called == []


def test_a_start_that_cannot_be_put_on_record_leaves_the_log_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, opened, real = Event(), Event(), os.fdatasync

    def hangs(file: int) -> None:
        if opened.is_set():
            release.wait(30)
        real(file)

    async def main() -> None:
        monkeypatch.setattr(os, "fdatasync", hangs)
        what = recording(tmp_path, timeout=0.2)
        held = what.log()
        await asyncio.to_thread(held.open)
        opened.set()
        start = asyncio.create_task(Flujo(shout, plugins=[AuditPlugin(what)]).__aenter__())
        with pytest.raises((PluginError, Veto), match=r"took longer than 0\.2 s"):
            await start
        release.set()
        await asyncio.to_thread(held.close)
        async with await AuditLog.open(tmp_path / "log", SIGNER):
            pass

    asyncio.run(main())


def test_one_plugin_of_two_flujos_records_until_both_have_ended(tmp_path: Path) -> None:
    async def main() -> None:
        plugin = AuditPlugin(recording(tmp_path))
        async with Flujo(shout, plugins=[plugin]) as one:
            async with Flujo(shout, plugins=[plugin]) as other:
                await other.run_async("x", run_id="other")
            await one.run_async("y", run_id="one")
        async with await AuditLog.open(tmp_path / "log", SIGNER):
            pass

    asyncio.run(main())
    assert [one["run"] for one in recorded(tmp_path) if one["kind"] == "run.ended"] == ["other", "one"]


def test_requests_wait_for_the_record_and_no_longer_than_its_timeout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, release, real = Asked(), Event(), os.fdatasync
    hanging = Event()

    def hangs(file: int) -> None:
        if hanging.is_set():
            release.wait(30)
        real(file)

    agent = model.agent()

    @agent.instructions
    def told() -> str:
        hanging.set()
        return "Answer."

    async def main() -> None:
        monkeypatch.setattr(os, "fdatasync", hangs)
        what = recording(tmp_path, timeout=0.3)
        async with Flujo(Step.agent("ask", agent), plugins=[AuditPlugin(what)]) as flujo:
            try:
                with pytest.raises(RunRefused, match=r"could not be put on record: it took longer than 0\.3 s"):
                    await flujo.run_async("why?")
            finally:
                release.set()
            assert model.count == 0

    asyncio.run(main())
    assert report(tmp_path).intact
