"""Live progress of a run: its steps, tokens and time, on stderr."""

from __future__ import annotations

from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from flujo_core.cli.text import MARKS, STYLES, tokens
from flujo_core.hooks.spec import Plugin
from flujo_core.model.duration import span
from flujo_core.model.event import AttemptFailed, Chunk, NodeFailed, RunEvent, StepCompleted, StepFailed, StepStarted
from flujo_core.model.run import StepStatus


class Progress:
    """Shows the events of a run as they come: a line a step; in a terminal, a moving line for each that runs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._active: dict[str, _Running] = {}

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
                self._active[event.address] = _Running(event.address)
            case Chunk() if event.address in self._active:
                self._active[event.address].pieces += 1
            case AttemptFailed():
                self._line("failed", event.address, f"attempt {event.attempt} failed: {event.error}")
            case StepCompleted():
                status: StepStatus = "completed" if event.attempt or event.source == "cache" else "skipped"
                self._line(status, event.address, f"{span(event.duration):>9}  {tokens(event.usage)}")
                self._active.pop(event.address, None)
            case StepFailed() | NodeFailed():
                self._line("failed", event.address, f"{span(event.duration):>9}  {event.error}")
                self._active.pop(event.address, None)
        if self._live is not None:
            self._live.update(Group(*self._active.values()))

    def _line(self, status: StepStatus, address: str, rest: str) -> None:
        line = Text.assemble((f"  {MARKS[status]} ", STYLES[status]), f"{address:<20} {rest}".rstrip())
        self._console.print(line, soft_wrap=True)


class Shown(Plugin):
    """Shows the events of runs that go on, a line a step: a run that is resumed has no stream."""

    name = "flujo-progress"

    def __init__(self) -> None:
        self._progress = Progress(Console(stderr=True, highlight=False))

    async def on_event(self, event: RunEvent, /) -> None:
        self._progress.show(event)


class _Running:
    """A step that runs, with the time that it has taken when this is drawn.

    Attributes:
        pieces: How many pieces of its output there have been.
    """

    def __init__(self, address: str) -> None:
        self.pieces = 0
        self._address = address
        self._started = monotonic()
        self._spinner = Spinner("dots")

    def __rich__(self) -> Spinner:
        spent = span(monotonic() - self._started)
        heard = f"about {self.pieces} tokens so far" if self.pieces else ""
        self._spinner.update(text=Text(f"{self._address:<20} {spent:>9}  {heard}".rstrip()))
        return self._spinner
