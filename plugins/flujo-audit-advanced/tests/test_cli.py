"""``flujo audit``: what its commands print, and with what they end."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from flujo_audit_advanced import FolderTarget, LocalSigner, VerifierKey, WriteOnceCopy, key_of
from flujo_audit_advanced.cli import app
from typer.testing import CliRunner, Result

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    """Runs a command."""
    return lambda *arguments: CliRunner().invoke(app, [str(one) for one in arguments])


def test_verify_ends_with_0_if_the_log_is_intact_and_with_1_and_the_place_if_not(kit: Any, run: Run) -> None:
    log = kit.made(300)
    done = run("verify", log, "--key", kit.key)
    assert done.exit_code == 0 and done.output.startswith("flujo.test/audit: 301 records, signed by key ")
    assert "UNANCHORED" in done.output
    path = log / "tile/entries/000"
    path.write_bytes(path.read_bytes().replace(b"s[7]", b"s[8]"))
    done = run("verify", log, "--key", kit.key)
    assert done.exit_code == 1 and done.output.endswith("CHANGED OR DAMAGED: first at record 8\n")
    found = json.loads(run("verify", log, "--key", kit.key, "--json").output)
    assert found["intact"] is False and found["findings"][0]["number"] == 8
    assert run("fsck", log).exit_code == 1


def test_verify_takes_keys_of_files_and_ends_with_2_if_it_cannot_tell(kit: Any, run: Run, tmp_path: Path) -> None:
    log = kit.made(3)
    (tmp_path / "key").write_text(f"{kit.key}\n")
    assert run("verify", log, "--key", tmp_path / "key").exit_code == 0
    for arguments in (
        [log, "--key", tmp_path / "none"], [log, "--key", "a+b+c"], [tmp_path, "--key", kit.key],
        [log, "--key", kit.key, "--authority", tmp_path / "key"], [log, "--key", kit.key, "--seen", tmp_path / "none"],
        [log, "--key", kit.key, "--seen", "http://127.0.0.1:9/x"], [log], [log, "--key", kit.key, "--quorum", "0"],
    ):  # fmt: skip
        done = run("verify", *arguments)
        assert done.exit_code == 2, arguments
    stranger = key_of(kit.key.name, LocalSigner.generate())
    assert run("verify", log, "--key", stranger).exit_code == 1


def test_verify_ends_with_3_if_too_little_is_anchored(kit: Any, run: Run) -> None:
    copy = kit.folder / "copy"
    log = kit.made(
        300, anchors=[WriteOnceCopy(FolderTarget(copy), every=600)]
    )  # the last checkpoint is given at closing
    assert run("verify", log, "--key", kit.key, "--max-unanchored", 0).exit_code == 3
    done = run("verify", log, "--key", kit.key, "--copy", copy)
    assert done.exit_code == 0 and f"copy '{copy}'" in done.output
    assert run("verify", log, "--key", kit.key, "--copy", copy, "--max-unanchored", 301).exit_code == 0


def test_a_checkpoint_may_be_fetched_from_where_it_was_kept(kit: Any, run: Run) -> None:
    log = kit.made(5)

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, directory=str(log), **named)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        done = run("verify", log, "--key", kit.key, "--seen", f"{url}/checkpoint", "--max-unanchored", 0)
        assert done.exit_code == 0 and f"kept by seen '{url}/checkpoint'" in done.output
        assert run("verify", log, "--key", kit.key, "--seen", f"{url}/nothing").exit_code == 2
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_fsck_needs_no_key_and_says_that_it_checked_no_signature(kit: Any, run: Run, tmp_path: Path) -> None:
    log = kit.made(5)
    done = run("fsck", log)
    assert done.exit_code == 0 and "no signature was checked" in done.output and "agree with each other" in done.output
    assert json.loads(run("fsck", log, "--json").output)["key"] is None
    assert run("fsck", tmp_path / "none").exit_code == 2


def test_a_proof_is_checked_without_the_log(kit: Any, run: Run, tmp_path: Path) -> None:
    log = kit.made(300)
    assert run("prove", log, 77, "--out", tmp_path / "p").exit_code == 0
    proof, record = tmp_path / "p.tlog-proof", tmp_path / "p.record"
    assert proof.read_text().startswith("c2sp.org/tlog-proof@v1\nindex 77\n") and record.read_bytes() == kit.event(76)
    assert run("prove", log, 77).output == proof.read_text()
    done = run("check", proof, record, "--key", kit.key)
    assert (done.exit_code, done.output) == (0, "record 77 of 301 in 'flujo.test/audit'\n")
    assert run("check", proof, record, "--key", kit.key, "--quorum", 1).exit_code == 1
    stranger = key_of(kit.key.name, LocalSigner.generate())
    assert run("check", proof, record, "--key", stranger).exit_code == 1
    record.write_bytes(kit.event(78))
    assert run("check", proof, record, "--key", kit.key).exit_code == 1
    record.write_bytes(kit.event(76))
    text = proof.read_text()
    for bad in (
        text.replace("index 77", "index 78"), text.replace("index", "index "), text[:50], text.replace("v1", "v2"),
        text.replace("@v1\n", "@v1\nextra AAAA\n").replace("index 77", "index 077"), "",
    ):  # fmt: skip
        proof.write_text(bad)
        assert run("check", proof, record, "--key", kit.key).exit_code == 1, bad
    proof.write_text(text.replace("@v1\n", "@v1\nextra AAAA\n"))
    assert run("check", proof, record, "--key", kit.key).exit_code == 0
    assert run("check", tmp_path / "none", record, "--key", kit.key).exit_code == 2
    for number in (301, 10**9):
        done = run("prove", log, number)
        assert done.exit_code == 2 and "covers records 0 to 300" in done.output
    assert run("prove", tmp_path / "none", 0).exit_code == 2


def test_show_and_tail_print_records_as_lines_of_json(kit: Any, run: Run) -> None:
    log = kit.made(300)
    lines = [json.loads(line) for line in run("show", log, 5, "-n", 2).output.splitlines()]
    assert [(line["number"], line["record"]["id"]) for line in lines] == [(5, "e4"), (6, "e5")]
    assert len(run("show", log).output.splitlines()) == 301
    (opened,) = run("show", log, "--kind", "log.").output.splitlines()
    assert json.loads(opened)["record"]["kind"] == "log.opened"
    assert run("show", log, "--run", "r").output == ""
    assert [json.loads(line)["number"] for line in run("tail", log, "-n", 3).output.splitlines()] == [298, 299, 300]
    assert len(run("tail", log).output.splitlines()) == 10 and run("tail", log, "-n", 0).output == ""
    for command in ("show", "tail"):
        assert run(command, kit.folder / "none").exit_code == 2


def test_tail_follows_a_log_that_is_written(kit: Any) -> None:
    code = f"from flujo_audit_advanced.cli import app; app(['tail', '-n', '1', '-f', {str(kit.folder / 'log')!r}])"

    async def main() -> list[str]:
        async with await kit.open() as log:
            await log.append(kit.event(1))
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
            )
            assert process.stdout is not None
            lines = [(await asyncio.wait_for(process.stdout.readline(), 60)).decode()]
            for number in range(2, 4):
                await log.append(kit.event(number))
                lines.append((await asyncio.wait_for(process.stdout.readline(), 60)).decode())
            process.kill()
            await process.communicate()
            return lines

    assert [json.loads(line)["number"] for line in asyncio.run(main())] == [1, 2, 3]


def test_key_makes_a_signer_and_prints_its_public_half(kit: Any, run: Run, tmp_path: Path) -> None:
    done = run("key", tmp_path / "key", "--origin", "a.test/log")
    assert done.exit_code == 0
    key = VerifierKey.parse(done.output)
    assert key == key_of("a.test/log", LocalSigner.from_file(tmp_path / "key"))
    assert run("key", tmp_path / "key").exit_code != 0 and run("key", tmp_path / "none" / "key").exit_code != 0


def test_the_command_line_of_flujo_has_it(kit: Any, tmp_path: Path) -> None:
    log = kit.made(5)
    environment = {name: one for name, one in os.environ.items() if not name.startswith("FLUJO_")}
    command = [sys.executable, "-m", "flujo_core.cli", "audit", "verify", str(log), "--key", str(kit.key)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0 and "intact" in done.stdout, done.stderr
    (log / "checkpoint").write_text("nonsense")
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 1 and "'checkpoint'" in done.stdout


def test_a_log_is_verified_while_it_is_written(kit: Any, run: Run) -> None:
    async def main() -> None:
        async with await kit.open(checkpoint_every=0.01) as log:
            stop = time.monotonic() + 2
            while time.monotonic() < stop:
                for number in range(log.size, log.size + 200):
                    log.post(kit.event(number))
                await log.flush()
                report = await asyncio.to_thread(kit.verified, log.path)
                assert report.findings == []

    asyncio.run(main())
