"""What is put on record of runs, in which order, and what is not begun when it cannot be."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from flujo_audit_advanced import AuditLog, AuditPlugin, LogBusy, NotRecorded, Rule, verify_log
from flujo_audit_advanced.claims import Trust
from flujo_audit_advanced.keys import key_of
from flujo_audit_advanced.rule import KINDS
from recording_kit import DIGEST_KEY, QUIET, SIGNER, Asked, bytes_of, kinds, recorded, recording, run

from flujo_core import (
    Budget,
    BudgetExceeded,
    ConfigurationError,
    Flujo,
    HumanInput,
    Labels,
    Map,
    Parallel,
    PipelineContext,
    PipelineMutation,
    Plugin,
    PluginError,
    Reconfigurable,
    Reconfigure,
    Retry,
    RunFailed,
    RunRefused,
    Skip,
    Step,
    StepCall,
    Veto,
    step,
)

WHO = "Anna Novakova"


@step
async def shout(text: str) -> str:
    return text.upper()


@step
async def end(text: str) -> str:
    return f"{text}!"


def agreed(folder: Path) -> bool:
    return verify_log(folder / "log", Trust(key=key_of("flujo.local/audit", SIGNER))).intact


# --------------------------------------------------------------------------------------- before what it tells of


def test_what_is_begun_is_durable_before_it_is_begun(tmp_path: Path) -> None:
    seen: list[list[str]] = []

    @step
    async def look(text: str) -> str:
        seen.append(kinds(tmp_path))
        return text

    run(look, "x", recording(tmp_path))
    assert seen[0][:2] == ["app.started", "run.started"] and "step.started" in seen[0]
    assert "step.completed" not in seen[0]
    found = kinds(tmp_path)
    assert found.index("step.started") < found.index("step.completed") < found.index("run.ended")
    assert found.index("run.ending") < found.index("run.ended") and agreed(tmp_path)


def test_a_request_is_durable_before_the_model_is_asked_and_its_answer_after(tmp_path: Path) -> None:
    model, seen = Asked(), []
    agent = model.agent()

    @agent.instructions
    def told() -> str:
        seen.append(kinds(tmp_path))
        return "Answer."

    run(Step.agent("ask", agent), "why?", recording(tmp_path))
    found = [one for one in recorded(tmp_path) if one["kind"].startswith("model.")]
    assert [one["kind"] for one in found] == ["model.requested", "model.answered"] and model.count == 1
    assert found[0]["address"] == "ask" and found[0]["messages"]["hmac"] != found[1]["response"]["hmac"]
    assert found[1]["usage"]["output_tokens"] > 0


def test_a_step_whose_process_was_killed_is_on_record_without_an_outcome(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from recording_kit import recording, run
from flujo_core import step

@step
async def die(text: str) -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return text

run(die, "x", recording(Path(sys.argv[1])), run_id="r1")
"""
    here = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), here], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    found = kinds(tmp_path)
    assert "step.started" in found and not {"step.completed", "step.failed", "run.ended"} & {*found}

    async def open_again() -> None:
        async with await AuditLog.open(tmp_path / "log", SIGNER):
            pass

    asyncio.run(open_again())
    assert agreed(tmp_path)


# ------------------------------------------------------------------------------------------------------ strict mode


def broken_sync(_: int) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_when_the_disk_fails_the_step_does_not_start_and_the_refusal_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    @step
    async def work(text: str) -> str:
        ran.append(text)
        return text

    async def main() -> None:
        async with Flujo(work, plugins=[AuditPlugin(recording(tmp_path))]) as flujo:
            await flujo.run_async("one")
            with monkeypatch.context() as disk:
                disk.setattr(os, "fdatasync", broken_sync)
                disk.setattr(os, "fsync", broken_sync)
                with pytest.raises(RunRefused) as refused:
                    await flujo.run_async(WHO)
            assert isinstance(refused.value.__cause__, Veto)
            assert isinstance(refused.value.__cause__.__cause__, NotRecorded)
            assert "could not be put on record" in str(refused.value) and WHO not in str(refused.value)
            assert ran == ["one"]
            await asyncio.sleep(1.1)
            await flujo.run_async("two")  # the log is opened again by itself
            assert ran == ["one", "two"]

    asyncio.run(main())
    assert agreed(tmp_path)


