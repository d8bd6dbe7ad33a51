"""The journal of one run while it goes on: what happened is staged, made durable, and only then told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter, time
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from flujo_core.backend.task import outside, uninterrupted
from flujo_core.errors import MailWaiting, StoreError
from flujo_core.hooks.listen import Listeners
from flujo_core.model.contexts import is_below
from flujo_core.model.event import JournaledEvent, QuestionWithdrawn, RunEnded, RunEvent
from flujo_core.store.codec import encode
from flujo_core.store.protocol import Lease, Record, Store

if TYPE_CHECKING:
    from flujo_core.engine.portable import Portable

EPOCH = time() - perf_counter()
"""Added to ``perf_counter()``, gives seconds since the epoch that never run backwards within a process."""


def now() -> float:
    """The time, in seconds since the epoch."""
    return EPOCH + perf_counter()


Durability: TypeAlias = Literal["step", "batch", "exit"]
"""When an event is durable: before anything that depends on it begins; while the run goes on; when it pauses or ends.

Questions, answers, pauses and ends are durable before anybody hears of them, whatever it is.
"""

NO_LEASE = Lease("", 1, "", 0.0)
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
        durability: When what is staged is made durable, where there is a store.

    Attributes:
        listeners: The plugins that hear of its events, or None.
        live: Whether anything but the list of its events follows the run.
        lease: The right to write, where there is a store.
        taken: The number of the last mail whose events are staged.
        earlier: The records of the run from before it was resumed.
        asked: The addresses of what asks, by the sequences of the questions that are open.
        tokens: The tokens of questions that were asked since the run was begun or resumed, likewise.
        written: When it was last written to the store, in seconds since the epoch.
        portable: Makes a ``PipelineState`` of the run, or None.
        is_held: Whether it has the lease in the store.
        subject: A digest of whom the run's data is about; or empty.
        is_called_off: Whether the run's task was cancelled because of its lease or its inbox.
    """

    __slots__ = (
        "_behind", "_failure", "_lock", "_records", "_taken", "_unheard", "asked", "durability", "earlier", "events",
        "is_called_off", "is_held", "lease", "listener", "listeners", "live", "portable", "run_id", "sequence", "store",
        "subject", "taken", "tenant", "tokens", "written",
    )  # fmt: skip

    def __init__(
        self,
        run_id: str,
        tenant: str | None,
        store: Store | None,
        listener: asyncio.Queue[RunEvent] | None,
        durability: Durability = "step",
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
        self._failure: BaseException | None = None
        self.durability: Durability = durability
        self.lease: Lease = NO_LEASE
        self.taken = 0
        self._taken = 0
        self.earlier: Sequence[Record] = ()
        self.asked: dict[int, str] = {}
        self.tokens: dict[int, str] = {}
        self.written = 0.0
        self.subject = ""
        self.is_called_off = False
        self.portable: Portable | None = None
        self.is_held = False
        self._behind: asyncio.Task[None] | None = None

    def listen(self, listeners: Listeners) -> None:
        """Lets plugins hear of the events."""
        self.listeners = listeners
        self.live = True
        self._unheard = []

    def next(self) -> int:
        """The place of the next event."""
        self.sequence += 1
        return self.sequence

    def head(self, address: str, at: float) -> tuple[str, str | None, int, float, str]:
        """What the next event begins with."""
        self.sequence += 1
        return self.run_id, self.tenant, self.sequence, at, address

    def stage(self, event: JournaledEvent, value: bytes = NULL, state: bytes = EMPTY) -> None:
        """Takes an event in; it is not durable yet.

        Args:
            event: The event.
            value: Its input or output, as JSON, where there is a store.
            state: Its context's values or changes, as JSON, where there is a store.
        """
        self.events.append(event)
        if self.store is not None:
            self._records.append(encode(event, value, state, self.lease.epoch))
        if self.listener is not None or self.listeners is not None:
            self._unheard.append(event)

    async def flush(self, *, surely: bool = False, release: bool = False) -> None:
        """Makes what is staged durable, then tells the plugins and the stream.

        One after the other: whoever comes while another flushes waits for that, as what was staged before may be in it.

        Args:
            surely: Whether it is to be durable whatever the run's durability is.
            release: Whether the lease is given back with it.

        Raises:
            StoreError: The store could not keep it.
            MailWaiting: ``release``, and there is mail that was not taken in; nothing was written.
            PluginError: A plugin could not take an earlier event in.
        """
        if self.durability != "step" and self.store is not None:
            if not (surely or release):
                self._flush_behind()
                return
            await self._caught_up()
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            if self._failure is not None:
                raise self._failure  # what comes after a gap must not be kept
            await self._flush(release)

    def lose(self, error: StoreError) -> None:
        """Takes in that the journal cannot be written any more."""
        self._failure = self._failure or error

    @property
    def staged(self) -> Sequence[Record]:
        """The records that are staged and not appended."""
        return self._records

    def has_taken(self, number: int) -> None:
        """Takes in which mail was the last one that the store knows to be taken in."""
        self.taken = self._taken = number

    @property
    def failure(self) -> BaseException | None:
        """Why it cannot be written any more, or None."""
        return self._failure

    def withdraw(self, path: str = "") -> None:
        """Stages that the open questions of a step, or of all that is in a node, need no answer any more."""
        for sequence, place in list(self.asked.items()):
            if not path or place == path or is_below(place, path) or place.startswith(path + "!"):
                del self.asked[sequence]
                self.stage(QuestionWithdrawn(*self.head(place, now()), sequence))

    def retract(self, last: int) -> None:
        """Takes the events after ``last`` back, which were staged and not appended, and told to nobody."""
        kept = self.sequence - last
        for told in (self.events, self._records, self._unheard):
            del told[len(told) - min(kept, len(told)) :]
        self.sequence = last

    def _flush_behind(self) -> None:
        """Begins to make what is staged durable while the run goes on, unless its durability is of its end only."""
        if self._behind is not None:
            if not self._behind.done():
                return
            behind, self._behind = self._behind, None
            behind.result()  # raises what went wrong
        if self.durability == "batch":
            self._behind = asyncio.create_task(self.flush(surely=True))

    async def _caught_up(self) -> None:
        """Waits for what is made durable while the run goes on."""
        behind = self._behind
        if behind is not None and behind is not asyncio.current_task():
            self._behind = None
            await uninterrupted(asyncio.wait_for(behind, None))

    async def _append(self, store: Store, records: list[Record], taken: int | None, release: bool) -> None:
        """Appends, whoever is cancelled meanwhile."""
        work = asyncio.ensure_future(store.append(records, self.lease, taken=taken, release=release))
        try:
            with outside:
                await uninterrupted(work)
        except asyncio.CancelledError:
            self._note(work.exception(), records, release)
            raise
        except Exception as error:  # whatever a store raises, what it was given is not durable
            self._note(error, records, release)
            raise
        self._note(None, records, release)

    def _note(self, error: BaseException | None, records: list[Record], release: bool) -> None:
        """Takes in how an append went."""
        if error is None:
            self.written = now()
            self.is_held = not release
        elif isinstance(error, MailWaiting):
            self._records[:0] = records
        else:
            self._failure = error

    async def _flush(self, release: bool) -> None:
        last = self.sequence  # what is staged from here on is not durable when this is
        if self.store is not None and (self._records or release or self.taken != self._taken):
            records, self._records = self._records, []
            taken = None if self.taken == self._taken else self.taken
            await self._append(self.store, records, taken, release)
            self._taken = self._taken if taken is None else taken
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
