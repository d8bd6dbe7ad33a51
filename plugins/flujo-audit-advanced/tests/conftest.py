"""Logs to attack, and the programs of others that verify and witness them."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from flujo_audit_advanced import AuditLog, LocalSigner, encode_record
from flujo_audit_advanced.checkpoint import Checkpoint
from flujo_audit_advanced.claims import Trust
from flujo_audit_advanced.files import LogFiles, numbered
from flujo_audit_advanced.keys import key_of
from flujo_audit_advanced.merkle import WIDTH, Tree, leaf_hash
from flujo_audit_advanced.note import Note, VerifierKey
from flujo_audit_advanced.report import Report
from flujo_audit_advanced.verify import verify_log

ORIGIN = "flujo.test/audit"
BEGIN = time.time_ns() // 1000


class Kit:
    """A log's key, events, and an attacker's tools.

    Attributes:
        signer: The log's.
        key: The public key.
        folder: A folder for logs.
        begin: The time of event 0.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.signer = folder, LocalSigner(bytes(range(32)))
        self.key, self.begin = key_of(ORIGIN, self.signer), BEGIN

    def event(self, number: int, **more: Any) -> bytes:
        """Some record."""
        fields = {"id": f"e{number}", "kind": "step.started", "at": BEGIN + number, "address": f"s[{number}]"}
        return encode_record(fields | more)

    async def open(self, name: str = "log", **options: Any) -> AuditLog:
        """A log for writing."""
        signer = options.pop("signer", self.signer)
        return await AuditLog.open(self.folder / name, signer, **({"origin": ORIGIN} | options))

    def made(self, count: int, name: str = "log", **options: Any) -> Path:
        """The folder of a log of that many events and what the log says itself, closed."""

        async def main() -> None:
            async with await self.open(name, **options) as log:
                for number in range(count):
                    log.post(self.event(number))

        asyncio.run(main())
        return self.folder / name

    def verified(self, log: Path, **trust: Any) -> Report:
        """What a verification says."""
        return verify_log(log, Trust(**({"key": self.key} | trust)))

    def records(self, log: Path) -> list[bytes]:
        """The sealed records."""
        files = LogFiles(log)
        size = int((log / "checkpoint").read_bytes().split(b"\n")[1])
        return [record for _, record in numbered(files, 0, size)]

    def rewrite(self, log: Path, records: Sequence[bytes], signer: LocalSigner | None = None) -> None:
        """What an attacker can do: bundles, tiles and segments anew; and the checkpoint, with a key."""
        for name in ("tile", "append"):
            shutil.rmtree(log / name, ignore_errors=True)
        files = LogFiles(log)
        files.make()
        tree = Tree(lambda level, number, data: files.add_tile(level, number, data) and None)
        tree.add([leaf_hash(one) for one in records])
        for level, number, data in tree.partial():
            files.add_tile(level, number, data, len(data) // 32)
        for start in range(0, len(records), WIDTH):
            part = records[start : start + WIDTH]
            files.add_bundle(start // WIDTH, part, len(part))
        if signer is not None:
            note = Note(Checkpoint(ORIGIN, tree.size, tree.root()).text, ())
            (log / "checkpoint").write_bytes(bytes(note.signed(ORIGIN, signer)))

    def copied(self, log: Path, name: str) -> Path:
        """A copy of a log's folder."""
        return Path(shutil.copytree(log, self.folder / name, dirs_exist_ok=True))


@pytest.fixture
def kit() -> Iterator[Kit]:
    """A kit whose folder is in memory, if there is such a folder: thousands of files are made in these tests."""
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="flujo-audit-", dir=where, ignore_cleanup_errors=True) as folder:
        yield Kit(Path(folder))


def program(name: str) -> str:
    """The path of a program of others: of a folder in FLUJO_AUDIT_TOOLS, or found on the PATH."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("FLUJO_AUDIT_TOOLS", ""), os.environ["PATH"]]))
    if found is None:
        missing = f"'{name}' is not here; see CONTRIBUTING.md, and name its folder in FLUJO_AUDIT_TOOLS"
        if os.environ.get("CI_NEEDS_AUDIT_TOOLS"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


@pytest.fixture(scope="session")
def tool() -> Callable[[str], str]:
    """Finds a program of others."""
    return program


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class WitnessServer:
    """A process of aics-witness.

    Attributes:
        url: Its submission prefix.
        key: Its verifier key.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._program, self._config = program("aics-witness"), folder / "witness.json"
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.key = self._run("init", "--name", name, "--listen", f"127.0.0.1:{port}").splitlines()[-1]
        self.start()

    def start(self) -> None:
        """Begins to serve."""
        self._process = subprocess.Popen(
            [self._program, "serve", "--config", str(self._config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        answered(self.url)

    def know(self, key: VerifierKey, *more: VerifierKey) -> None:
        """Makes it a witness of a log."""
        for one in (key, *more):
            self._run("add-log", "--origin", key.name, "--vkey", str(one))
        self._process.send_signal(signal.SIGHUP)
        time.sleep(0.3)

    def stop(self) -> None:
        """Ends it; what it knows is kept."""
        self._process.terminate()
        self._process.wait(10)

    def _run(self, *arguments: str) -> str:
        command, *rest = arguments
        done = subprocess.run(
            [self._program, command, "--config", str(self._config), *rest], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()


def answered(url: str) -> None:
    """Waits until a server answers, whatever."""
    host, _, port = url.removeprefix("http://").partition(":")
    for _ in range(200):
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"{url} does not answer")


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[WitnessServer]:
    """A real witness."""
    folder = tmp_path / "witness"
    folder.mkdir()
    made = WitnessServer(folder, "witness.test/w1")
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def another_witness(tmp_path: Path) -> Iterator[WitnessServer]:
    """A second one."""
    folder = tmp_path / "another"
    folder.mkdir()
    made = WitnessServer(folder, "witness.test/w2")
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def port() -> int:
    """A port that nobody listens on."""
    return free_port()


@pytest.fixture
def fetched() -> Callable[[str], bytes]:
    """Gets a URL."""

    def get(url: str) -> bytes:
        with urlopen(url, timeout=10) as answer:
            data: bytes = answer.read()
            return data

    return get
