"""Which parts of what a store keeps are values: where they stand, and what they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from flujo_core.model.event import (
    AgentReconfigured,
    AttemptFailed,
    BranchDecided,
    BudgetRefused,
    BudgetReserved,
    BudgetSettled,
    CallCompleted,
    ChangeRefused,
    ItemTaken,
    LoopDecided,
    NodeCompleted,
    NodeFailed,
    NodeStarted,
    PipelineMutated,
    QuestionAnswered,
    QuestionAsked,
    QuestionLapsed,
    QuestionWithdrawn,
    RunEnded,
    RunPaused,
    RunResumed,
    RunStarted,
    SegmentRestarted,
    StepCompleted,
    StepFailed,
    StepStarted,
    TokenReissued,
    VoteCast,
)
from flujo_core.store.value_codec import ValueKind


class Part(NamedTuple):
    """A part of a payload that is a value.

    Attributes:
        kind: What it is.
        line: The number of the line that it stands in, from 0.
        path: The keys that lead to it there; none: it is the line.
        also: What tells it from others of its kind in the same payload.
    """

    kind: ValueKind
    line: int
    path: tuple[str, ...] = ()
    also: str = ""

    @property
    def name(self) -> str:
        """What it is called in what is kept."""
        return f"{self.kind}.{self.also}" if self.also else self.kind


FACTS, VALUE, STATE = 0, 1, 2
"""The lines of a record's payload."""

ERROR = Part("error", FACTS, ("error", "message"))
MESSAGE = Part("error", FACTS, ("message",))
PATCH = Part("patch", STATE)
OUTPUT = Part("output", VALUE)
ANSWER = Part("answer", VALUE)
CHANGE = Part("change", FACTS, ("change",))

PARTS: Mapping[str, tuple[Part, ...]] = {
    RunStarted.kind: (Part("input", VALUE), Part("context", STATE)),
    RunPaused.kind: (),
    RunResumed.kind: (),
    RunEnded.kind: (OUTPUT, Part("reason", FACTS, ("reason",)), ERROR),
    StepStarted.kind: (),
    AttemptFailed.kind: (ERROR, Part("feedback", VALUE)),
    StepCompleted.kind: (OUTPUT, PATCH),
    StepFailed.kind: (ERROR,),
    NodeStarted.kind: (),
    ItemTaken.kind: (Part("item", VALUE),),
    LoopDecided.kind: (),
    BranchDecided.kind: (),
    NodeCompleted.kind: (OUTPUT, PATCH),
    NodeFailed.kind: (ERROR,),
    QuestionAsked.kind: (
        Part("question", VALUE, ("text",)),
        Part("question", FACTS, ("response",), "type"),  # which may list the answers, made of values
        Part("question", FACTS, ("json_schema",), "schema"),
        Part("state", VALUE, ("state",)),
        Part("answer", VALUE, ("default",)),
        PATCH,
    ),
    VoteCast.kind: (ANSWER,),
    QuestionAnswered.kind: (ANSWER,),
    QuestionLapsed.kind: (),
    QuestionWithdrawn.kind: (),
    TokenReissued.kind: (),
    CallCompleted.kind: (Part("model", VALUE), Part("tool", VALUE), PATCH),
    SegmentRestarted.kind: (),
    PipelineMutated.kind: (CHANGE,),
    AgentReconfigured.kind: (CHANGE,),
    ChangeRefused.kind: (CHANGE, MESSAGE),
    BudgetReserved.kind: (),
    BudgetSettled.kind: (),
    BudgetRefused.kind: (MESSAGE,),
}
"""The parts of a record's payload that are values, by the record's kind. What is left is of the pipeline, not of data:
names, numbers, types, digests, times; and who has approved."""

MAIL_PARTS = (Part("answer", 1),)
"""Those of an answer in an inbox."""

CACHE_PARTS = (Part("output", 0), Part("patch", 1))
"""Those of an entry of a cache."""

NOTHING: tuple[Any, ...] = (None, "", [], {})
"""Values that say nothing, and stay as they are."""


def parts_of(kind: str, address: str) -> tuple[Part, ...]:
    """The parts of a record that are values.

    Args:
        kind: The record's kind.
        address: Its address: of a call of an agent, that says whether it was of a model or of a tool.

    Raises:
        KeyError: There is no such kind.
    """
    if kind != CallCompleted.kind:
        return PARTS[kind]
    other = "model" if address.partition("!")[2].startswith("tool.") else "tool"
    return tuple(one for one in PARTS[kind] if one.kind != other)


class Sheet:
    """The lines of a payload, some of them read.

    Args:
        payload: The payload.
        lines: How many lines it has at most: a line feed behind the last is part of that.
    """

    def __init__(self, payload: bytes, lines: int = 3) -> None:
        self._lines = payload.split(b"\n", lines - 1)
        self._read: dict[int, Any] = {}

    def values(self, parts: tuple[Part, ...]) -> Iterator[tuple[Part, Any]]:
        """Those of some parts that are there and say something, each with its value."""
        for part in parts:
            value = self[part]
            if value not in NOTHING:
                yield part, value

    def __getitem__(self, part: Part) -> Any:
        found = self._line(part.line)
        for key in part.path:
            found = found.get(key) if isinstance(found, dict) else None
        return found

    def __setitem__(self, part: Part, value: Any) -> None:
        if not part.path:
            self._read[part.line] = value
            return
        around: MutableMapping[str, Any] = self._line(part.line)
        for key in part.path[:-1]:
            around = around[key]
        around[part.path[-1]] = value

    def _line(self, number: int) -> Any:
        if number not in self._read:
            self._read[number] = from_json(self._lines[number]) if number < len(self._lines) else None
        return self._read[number]

    @property
    def payload(self) -> bytes:
        """The payload, with the values that its parts have now."""
        return b"\n".join(to_json(self._read[at]) if at in self._read else one for at, one in enumerate(self._lines))
