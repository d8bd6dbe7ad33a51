"""Steps that run in processes; a module of its own, as a worker imports it by its name."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel

from flujo_core import (
    Default,
    From,
    InvalidValue,
    PauseForHumanInput,
    PipelineContext,
    ResourceHints,
    Retry,
    RunInfo,
    Stop,
    Veto,
    step,
)


class Notes(PipelineContext):
    lines: list[str] = []
    counts: dict[str, int] = {}
    title: str = ""


class Strict(PipelineContext, validate_assignment=True):
    title: str = ""


class Animal(BaseModel):
    name: str


class Dog(Animal):
    tricks: int = 0


class Refused(Exception):
    pass


class Loud(Refused):
    def __init__(self, what: str, more: int) -> None:
        super().__init__(what, more)


@step(backend="process")
def pid(_: int) -> int:
    return os.getpid()


@step(backend="process")
def double(number: int) -> int:
    return 2 * number


@step(backend="process")
async def double_async(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


async def _quadrupled(number: int) -> int:
    return 4 * number


@step(backend="process")
def wrapped(number: int) -> int:
    return _quadrupled(number)  # type: ignore[return-value]


@step(backend="process")
def note(text: str, context: Notes, info: RunInfo) -> str:
    context.lines.append(text)
    context.counts[text] = context.counts.get(text, 0) + 1
    context.title = f"{info.address}#{info.attempt} in {os.getpid() != os.getppid()}"
    return text.upper()


@step(backend="process")
def look(_: str, context: Notes) -> int:
    return len(context.lines)


@step(backend="process")
def entitle(text: str, context: Strict) -> str:
    context.title = text
    return text


@step(backend="process")
def join(
    text: str, *, other: Annotated[str, From("first")], more: Annotated[int, From("route[even]/second")] = 7
) -> str:
    return f"{text} {other} {more}"


@step
def first(text: str) -> str:
    return f"first of {text}"


@step
def second(text: str) -> int:
    return 5


@step
def third(text: str) -> int:
    return 6


@step
def text_of(number: int) -> str:
    return f"{number}"


@step(backend="process")
def nothing() -> str:
    return "no input"


@step(backend="process")
def name_of(animal: Animal) -> str:
    return animal.name


@step(backend="process")
def wrong(_: int) -> int:
    return "not a number"  # type: ignore[return-value]


@step(backend="process")
def any_of(value: int) -> object:
    return {"a": value, "b": {1}}


@step(backend="process")
def refuse(text: str) -> str:
    raise Loud(f"secret {text}", 3)


@step(backend="process")
def refuse_own(text: str) -> str:
    raise InvalidValue(f"it does not like {text}")


@step(backend="process")
def leave(code: int) -> int:
    sys.exit(code)


@step(backend="process")
def veto(reason: str) -> str:
    raise Veto(reason)


@step(backend="process")
def stop(reason: str) -> Stop | str:
    return Stop(reason)


@step(backend="process")
def ask(text: str, context: Notes) -> PauseForHumanInput[bool] | bool:
    context.lines.append("asked")
    return PauseForHumanInput(
        text, bool, expires_in=timedelta(days=1), on_expiry=Default(False), approvers=["ann", "bob"], quorum=2
    )


@step(backend="process")
def ask_plainly(text: str) -> PauseForHumanInput[int] | int:
    return PauseForHumanInput(text, int, on_expiry="stop")


@step(backend="process")
def ask_oddly(text: str) -> PauseForHumanInput[Literal["yes"]] | Literal["yes"]:
    return PauseForHumanInput(text, bytes)  # type: ignore[arg-type,return-value]


@step(backend="process")
def crash(how: str) -> str:
    if how == "exit":
        os._exit(3)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "fault":
        os.kill(os.getpid(), signal.SIGSEGV)
    return how


@step(backend="process", retry=Retry(attempts=3))
def crash_twice(folder: str, info: RunInfo) -> str:
    (Path(folder) / f"{info.attempt}").write_text(info.idempotency_key)
    if info.attempt < 3:
        os._exit(info.attempt)
    return "at last"


@step(backend="process")
def spin(file: str) -> str:
    """Runs for ever, in a worker whose process id, and that of a process it has started, are in the file."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(file + ".new").write_text(f"{os.getpid()} {child.pid}")
    os.rename(file + ".new", file)
    while True:
        pass


@step(backend="process")
def spin_in_c(file: str) -> str:
    """Runs for very long in C code that lets no other thread run."""
    Path(file + ".new").write_text(f"{os.getpid()} {os.getpid()}")
    os.rename(file + ".new", file)
    return str(re.match("(a|a)*b", "a" * 60))


@step(backend="process", resources=ResourceHints(max_runtime=2.0))
def too_long(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@step(backend="process")
def say(text: str) -> str:
    print(text)
    print(text, file=sys.stderr)
    return text


@step(backend="process")
def nap(seconds: float) -> tuple[float, float]:
    begun = time.time()
    time.sleep(seconds)
    return begun, time.time()


@step(backend="process")
def stop_oddly(_: int) -> Stop | int:
    return Stop("half of a pair: \ud800")


@step(backend="process")
def silence(number: int) -> int:
    sys.stdout.close()
    return number