def test_when_the_disk_hangs_the_step_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    release = Event()

    @step
    async def work(text: str) -> str:
        ran.append(text)
        return text

    async def main() -> None:
        async with Flujo(work, plugins=[AuditPlugin(recording(tmp_path, timeout=0.3))]) as flujo:
            with monkeypatch.context() as disk:
                disk.setattr(os, "fdatasync", lambda _: release.wait(30))
                with pytest.raises(RunRefused, match=r"took longer than 0\.3 s"):
                    await flujo.run_async("x")
                release.set()
            assert ran == []
            await flujo.run_async("y")
            assert ran == ["y"]

    asyncio.run(main())


FULL = """
import asyncio, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from recording_kit import recording
from flujo_audit_advanced import AuditPlugin
from flujo_core import Flujo, RunRefused, step

ran = []

@step
async def work(text: str) -> str:
    ran.append(text)
    return text

async def main() -> None:
    async with Flujo(work, plugins=[AuditPlugin(recording(Path(sys.argv[1])))]) as flujo:
        await flujo.run_async("one")
        size = max(path.stat().st_size for path in (Path(sys.argv[1]) / "log" / "append").iterdir())
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))
        try:
            await flujo.run_async("two")
        except RunRefused as refused:
            assert "no space left" in str(refused), refused
        else:
            raise AssertionError("it ran")
        assert ran == ["one"], ran
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await flujo.run_async("three")
    assert ran == ["one", "three"], ran

asyncio.run(main())
"""


