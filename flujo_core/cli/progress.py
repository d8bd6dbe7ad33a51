"""Live progress of a run: its steps, tokens and time, on stderr."""

from __future__ import annotations

from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from flujo_core.cli.text import MARKS, STYLES, span, tokens
from flujo_core.model.event import AttemptFailed, Chunk, RunEvent, StepCompleted, StepFailed, StepStarted
from flujo_core.model.run import StepStatus


class Progress:
    """Shows the events of a run as they come: a line a step; in a terminal, a moving line for the one that runs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._address = ""
        self._started = 0.0
        self._pieces = 0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(Text(), console=self._console, refresh_per_second=8, transient=True)
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, traceback)

    def show(self, event: RunEvent) -> None:
        """Takes an event in."""
        match event:
            case StepStarted():
                self._address, self._started, self._pieces = event.address, monotonic(), 0
            case Chunk():
                self._pieces += 1
            case AttemptFailed():
                self._line("failed", event.address, f"attempt {event.attempt}: {event.error}; trying again")
            case StepCompleted():
                status: StepStatus = "completed" if event.attempt else "skipped"
                self._line(status, event.address, f"{span(event.duration):>9}  {tokens(event.usage)}")
                self._address = ""
            case StepFailed():
                self._line("failed", event.address, f"{span(event.duration):>9}  {event.error}")
                self._address = ""
        if self._live is not None:
            self._live.update(self._running())

    def _line(self, status: StepStatus, address: str, rest: str) -> None:
        line = Text.assemble((f"  {MARKS[status]} ", STYLES[status]), f"{address:<20} {rest}".rstrip())
        self._console.print(line, soft_wrap=True)

    def _running(self) -> RenderableType:
        if not self._address:
            return Text()
        return Group(_Running(self._address, self._started, self._pieces))


class _Running:
    """The step that runs, with the time that it has taken when this is drawn."""

    def __init__(self, address: str, started: float, pieces: int) -> None:
        self._address = address
        self._started = started
        self._pieces = pieces
        self._spinner = Spinner("dots")

    def __rich__(self) -> RenderableType:
        spent = span(monotonic() - self._started)
        heard = f"about {self._pieces} tokens so far" if self._pieces else ""
        self._spinner.update(text=Text(f"{self._address:<20} {spent:>9}  {heard}".rstrip()))
        return self._spinner
