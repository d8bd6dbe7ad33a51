"""A run's events as they happen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeAlias

from typing_extensions import TypeVar

from flujo_core.errors import FlujoError
from flujo_core.model.event import RunEvent
from flujo_core.model.result import PipelineResult

if TYPE_CHECKING:
    from flujo_core.model.context import PipelineContext

Out = TypeVar("Out", covariant=True)
Ctx = TypeVar("Ctx", bound="PipelineContext", default="PipelineContext", covariant=True)

Events: TypeAlias = asyncio.Queue[Any]
"""Events, and None after the last one."""

Execution: TypeAlias = Callable[[], Coroutine[Any, Any, PipelineResult[Any, Any]]]
"""Runs a pipeline once."""

CAPACITY = 64
"""Events that may wait for a slow consumer before the run waits too."""


class RunStream(Generic[Out, Ctx]):
    """The events of a run: iterate over it, then ask for ``result``."""

    def __init__(self, events: Events, task: asyncio.Task[PipelineResult[Any, Any]]) -> None:
        self._events = events
        self._task = task
        self._ended = False

    async def __aiter__(self) -> AsyncIterator[RunEvent]:
        """The events, as they happen.

        Raises:
            RunFailed: The run failed or was refused; raised after its last event.
        """
        while not self._ended:
            event = await self._events.get()
            if event is None:
                self._ended = True
                await self._task
            else:
                yield event

    @property
    def result(self) -> PipelineResult[Out, Ctx]:
        """What the run came to.

        Raises:
            RunFailed: It failed or was refused.
            FlujoError: It has not ended.
        """
        if not self._task.done():
            raise FlujoError("the run has not ended; iterate over its events to the last one, then ask for its result")
        if self._task.cancelled():
            raise FlujoError("the run has no result: it was cancelled, as its events were not awaited to the last one")
        self._ended = True
        return self._task.result()


@asynccontextmanager
async def streamed(events: Events, run: Execution) -> AsyncIterator[RunStream[Any, Any]]:
    """Runs while the block lasts; leaving it before the run's end cancels the run and waits until it is.

    Raises:
        RunFailed: The run failed, and nobody who iterated or asked for the result has heard of it.
    """
    task = asyncio.create_task(_driven(events, run))
    stream: RunStream[Any, Any] = RunStream(events, task)
    try:
        yield stream
    finally:
        gone_early = not task.done()
        if gone_early:
            task.cancel()
        await asyncio.wait([task])
        unheard = None if task.cancelled() else task.exception()
    if unheard is not None and not gone_early and not stream._ended:
        raise unheard


async def _driven(events: Events, run: Execution) -> PipelineResult[Any, Any]:
    try:
        result = await run()
    except Exception:
        await events.put(None)
        raise
    except BaseException:  # it was cancelled: whoever still listens is not to wait for ever
        if events.full():
            events.get_nowait()
        events.put_nowait(None)
        raise
    await events.put(None)
    return result
