"""The journal of one run while it goes on: what happened is staged, made durable, and only then told."""

from __future__ import annotations

import asyncio
from time import perf_counter, time
from typing import Any

from flujo_core.backend.task import outside, uninterrupted
from flujo_core.errors import StoreError
from flujo_core.hooks.listen import Listeners
from flujo_core.model.event import Chunk, JournaledEvent, RunEnded, RunEvent
from flujo_core.store.codec import encode
from flujo_core.store.protocol import Record, Store

EPOCH = time() - perf_counter()
"""Added to ``perf_counter()``, gives seconds since the epoch that never run backwards within a process."""


def now() -> float:
    """The time, in seconds since the epoch."""
    return EPOCH + perf_counter()


NULL = b"null"
EMPTY = b"{}"
NONE: list[Any] = []
"""What is staged where nobody asks for it; never changed."""


class Journal:
    """The events of one run.

    An event is staged when it happens. ``flush`` makes what is staged durable, in one append, and then gives it to the
    stream, if there is one: nobody hears of what could still be lost. Without a store and a stream there is nothing to
    flush, and ``live`` says so.

    Args:
        run_id: The run.
        tenant: Whose run it is, or None.
        store: Where its records go, or None.
        listener: Where its events go, or None; a full queue makes the run wait.

    Attributes:
        listeners: The plugins that hear of its events, or None.
        live: Whether anything but the list of its events follows the run.
    """

    __slots__ = (
        "_failure", "_lock", "_records", "_unheard", "events", "listener", "listeners", "live", "run_id", "sequence",
        "store", "tenant",
    )  # fmt: skip

    def __init__(
        self, run_id: str, tenant: str | None, store: Store | None, listener: asyncio.Queue[RunEvent] | None
    ) -> None:
        self.run_id = run_id
        self.tenant = tenant
        self.store = store
        self.listener = listener
        self.listeners: Listeners | None = None
        self.live = store is not None or listener is not None
        self.sequence = 0
        self.events: list[JournaledEvent] = []
        self._records: list[Record] = NONE if store is None else []
        self._unheard: list[JournaledEvent] = NONE if listener is None else []
        self._lock: asyncio.Lock | None = None
        self._failure: StoreError | None = None

    def listen(self, listeners: Listeners) -> None:
        """Lets plugins hear of the events."""
        self.listeners = listeners
        self.live = True
        self._unheard = []

    def next(self) -> int:
        """The place of the next event."""
        self.sequence += 1
        return self.sequence

    def stage(self, event: JournaledEvent, value: bytes = NULL, state: bytes = EMPTY) -> None:
        """Takes an event in; it is not durable yet.

        Args:
            event: The event.
            value: Its input or output, as JSON, where there is a store.
            state: Its context's values or changes, as JSON, where there is a store.
        """
        self.events.append(event)
        if self.store is not None:
            self._records.append(encode(event, value, state))
        if self.listener is not None or self.listeners is not None:
            self._unheard.append(event)

    async def flush(self) -> None:
        """Makes what is staged durable, then tells the plugins and the stream.

        One after the other: whoever comes while another flushes waits for that, as what was staged before may be in it.

        Raises:
            StoreError: The store could not keep it.
            PluginError: A plugin could not take an earlier event in.
        """
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            if self._failure is not None:
                raise self._failure  # what comes after a gap must not be kept
            await self._flush()

    async def _append(self, store: Store, records: list[Record]) -> None:
        """Appends; a failure is remembered, whoever is cancelled meanwhile."""
        try:
            with outside:
                await store.append(records)
        except StoreError as error:
            self._failure = error
            raise

    async def _flush(self) -> None:
        last = self.sequence  # what is staged from here on is not durable when this is
        if self._records and self.store is not None:
            records, self._records = self._records, []
            await uninterrupted(self._append(self.store, records))
        event = None
        # a branch that is cancelled here leaves what is not told to whoever flushes next
        while self._unheard and self._unheard[0].sequence <= last:
            event = self._unheard[0]
            if self.listener is not None:
                await self.listener.put(event)
            del self._unheard[0]
            if self.listeners is not None:
                await self.listeners.tell(event)
        if self.listeners is not None and event is not None and not isinstance(event, RunEnded):
            self.listeners.check()

    async def settle(self) -> None:
        """Flushes, and waits until the plugins have heard of everything.

        Raises:
            PluginError: A plugin could not take an event in.
        """
        await self.flush()
        if self.listeners is not None:
            await self.listeners.settle()

    async def chunk(self, address: str, attempt: int, text: str) -> None:
        """Gives the stream a piece of an output."""
        if self.listener is not None:
            await self.listener.put(Chunk(self.run_id, self.tenant, self.sequence, now(), address, attempt, text))
