"""Pipelines that wait for people, and the commands as processes: what tests of paused and crashed runs share."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flujo_core.cli.main import run_command

FLUJO = [sys.executable, "-m", "flujo_core.cli"]
PIPELINES = """
import asyncio
from pathlib import Path
from typing import Literal
from pydantic import BaseModel
from flujo_core import HumanInput, Parallel, step

class Verdict(BaseModel):
    approved: bool
    grade: Literal["good", "bad"]
    number: int = 3
    notes: list[str] = []
    remark: str | None = None

@step
async def read(text: str) -> str:
    with Path("read.txt").open("a") as file:
        file.write("read\\n")
    return text.upper()

@step
async def send(verdict: Verdict) -> str:
    return verdict.model_dump_json()

@step
async def linger(text: str) -> str:
    Path("lingers.txt").write_text("yes")
    while not Path("go").exists():
        await asyncio.sleep(0.01)
    return text + "!"

@step
async def explode(text: str) -> str:
    if not Path("go").exists():
        raise ValueError(text)
    return text + "!"

@step
async def check(verdict: Verdict) -> Verdict:
    return verdict

approve = HumanInput("approve", Verdict, ask="May '{{ input }}' go?")
letter = (read >> approve >> send).named("letters")
checked = (read >> approve >> check >> send).named("letters")
late = (read >> read.named("again") >> approve >> send).named("letters")
two = Parallel("two", a=HumanInput("a", bool, ask="A?"), b=HumanInput("b", str, ask="B?", approvers=["anna"]))
voted = HumanInput("vote", bool, ask="All of you?", approvers=["anna", "bob"], quorum=2)
slow = (read >> linger).named("slow")
failing = (read >> explode).named("failing")
nothing = HumanInput("maybe", int | None, ask="A number, or none?")
"""


def write_pipelines(folder: Path) -> None:
    (folder / "pipelines.py").write_text(PIPELINES)


def paused(target: str, run_id: str, **options: str) -> dict[str, Any]:
    """Begins a run that waits; gives what the command printed."""
    extra = [word for name, value in options.items() for word in (f"--{name}", value)]
    done = flujo("run", f"pipelines.py:{target}", "-i", "hello", "--run-id", run_id, "--json", *extra)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    assert result["status"] == "paused"
    return result


def flujo(*arguments: str) -> subprocess.CompletedProcess[str]:
    """One command, in a process of its own, without a terminal."""
    return subprocess.run(
        [*FLUJO, *arguments], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False
    )


def one_sentence(text: str) -> None:
    """What an error prints: one line, and no traceback."""
    assert text.count("\n") == 1 and text.startswith("flujo: "), text


def here(*arguments: str) -> int:
    """One command, in this process."""
    return run_command(list(arguments))


class Terminal:
    """A command in a terminal, and who sits there.

    Args:
        arguments: The command's.
    """

    def __init__(self, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        environment = os.environ | {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"}
        self.process = subprocess.Popen(
            [*FLUJO, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
        )
        os.close(theirs)
        self._text, self._seen = "", 0

    def until(self, text: str, seconds: float = 30.0) -> str:
        """Reads on until ``text`` stands there; gives what stands before it."""
        end = time.monotonic() + seconds
        while text not in self._text[self._seen :]:
            assert time.monotonic() < end and self._read(), f"'{text}' does not come after:\n{self._text}"
        start, self._seen = self._seen, self._text.index(text, self._seen) + len(text)
        return self._text[start : self._seen]

    def type(self, line: str) -> None:
        """Types a line."""
        os.write(self._ours, f"{line}\n".encode())

    def leave(self) -> None:
        """Types the end of the input."""
        os.write(self._ours, b"\x04")

    def end(self) -> tuple[int, str]:
        """Waits for the command's end: its exit code, and what stands there after what was read."""
        while self._read():
            pass
        code = self.process.wait(30)
        os.close(self._ours)
        return code, self._text[self._seen :]

    def _read(self) -> bool:
        """Reads some more, if there is."""
        if not select.select([self._ours], [], [], 30.0)[0]:
            return False
        try:
            found = os.read(self._ours, 4096)
        except OSError:  # nobody has the other end any more
            return False
        self._text += re.sub(r"\x1b\[[0-9;?]*\w", "", found.decode().replace("\r\n", "\n"))
        return bool(found)


def killed(target: str, run_id: str, folder: Path) -> None:
    """Begins a run, and kills its process in the middle of a step that lingers."""
    arguments: Sequence[str] = ("run", f"pipelines.py:{target}", "-i", "hello", "--run-id", run_id, "--json")
    process = subprocess.Popen([*FLUJO, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    sign, end = folder / "lingers.txt", time.monotonic() + 30
    while not sign.exists():
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    sign.unlink()
