"""The steps that backends are tried with; they are imported by their names where they run."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import timedelta
from pathlib import Path

from pydantic import Field

from flujo_core.model.context import PipelineContext
from flujo_core.model.outcome import PauseForHumanInput, Stop
from flujo_core.model.signature import RunInfo
from flujo_core.model.step import step

SECRET = "a patient's name"
"""What is in no message."""


class Trial(PipelineContext):
    """The context of the trials."""

    lines: list[str] = Field(default_factory=list)
    title: str = ""


class Unwell(Exception):
    """What ``fail`` raises."""


@step
def double(number: int) -> int:
    return 2 * number


@step
async def double_async(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


@step
def nothing() -> str:
    return "nothing"


@step
def about(_: str, info: RunInfo, *, other: str = "") -> list[str]:
    return [info.run_id, info.address, info.idempotency_key, str(info.attempt)]


@step
def note(text: str, context: Trial) -> int:
    context.lines.append(text)
    context.title = text
    return len(context.lines)


@step
def lie(_: int) -> int:
    return SECRET  # type: ignore[return-value]


@step
def fail(_: int) -> int:
    raise Unwell(SECRET)


@step
def stop(reason: str) -> str | Stop:
    return Stop(reason)


@step
def ask(text: str) -> PauseForHumanInput[bool] | bool:
    return PauseForHumanInput(text, bool, expires_in=timedelta(hours=1), approvers=["ann", "bob"], quorum=2)


@step
def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@step
def crash(code: int) -> int:
    os._exit(code)


@step
def beat(file: str) -> str:
    """Goes on for ever, and shows it: the file grows."""
    while True:
        with Path(file).open("a") as one:
            one.write(".")
        time.sleep(0.01)
