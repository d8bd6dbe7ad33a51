"""Receivers of exports: a real rsyslog, and servers that take what is posted."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from glob import glob
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import pytest
from flujo_audit_advanced.export.sink import Exported, SinkFailed, SinkRefused


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of localhost, and its key."""
    made, key = folder / "cert.pem", folder / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", made, "-days", "2"]
    subprocess.run([*command, *subject], check=True, capture_output=True)
    return made, key


class Rsyslog:
    """A real rsyslog on loopback.

    Args:
        folder: Where its files are.
        driver: How it listens: ``ptcp``, ``gtls``, ``ossl``.
        permitted: The name that a client's certificate must have; None: clients need none.

    Attributes:
        port: Where it listens.
        out: What it has received: structured data, kind, severity and message, between ``|``.
    """

    def __init__(self, folder: Path, driver: str, *, permitted: str | None = None) -> None:
        self.port, self.out, self._folder = free_port(), folder / "received", folder
        self._program = shutil.which("rsyslogd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        if self._program is None:
            missing = "'rsyslogd' is not here: install rsyslog, rsyslog-gnutls and rsyslog-openssl"
            if os.environ.get("CI_NEEDS_AUDIT_TOOLS"):
                pytest.fail(missing)
            pytest.skip(missing)
        tls, stream = "", ""
        if driver != "ptcp":
            self.ca, key = certificate(folder)
            tls = "".join(
                f' defaultNetstreamDriver{name}="{path}"'
                for name, path in (("", driver), ("CAFile", self.ca), ("CertFile", self.ca), ("KeyFile", key))
            )
            mode = "anon" if permitted is None else "x509/name"
            stream = f' streamDriver.name="{driver}" streamDriver.mode="1" streamDriver.authMode="{mode}"'
            if permitted is not None:
                stream += f' permittedPeer=["{permitted}"]'
        (folder / "rsyslog.conf").write_text(
            f'global(workDirectory="{folder}" maxMessageSize="128k"{tls})\n'
            'main_queue(queue.workerThreads="1")\n'
            f'module(load="imtcp"{stream})\n'
            'template(name="t" type="string" string="%structured-data%|%msgid%|%syslogseverity%|%msg%\\n")\n'
            f'input(type="imtcp" port="{self.port}" address="127.0.0.1")\n'
            f'action(type="omfile" file="{self.out}" template="t")\n'
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begins to listen."""
        command = [str(self._program), "-n", "-f", self._folder / "rsyslog.conf", "-i", self._folder / "pid"]
        with open(self._folder / "said", "ab") as said:
            self._process = subprocess.Popen(command, stdout=said, stderr=said)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError((self._folder / "said").read_text())

    def stop(self) -> None:
        """Ends it as its service would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(30)

    def numbers(self) -> list[int]:
        """The numbers of the records that it has, in the order in which they came."""
        return [int(line.split('number="')[1].split('"')[0]) for line in self.lines()]

    def ids(self) -> dict[int, set[str]]:
        """The ids of each record that it has."""
        found: dict[int, set[str]] = {}
        for line in self.lines():
            found.setdefault(int(line.split('number="')[1].split('"')[0]), set()).add(
                line.split(' id="')[1].split('"')[0]
            )
        return found

    def lines(self) -> list[str]:
        """What it has received."""
        return self.out.read_text("utf-8").split("\n")[:-1] if self.out.exists() else []


class PostgresServer:
    """A real PostgreSQL server on loopback, in a folder that is thrown away.

    Attributes:
        url: Its URL.
    """

    def __init__(self) -> None:
        found = sorted(glob("/usr/lib/postgresql/*/bin/initdb")) or [shutil.which("initdb")]
        if found[-1] is None:
            missing = "there is no PostgreSQL server here; apt-get install postgresql"
            if os.environ.get("CI_NEEDS_POSTGRES"):
                pytest.fail(missing)
            pytest.skip(missing)
        self._programs, self._port = Path(found[-1]).parent, free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="flujo-pg-", dir="/tmp"))
        self.url = f"postgresql://flujo@127.0.0.1:{self._port}/postgres"
        if os.getuid() == 0:  # the programs refuse to run as root
            shutil.chown(self._folder, "postgres", "postgres")
        self._run("initdb", "-D", f"{self._folder}/data", "-U", "flujo", "-A", "trust")
        self.start()

    def start(self) -> None:
        """Begins to listen."""
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        log = f"{self._folder}/log"
        self._run("pg_ctl", "-D", f"{self._folder}/data", "-w", "-t", "60", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        """Ends it."""
        self._run("pg_ctl", "-D", f"{self._folder}/data", "-w", "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        before = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        command = [*before, str(self._programs / program), *arguments]
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Posted(NamedTuple):
    """What was posted to a server."""

    path: str
    headers: dict[str, str]
    body: bytes


class Server:
    """A server on loopback that takes posts.

    Args:
        answer: Gives the status and the body of each answer.

    Attributes:
        posts: What it was given.
        url: Where it is.
    """

    def __init__(self, answer: Callable[[Posted], tuple[int, bytes]]) -> None:
        self.posts: list[Posted] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                post = Posted(self.path, dict(self.headers), body)
                status, data = answer(post)
                if status < 300:
                    server.posts.append(post)
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()


class Taking:
    """A sink in memory that does what it is told.

    Args:
        how: What becomes of each batch, in order: ``ok``, ``away`` (it fails), ``hangs``, ``lost`` (it takes it, and
            fails all the same); behind the last, all is well.
        refused: Numbers of records that it never takes.
    """

    def __init__(self, *how: str, refused: Sequence[int] = ()) -> None:
        self._how, self._refused = list(how), refused
        self.taken: list[Exported] = []
        self.closed = False

    async def send(self, records: Sequence[Exported], /) -> None:
        import asyncio  # noqa: PLC0415

        how = self._how.pop(0) if self._how else "ok"
        if any(one.number in self._refused for one in records):
            raise SinkRefused("it is not right")
        if how == "hangs":
            await asyncio.sleep(60)
        if how != "away":
            self.taken += records
        if how != "ok":
            raise SinkFailed("it is away")

    async def aclose(self) -> None:
        self.closed = True

    @property
    def numbers(self) -> list[int]:
        """The numbers of what it has taken."""
        return [one.number for one in self.taken]
