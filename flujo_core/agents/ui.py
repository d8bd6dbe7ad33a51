"""A run's events for the front ends of others: AG-UI and the Vercel AI SDK, by pydantic-ai's encoders."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from pydantic_ai.messages import CustomEvent, PartDeltaEvent, PartEndEvent, PartStartEvent, TextPart, TextPartDelta
from pydantic_ai.ui import NativeEvent, UIEventStream
from pydantic_core import to_jsonable_python

from flujo_core.errors import ConfigurationError
from flujo_core.model.event import AttemptFailed, Chunk, RunEnded, RunEvent, SegmentRestarted, StepCompleted, StepFailed
from flujo_core.model.flow import Node, streaming_on
from flujo_core.model.question import Question
from flujo_core.model.rename import pattern_of
from flujo_core.model.result import PipelineResult

UIProtocol: TypeAlias = Literal["ag-ui", "vercel"]
"""The protocols of front ends that a run can be streamed in."""


@dataclass(repr=False, kw_only=True)
class RunOutputEvent(CustomEvent, name="flujo-output"):
    """A run's output that is no text.

    Attributes:
        output: The output, as plain data.
    """

    output: Any


@dataclass(repr=False, kw_only=True)
class RunPausedEvent(CustomEvent, name="flujo-paused"):
    """A run waits for people.

    Attributes:
        run_id: The run.
        questions: What it asks: ``address``, ``text``, ``token`` and ``json_schema`` of each question.
    """

    run_id: str
    questions: list[dict[str, Any]]


def encoder(protocol: str, run_id: str, thread_id: str | None) -> UIEventStream[Any, Any, Any, Any]:
    """What writes events in a protocol.

    Raises:
        ConfigurationError: There is no such protocol, or its package is missing.
    """
    if protocol == "vercel":
        from pydantic_ai.ui.vercel_ai import VercelAIEventStream  # noqa: PLC0415 - one of the two is needed

        return VercelAIEventStream()
    if protocol != "ag-ui":
        raise ConfigurationError(f"'{protocol}' is no protocol of front ends; there are 'ag-ui' and 'vercel'")
    try:
        from pydantic_ai.ui.ag_ui import AGUIEventStream  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError("'ag-ui' needs a package: pip install 'flujo-core[ag-ui]'") from error
    return AGUIEventStream(run_id=run_id, thread_id=thread_id or run_id)


class RunStream(Protocol):
    """The events of a run, and what it came to."""

    def __aiter__(self) -> AsyncIterator[RunEvent]: ...

    @property
    def result(self) -> PipelineResult[Any, Any]: ...


def shown_of(pipeline: Node[Any, Any]) -> Callable[[str], bool]:
    """Tells whether what a step streams, by its address in a run, is for the front end: not if it goes into another."""
    hidden = [re.compile(pattern_of(address)) for address in streaming_on(pipeline)]
    return lambda address: not any(one.fullmatch(address) for one in hidden)


class _Speaker(NamedTuple):
    """An attempt of a step that gives text."""

    address: str
    attempt: int


class Texts:
    """The texts of steps, one after the other: what another step says meanwhile waits until the first has ended.

    Args:
        is_shown: Whether the text of a step, by its address, is for the front end.

    Attributes:
        said: Whether anything was said.
    """

    def __init__(self, is_shown: Callable[[str], bool]) -> None:
        self._is_shown = is_shown
        self._speaker: _Speaker | None = None
        self._waiting: dict[_Speaker, list[str]] = {}
        self._ended: set[_Speaker] = set()
        self._index = -1
        self._text = ""
        self.said = False

    async def native(self, events: AsyncIterator[RunEvent]) -> AsyncGenerator[NativeEvent, None]:
        """The events, as pydantic-ai's own."""
        async for event in events:
            match event:
                case Chunk() if event.text and self._is_shown(event.address):
                    for one in self._say(_Speaker(event.address, event.attempt), event.text):
                        yield one
                case StepCompleted() | StepFailed() | AttemptFailed() | SegmentRestarted():
                    for one in self._end(event.address):
                        yield one
                case RunEnded(output=str() as output) if not self.said:
                    for one in (*self._say(_Speaker("", 1), output), *self._end("")):
                        yield one
        if self._speaker is not None:
            for one in self._end(self._speaker.address):
                yield one

    def _say(self, speaker: _Speaker, text: str) -> list[NativeEvent]:
        if self._speaker is None:
            return self._begin(speaker, text)
        if self._speaker != speaker:
            self._waiting.setdefault(speaker, []).append(text)
            return []
        self._text += text
        return [PartDeltaEvent(index=self._index, delta=TextPartDelta(content_delta=text))]

    def _begin(self, speaker: _Speaker, text: str) -> list[NativeEvent]:
        self._speaker, self._text, self.said = speaker, "", True
        self._index += 1
        start: NativeEvent = PartStartEvent(index=self._index, part=TextPart(content=""))
        return [start, *self._say(speaker, text)]

    def _end(self, address: str) -> list[NativeEvent]:
        """Ends the text of a step; then those that have waited speak."""
        self._ended.update(one for one in self._waiting if one.address == address)
        if self._speaker is None or self._speaker.address != address:
            return []
        told: list[NativeEvent] = [self._stop()]
        while self._waiting and self._speaker is None:
            speaker = next(iter(self._waiting))
            told += self._begin(speaker, "".join(self._waiting.pop(speaker)))
            if speaker in self._ended:
                told.append(self._stop())
        return told

    def _stop(self) -> NativeEvent:
        self._speaker = None
        return PartEndEvent(index=self._index, part=TextPart(content=self._text))


async def encoded(
    stream: AbstractAsyncContextManager[RunStream], writer: UIEventStream[Any, Any, Any, Any], texts: Texts
) -> AsyncIterator[str]:
    """A run, as server-sent events.

    Args:
        stream: The run.
        writer: What writes events.
        texts: What of it is shown.
    """

    async def native() -> AsyncGenerator[NativeEvent, None]:
        async with stream as run:
            async with aclosing(texts.native(aiter(run))) as events:
                async for event in events:
                    yield event
            result = run.result
        if result.status == "paused":
            yield RunPausedEvent(run_id=result.run_id, questions=[_question(one) for one in result.questions])
        elif result.status == "completed" and not isinstance(result.output, str):
            yield RunOutputEvent(output=to_jsonable_python(result.output))

    async with aclosing(native()) as events:
        async for event in writer.transform_stream(events):
            yield writer.encode_event(event)


def _question(asked: Question) -> dict[str, Any]:
    """An open question, as plain data."""
    return {"address": asked.address, "text": asked.text, "token": asked.token, "json_schema": asked.json_schema}