def test_when_the_disk_is_full_the_step_does_not_start_and_goes_on_when_it_is_not(tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    arguments = [sys.executable, "-c", FULL, str(tmp_path), str(Path(__file__).parent)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert agreed(tmp_path)


def test_a_request_that_cannot_be_put_on_record_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Asked()
    pipeline = Step.agent("ask", model.agent(), retry=Retry(attempts=3, backoff=0))
    rules = (Rule(["model.*"], "strict"), Rule(["*"], "off"))

    async def main() -> None:
        async with Flujo(pipeline, plugins=[AuditPlugin(recording(tmp_path, *rules))]) as flujo:
            with monkeypatch.context() as disk:
                disk.setattr(os, "fdatasync", broken_sync)
                disk.setattr(os, "fsync", broken_sync)
                with pytest.raises(RunRefused, match=r"'model\.requested' could not be put on record"):
                    await flujo.run_async("why?")
            assert model.count == 0

    asyncio.run(main())


def test_a_veto_that_is_strict_passes_an_open_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flujo_core import PluginSettings, Settings  # noqa: PLC0415

    async def main() -> None:
        settings = Settings(PluginSettings(policies={"audit-advanced": "open"}))
        async with Flujo(shout, plugins=[AuditPlugin(recording(tmp_path))], settings=settings) as flujo:
            with monkeypatch.context() as disk:
                disk.setattr(os, "fdatasync", broken_sync)
                disk.setattr(os, "fsync", broken_sync)
                with pytest.raises(RunRefused):
                    await flujo.run_async("x")

    asyncio.run(main())


def test_a_log_that_somebody_else_writes_refuses_the_start(tmp_path: Path) -> None:
    async def main() -> None:
        async with await AuditLog.open(tmp_path / "log", SIGNER):
            with pytest.raises(PluginError) as failed:
                async with Flujo(shout, plugins=[AuditPlugin(recording(tmp_path))]):
                    pass
            assert isinstance(failed.value.__cause__, LogBusy)

    asyncio.run(main())


# ------------------------------------------------------------------------------------------------------- batch mode


def test_what_batch_mode_has_lost_is_on_record_with_its_kinds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with Flujo(shout, plugins=[AuditPlugin(recording(tmp_path, QUIET))]) as flujo:
            await flujo.run_async("one")
            with monkeypatch.context() as disk:
                disk.setattr(os, "fdatasync", broken_sync)
                disk.setattr(os, "fsync", broken_sync)
                for _ in range(5):
                    assert (await flujo.run_async(WHO)).output == WHO.upper()
                    await asyncio.sleep(0.05)
            await asyncio.sleep(1.1)
            for _ in range(3):
                await flujo.run_async("two")
                await asyncio.sleep(0.3)

    with caplog.at_level(logging.ERROR):
        asyncio.run(main())
    assert "records of the audit are being lost" in caplog.text and WHO not in caplog.text
    gaps = [one for one in recorded(tmp_path) if one["kind"] == "audit.gap"]
    assert gaps and sum(one["count"] for one in gaps) > 0
    assert all({*one["kinds"]} <= KINDS and one["since"] < one["at"] for one in gaps)
    assert agreed(tmp_path)


def test_what_is_off_is_not_kept(tmp_path: Path) -> None:
    run(shout, "x", recording(tmp_path, Rule(["step.*", "run.opened"], "off")))
    assert kinds(tmp_path) == ["app.started", "run.started", "run.ending", "run.ended"]


# ------------------------------------------------------------------------------------------------ what is on record


def test_steps_nodes_attempts_budgets_and_clearances_are_on_record(tmp_path: Path) -> None:
    tried: list[str] = []

    @step
    async def split(text: str) -> list[str]:
        return text.split()

    @step(retry=Retry(attempts=2, backoff=0))
    async def flaky(text: str) -> str:
        if not tried:
            tried.append(text)
            raise ValueError(text)
        return text

    @step(labels=Labels(clears=["phi"]))
    async def join(words: list[str]) -> str:
        return " ".join(words)

    class Skipping(Plugin):
        name = "skipping"

        async def pre_step_execution(self, call: StepCall, /) -> Skip[str] | None:
            return Skip("skipped") if call.step_name == "shout" else None

    async def main() -> Any:
        pipeline = split >> Map("each", flaky, key=lambda word: word) >> join >> shout
        pipeline = pipeline >> Step.agent("ask", Asked().agent()) >> Parallel("both", left=end, right=end)
        plugins = [AuditPlugin(recording(tmp_path)), Skipping()]
        async with Flujo(pipeline, plugins=plugins, budgets=[Budget(requests=5)]) as flujo:
            return await flujo.run_async(f"{WHO} came", run_id="r1", tenant="t1", subject="patient-7")

    assert asyncio.run(main()).output == {"left": "It says so.!", "right": "It says so.!"}
    found = recorded(tmp_path)
    assert {
        "app.started", "run.started", "run.opened", "run.ending", "run.ended", "step.started", "step.attempted",
        "step.completed", "attempt.failed", "node.started", "node.completed", "model.requested", "model.answered",
        "budget.reserved", "budget.settled",
    } <= {one["kind"] for one in found}  # fmt: skip
    app, *others = found
    assert all(one["run"] == "r1" and one["tenant"] == "t1" for one in others)
    assert {"audit-advanced", "skipping"} <= {one["name"] for one in app["plugins"]}
    assert app["clearances"] == [{"address": "join", "clears": ["phi"]}] and app["configuration_sha256"]
    skipped = next(one for one in found if one["kind"] == "step.completed" and one["address"] == "shout")
    assert skipped["attempt"] == 0
    each = {one["address"] for one in found if one.get("address", "").startswith("each[")}
    assert len(each) == 3 and all("[~" in one for one in each)
    assert not [word for word in (b"Anna", b"Novakova", b"patient-7") if word in bytes_of(tmp_path)]
    assert agreed(tmp_path)


def test_a_veto_is_on_record_with_its_reason(tmp_path: Path) -> None:
    class No(Plugin):
        name = "no"

        async def pre_step_execution(self, call: StepCall, /) -> None:
            raise Veto("not on Sundays")

    async def main() -> None:
        async with Flujo(shout, plugins=[AuditPlugin(recording(tmp_path)), No()]) as flujo:
            with pytest.raises(RunRefused):
                await flujo.run_async("x")

    asyncio.run(main())
    (ended,) = (one for one in recorded(tmp_path) if one["kind"] == "run.ended")
    assert ended["status"] == "refused" and "plugin 'no' refused" in ended["error"]["message"]
    assert "not on Sundays" in ended["error"]["message"] and "step.completed" not in kinds(tmp_path)


def test_a_budget_that_refuses_is_on_record(tmp_path: Path) -> None:
    model = Asked()
    with pytest.raises(BudgetExceeded):
        run(Step.agent("ask", model.agent()), "why?", recording(tmp_path), budgets=[Budget(requests=0)])
    (refused,) = (one for one in recorded(tmp_path) if one["kind"] == "budget.refused")
    assert refused["budget"] and model.count == 0


def test_pauses_questions_and_answers_with_their_approver_are_on_record_across_processes(tmp_path: Path) -> None:
    ask = HumanInput("approve", bool, ask="Send it?", approvers=["ops", "cfo"], quorum=2)
    pipeline = shout >> ask

    async def main() -> None:
        store = f"sqlite:///{tmp_path}/runs.db"
        async with Flujo(pipeline, plugins=[AuditPlugin(recording(tmp_path))], store=store) as flujo:
            paused = await flujo.run_async(WHO, run_id="r1")
            assert paused.status == "paused"
        async with Flujo(pipeline, plugins=[AuditPlugin(recording(tmp_path))], store=store) as flujo:
            await flujo.resume_async("r1", True, approver="ops")
            result = await flujo.resume_async("r1", True, approver="cfo")
            assert result.output is True

    asyncio.run(main())
    found = recorded(tmp_path)
    (asked,) = (one for one in found if one["kind"] == "question.asked")
    assert asked["approvers"] == ["ops", "cfo"] and asked["quorum"] == 2 and asked["text"]["hmac"]
    (vote,) = (one for one in found if one["kind"] == "vote.cast")
    (answer,) = (one for one in found if one["kind"] == "question.answered")
    assert {vote["approver"], answer["approver"]} == {"ops", "cfo"} and vote["question"] == asked["question"]
    assert {"run.paused", "run.resumed", "run.continued"} <= {one["kind"] for one in found}
    assert b"Send it?" not in bytes_of(tmp_path) and agreed(tmp_path)


def test_a_run_that_another_process_recovers_is_on_record(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from recording_kit import recording, run
from flujo_core import step
folder = Path(sys.argv[1])

@step
async def first(text: str) -> str:
    return text

@step
async def last(text: str) -> str:
    if not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return text

if (folder / "died").exists():
    import asyncio
    from flujo_audit_advanced import AuditPlugin
    from flujo_core import Flujo

    async def main():
        store, plugins = f"sqlite:///{folder}/r.db", [AuditPlugin(recording(folder))]
        async with Flujo(first >> last, plugins=plugins, store=store) as it:
            assert (await it.resume_async("r1")).output == "x"
    asyncio.run(main())
else:
    run(first >> last, "x", recording(folder), run_id="r1", store=f"sqlite:///{folder}/r.db")
"""
    arguments = [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent)]
    ended = [subprocess.run(arguments, capture_output=True, timeout=60, check=False) for _ in range(2)]
    assert [one.returncode for one in ended] == [-signal.SIGKILL, 0], ended[-1].stderr
    found = [(one["kind"], one.get("address")) for one in recorded(tmp_path)]
    assert found.count(("step.started", "last")) == 2 and found.count(("step.completed", "last")) == 1
    assert found.count(("step.started", "first")) == 1 and ("run.resumed", None) in found
    assert agreed(tmp_path)


def test_mutations_reconfigurations_and_refused_changes_are_on_record(tmp_path: Path) -> None:
    @step
    async def grow(text: str) -> PipelineMutation[str]:
        return PipelineMutation(text, remove=["shout"])

    @step
    async def tune(text: str) -> Reconfigure[str]:
        return Reconfigure(text, target="ask", instructions=f"Mention {WHO}.")

    @step
    async def wrong(text: str) -> PipelineMutation[str]:
        return PipelineMutation(text, remove=["nobody"])

    asking = Step.agent("ask", Asked().agent(), allow_reconfigure=Reconfigurable(instructions=True))
    run(grow >> shout >> tune >> wrong >> asking, "x", recording(tmp_path))
    found = {one["kind"]: one for one in recorded(tmp_path)}
    assert found["pipeline.mutated"]["fingerprint"] and found["agent.reconfigured"]["change"]["hmac"]
    assert found["change.refused"]["reason"] == "unknown" and WHO.encode() not in bytes_of(tmp_path)


# ------------------------------------------------------------------------------------------------------------ levels


@pytest.mark.parametrize("level", ["metadata", "digest"])
def test_no_value_is_in_the_log_unless_a_rule_says_full(
    tmp_path: Path, level: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    class Case(PipelineContext):
        name: str = ""

    @step
    async def keep(text: str, context: Case) -> str:
        context.name = text
        return text

    @step
    async def fail(text: str) -> str:
        raise ValueError(text)

    agent = Asked().agent()
    with pytest.raises(RunFailed):
        run(
            keep >> Step.agent("ask", agent) >> fail,
            WHO,
            recording(tmp_path, Rule(["*"], "batch", level)),
            context=Case,
        )
    assert not [word for word in (b"Anna", b"Novakova", b"It says") if word in bytes_of(tmp_path)]
    assert ("hmac" in json.dumps(recorded(tmp_path))) == (level == "digest")
    assert "Novakova" not in caplog.text + repr(recording(tmp_path))
    assert DIGEST_KEY not in bytes_of(tmp_path) and DIGEST_KEY.hex() not in repr(recording(tmp_path))


def test_the_same_value_has_the_same_digest_and_another_key_another(tmp_path: Path) -> None:
    for name, options in (("a", {}), ("b", {"digest_key": bytes(32)})):
        (tmp_path / name).mkdir()
        run(shout, "x", recording(tmp_path / name, **options))
        run(shout, "x", recording(tmp_path / name, **options))
    first, second = (
        {one["input"]["hmac"] for one in recorded(tmp_path / name) if one["kind"] == "run.started"} for name in "ab"
    )
    assert len(first) == len(second) == 1 and first != second


# --------------------------------------------------------------------------------------------------------- one log


def test_several_flujos_of_a_process_write_one_log_and_the_last_one_closes_it(tmp_path: Path) -> None:
    async def main() -> None:
        def made() -> Flujo[Any, Any, Any]:
            return Flujo(shout, plugins=[AuditPlugin(recording(tmp_path))])

        async with made() as one:
            async with made() as other:
                await asyncio.gather(*(each.run_async("x", run_id=f"{n}") for n, each in enumerate((one, other) * 5)))
            await one.run_async("y", run_id="last")
            with pytest.raises(LogBusy):
                await AuditLog.open(tmp_path / "log", SIGNER)
        async with await AuditLog.open(tmp_path / "log", SIGNER):
            pass

    asyncio.run(main())
    assert kinds(tmp_path).count("run.ended") == 11 and kinds(tmp_path).count("app.started") == 2
    assert agreed(tmp_path)


def test_who_has_the_log_on_other_terms_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with Flujo(shout, plugins=[AuditPlugin(recording(tmp_path))]):
            with pytest.raises(ConfigurationError, match="with another key, origin or anchors"):
                AuditPlugin(recording(tmp_path, origin="example.com/other"))

    asyncio.run(main())


def test_a_flujo_that_is_never_closed_loses_nothing_and_the_log_is_closed_as_the_process_ends(tmp_path: Path) -> None:
    code = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from recording_kit import QUIET, recording
from flujo_audit_advanced import AuditPlugin
from flujo_core import Flujo, step

@step
async def work(text: str) -> str:
    return text

flujo = Flujo(work, plugins=[AuditPlugin(recording(Path(sys.argv[1]), QUIET))])

async def main():
    await flujo.run_async("one")

asyncio.run(main())
"""
    arguments = [sys.executable, "-W", "error", "-c", code, str(tmp_path), str(Path(__file__).parent)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert kinds(tmp_path)[-1] == "run.ended" and agreed(tmp_path)
    report = verify_log(tmp_path / "log", Trust(key=key_of("flujo.local/audit", SIGNER)))
    assert report.intact and report.unsealed == 0


def test_a_plugin_that_is_not_told_what_to_record_does_nothing_to_runs(tmp_path: Path) -> None:
    async def main() -> None:
        async with Flujo(shout, plugins=[AuditPlugin()]) as flujo:
            assert (await flujo.run_async("x")).output == "X"

    asyncio.run(main())
    assert AuditPlugin().assures == () and list(tmp_path.iterdir()) == []
