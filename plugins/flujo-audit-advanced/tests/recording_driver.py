"""A process that runs a pipeline on record, and kills itself: ``python recording_driver.py count|kill FOLDER POINT``.

A point is a call by which the process changes the log's files; before it, or after it, the process gets SIGKILL. Each
step adds a line to ``FOLDER/done`` when it begins to work: what is there was done.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flujo_audit_advanced import AuditPlugin, Rule
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel
from recording_kit import recording

from flujo_core import Flujo, Parallel, Step, step

CALLS = ("pwrite", "fdatasync", "fsync", "replace", "rename")
FOLDER = Path(sys.argv[2])
STORE = f"sqlite:///{FOLDER}/runs.db"


def note(line: str) -> None:
    """Says, durably as far as a killed process goes, what is being done."""
    file = os.open(FOLDER / "done", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(file, f"{line}\n".encode())
    os.close(file)


def noted(name: str) -> Step[str, str]:
    """A step that says that it is at work."""

    @step(name=name)
    async def work(text: str) -> str:
        note(f"step {name}")
        await asyncio.sleep(0)
        return text

    return work


@step
async def join(found: dict[str, str]) -> str:
    note("step join")
    return found["left"]


def asked() -> Agent[None, str]:
    """An agent with a tool."""
    made: Agent[None, str] = Agent(TestModel(custom_output_text="Yes."))

    @made.tool_plain
    def look_up(name: str) -> str:
        note("tool look_up")
        return name

    return made


PIPELINE = (
    noted("first")
    >> Parallel("both", left=noted("left"), right=noted("right"))
    >> join
    >> Step.agent("ask", asked())
    >> noted("last")
)


class Points:
    """Counts the calls, and kills the process before or after one of them.

    Args:
        at: At which half of which call; -1 at none.
    """

    def __init__(self, at: int) -> None:
        self._at, self.count = at, 0
        for name in CALLS:
            setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            mine, self.count = self.count, self.count + 2
            if self._at == mine:
                os.kill(os.getpid(), signal.SIGKILL)
            result = call(*arguments, **named)
            if self._at == mine + 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return counted


async def main(again: bool) -> None:
    """Runs the pipeline, or goes on with what another process has begun."""
    rules = Rule(["tool.*", "step.*"], "strict"), Rule(["*.completed"], "strict")
    async with Flujo(PIPELINE, plugins=[AuditPlugin(recording(FOLDER, *rules))], store=STORE) as flujo:
        if again:
            note("again")
            await flujo.resume_async("r1")
        else:
            await flujo.run_async("x", run_id="r1")


if __name__ == "__main__":
    points = Points(int(sys.argv[3]) if sys.argv[1] == "kill" else -1)
    asyncio.run(main(again=sys.argv[1] == "again"))
    print(points.count)
