"""A bundle of evidence is checked without the log, by our command and by hand; whatever is changed in it is found."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flujo_audit_advanced import AuditError, AuditPlugin, NotSigned
from flujo_audit_advanced.bundle import Bundle, evidence
from flujo_audit_advanced.cli import app
from flujo_audit_advanced.keys import key_of
from flujo_audit_advanced.witness import Witness, Witnesses
from recording_kit import SIGNER, Asked, recording
from typer.testing import CliRunner

from flujo_core import Flujo, HumanInput, Step, step

KEY = key_of("flujo.local/audit", SIGNER)


@step
async def shout(text: str) -> str:
    return text.upper()


def made(folder: Path, **options: Any) -> Bundle:
    """The evidence of a run with an agent and a person in it, between two others."""

    async def main() -> None:
        pipeline = shout >> Step.agent("ask", Asked().agent()) >> HumanInput("ok", bool, ask="Send it?")
        plugins = [AuditPlugin(recording(folder, **options))]
        async with Flujo(pipeline, plugins=plugins, store=f"sqlite:///{folder}/r.db") as flujo:
            for name in ("before", "r1", "after"):
                await flujo.run_async("x", run_id=name)
                await flujo.resume_async(name, True, approver="ops")

    asyncio.run(main())
    return evidence(folder / "log", "r1")


def test_a_bundle_has_the_records_of_the_run_and_who_was_started_up(tmp_path: Path) -> None:
    bundle = made(tmp_path)
    told = bundle.check(KEY)
    records = [json.loads(bundle.files[f"records/{number:09}.record"]) for number in told["records"]]
    assert {one["run"] for one in records} == {"r1"} and told["status"] == "completed"
    assert records[0]["kind"] == "run.started" and records[-1]["kind"] == "run.ended"
    assert told["approvers"] == ["ops"] and told["without_outcome"] == told["gaps"] == []
    assert told["configuration_sha256"] and "audit-advanced" in [one["name"] for one in told["plugins"]]
    beside = {name for name in bundle.files if name.endswith(".record")} - {
        f"records/{n:09}.record" for n in told["records"]
    }
    assert {json.loads(bundle.files[name])["kind"] for name in beside} == {"app.started", "log.opened"}


def test_every_file_that_is_changed_is_found(tmp_path: Path) -> None:
    bundle = made(tmp_path)
    for name, data in bundle.files.items():
        without = {key: value for key, value in bundle.files.items() if key != name}
        with pytest.raises(NotSigned, match=r"lacks|no 'manifest\.json'"):
            Bundle(without).check(KEY)
        for other in (data[:-1] + bytes([data[-1] ^ 1]), data + b"x", b""):
            with pytest.raises(NotSigned):
                Bundle({**bundle.files, name: other}).check(KEY)
    with pytest.raises(NotSigned, match="has the file 'more'"):
        Bundle({**bundle.files, "more": b""}).check(KEY)


def test_a_record_that_is_changed_together_with_the_manifest_is_found(tmp_path: Path) -> None:
    from hashlib import sha256  # noqa: PLC0415

    bundle = made(tmp_path)
    name = next(name for name in bundle.files if name.endswith(".record"))
    record = bundle.files[name].replace(b"started", b"stopped").replace(b"opened", b"closed")
    told = bundle.manifest
    told["files"][name] = sha256(record).hexdigest()
    changed = {**bundle.files, name: record, "manifest.json": json.dumps(told).encode()}
    with pytest.raises(NotSigned, match="is not number"):
        Bundle(changed).check(KEY)


def test_another_key_is_refused(tmp_path: Path) -> None:
    from flujo_audit_advanced import LocalSigner  # noqa: PLC0415

    with pytest.raises(NotSigned):
        made(tmp_path).check(key_of("flujo.local/audit", LocalSigner(bytes(32))))


def test_what_how_to_verify_says_works_as_it_stands(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    made(tmp_path).save(folder)
    text = (folder / "HOW-TO-VERIFY.txt").read_text()
    commands = [line.strip() for line in text.splitlines() if line.startswith("    ") and line[4] != " "]
    commands = [one for one in commands if one.split()[0] in ("flujo", "openssl", "python3", "for")]
    assert len(commands) == 5
    environ = os.environ | {"KEY": str(KEY), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    said = [
        subprocess.run(["sh", "-c", one], cwd=folder, env=environ, capture_output=True, text=True, check=True).stdout
        for one in commands
    ]
    assert "status completed" in said[0] and "Verified Successfully" in said[2]
    assert said[3].count("is in the log") == said[4].count("-\n") == len(list(folder.glob("records/*.record")))


def test_by_hand_a_changed_record_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    made(tmp_path).save(folder)
    path = next(folder.glob("records/*.record"))
    path.write_bytes(path.read_bytes() + b" ")
    done = subprocess.run([sys.executable, "check_by_hand.py"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode and "is not in the log" in done.stderr


def test_the_checkpoint_has_the_cosignatures_of_witnesses(tmp_path: Path, witness: Any) -> None:
    from flujo_audit_advanced.note import VerifierKey  # noqa: PLC0415

    witness.know(KEY)
    anchors = [Witnesses([Witness(witness.url, witness.key)], quorum=1, every=0)]
    bundle = made(tmp_path, anchors=anchors)
    bundle.check(KEY, [VerifierKey.parse(witness.key)], 1)
    with pytest.raises(NotSigned, match="of the witnesses have cosigned"):
        bundle.check(KEY, [VerifierKey.parse(witness.key)], 2)


def test_what_was_begun_without_an_outcome_is_told(tmp_path: Path) -> None:
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
    arguments = [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent)]
    subprocess.run(arguments, capture_output=True, timeout=60, check=False)

    async def again() -> None:
        async with Flujo(shout, plugins=[AuditPlugin(recording(tmp_path))]) as flujo:
            await flujo.run_async("y", run_id="r2")

    asyncio.run(again())
    told = evidence(tmp_path / "log", "r1").check(KEY)
    assert len(told["without_outcome"]) == 1 and told["status"] is None
    assert evidence(tmp_path / "log", "r2").manifest["without_outcome"] == []


def test_the_commands_make_and_examine_a_bundle(tmp_path: Path) -> None:
    made(tmp_path)
    runner, out = CliRunner(), tmp_path / "out"
    done = runner.invoke(app, ["evidence", str(tmp_path / "log"), "r1", "--out", str(out)])
    assert done.exit_code == 0 and "status completed" in done.output
    assert runner.invoke(app, ["examine", str(out), "--key", str(KEY)]).exit_code == 0
    assert runner.invoke(app, ["evidence", str(tmp_path / "log"), "r1", "--out", str(out)]).exit_code == 2
    assert runner.invoke(app, ["evidence", str(tmp_path / "log"), "r9", "--out", str(out)]).exit_code == 2
    assert runner.invoke(app, ["examine", str(tmp_path / "none"), "--key", str(KEY)]).exit_code == 2
    (out / "checkpoint").write_bytes(b"x")
    assert runner.invoke(app, ["examine", str(out), "--key", str(KEY)]).exit_code == 1
    shutil.rmtree(out)
    with pytest.raises(AuditError, match="there is no bundle"):
        Bundle.load(out)
