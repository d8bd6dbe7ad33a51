"""The events of a resumed run: those from before are read from their records when somebody asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import overload

from pydantic import ValidationError

from flujo_core.engine.finder import Finder, finder
from flujo_core.engine.program import Program
from flujo_core.model.event import RunEvent, StepCompleted
from flujo_core.model.value import adapter
from flujo_core.store.codec import decode
from flujo_core.store.protocol import Record


class Story(Sequence[RunEvent]):
    """All events of a run.

    Args:
        earlier: The records from before it was resumed.
        since: The events since then.
        program: What it runs.
    """

    def __init__(self, earlier: Sequence[Record], since: Sequence[RunEvent], program: Program) -> None:
        self._earlier = earlier
        self._since = since
        self._program = program

    @cached_property
    def _read(self) -> list[RunEvent]:
        return [self._event(record) for record in self._earlier]

    @cached_property
    def _nodes(self) -> Finder:
        """Finds nodes by their addresses in the run."""
        return finder(self._program, self._earlier)

    def _event(self, record: Record) -> RunEvent:
        """An event, with an output of the type that its step has; as plain data where that does not fit any more."""
        event = decode(record)
        if isinstance(event, StepCompleted):
            try:
                kind = adapter(self._nodes(record.address).gives)
                event.output = kind.validate_json(record.payload.split(b"\n", 2)[1], by_alias=False, by_name=True)
            except (LookupError, ValidationError):
                pass
        return event

    @overload
    def __getitem__(self, place: int, /) -> RunEvent: ...
    @overload
    def __getitem__(self, place: slice, /) -> Sequence[RunEvent]: ...
    def __getitem__(self, place: int | slice, /) -> RunEvent | Sequence[RunEvent]:
        return [*self._read, *self._since][place]

    def __len__(self) -> int:
        return len(self._earlier) + len(self._since)
