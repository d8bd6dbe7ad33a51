"""A real server on 127.0.0.1, started for the tests and thrown away after them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from glob import glob
from pathlib import Path
from uuid import uuid4

import pytest


class Server:
    """A PostgreSQL server of our own.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._folder = programs, folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        password = folder / "password"
        password.write_text("s3cret-w0rd")
        if os.getuid() == 0:  # the programs refuse to run as root
            for one in (folder, password):
                shutil.chown(one, "postgres", "postgres")
        self._run("initdb", "-D", f"{folder}/data", "-U", "flujo", "-A", "scram-sha-256", "--pwfile", str(password))

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=250"
        log = f"{self._folder}/log"
        self._run("pg_ctl", "-D", f"{self._folder}/data", "-w", "-t", "60", "-l", log, "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        self._run("pg_ctl", "-D", f"{self._folder}/data", "-w", "-m", mode, "stop")

    def _run(self, program: str, *arguments: str) -> None:
        before = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        subprocess.run(
            [*before, str(self._programs / program), *arguments], check=True, cwd="/", stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def url(self, schema: str | None = None, *, password: str = "s3cret-w0rd", database: str = "postgres") -> str:
        """The URL of a store in a schema of its own."""
        name = schema or f"t{uuid4().hex}"
        return f"postgresql://flujo:{password}@127.0.0.1:{self.port}/{database}?schema={name}"


def programs() -> Path | None:
    found = sorted(glob("/usr/lib/postgresql/*/bin/initdb"))
    plain = shutil.which("initdb")
    return Path(found[-1] if found else plain).parent if found or plain else None


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The server."""
    where = programs()
    if where is None:
        if os.environ.get("CI_NEEDS_POSTGRES"):
            pytest.fail("there is no PostgreSQL server here; apt-get install postgresql")
        pytest.skip("there is no PostgreSQL server here; apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix="flujo-pg-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        made = Server(where, Path(folder))
        made.start()
        try:
            yield made
        finally:
            made.stop()


@pytest.fixture
def unused() -> Callable[[], int]:
    """Gives a port that nobody listens on."""

    def port() -> int:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            return int(free.getsockname()[1])

    return port
