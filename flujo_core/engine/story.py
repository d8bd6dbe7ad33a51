"""The events of a resumed run: those from before are read from their records when somebody asks for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, overload

from pydantic import ValidationError

from flujo_core.model.event import RunEvent, StepCompleted
from flujo_core.model.value import adapter
from flujo_core.store.codec import decode
from flujo_core.store.protocol import Record


class Story(Sequence[RunEvent]):
    """All events of a run.

    Args:
        earlier: The records from before it was resumed.
        since: The events since then.
        gives: The output type of a step, by its address in the run; LookupError where there is no such step.
    """

    def __init__(self, earlier: Sequence[Record], since: Sequence[RunEvent], gives: Callable[[str], Any]) -> None:
        self._earlier = earlier
        self._since = since
        self._gives = gives

    @cached_property
    def _read(self) -> list[RunEvent]:
        return [self._event(record) for record in self._earlier]

    def _event(self, record: Record) -> RunEvent:
        """An event, with an output of the type that its step has; as plain data where that does not fit any more."""
        event = decode(record)
        if isinstance(event, StepCompleted):
            try:
                kind = adapter(self._gives(record.address))
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
