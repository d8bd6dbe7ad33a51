"""What a store is: a place that keeps the records of runs, who may write them, and what others want of a run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from flujo_core.model.event import RunStatus
from flujo_core.model.spend import Limit, Spend, Standing
from flujo_core.store.ledger import Hold, Shortage

MailKind: TypeAlias = Literal["answer", "cancel", "reissue"]


class Record(NamedTuple):
    """One event as a store keeps it: a clear header, and a payload.

    Attributes:
        run_id: The run.
        tenant: Whose run it is, or None.
        sequence: Its place in the run's journal, from 1, without gaps.
        kind: The event's kind: ``step_completed``.
        address: The step's address, or empty.
        outcome: How a step or run ended, ``completed``; for kinds that begin with ``run_``, the run's status from here
            on; empty for events that end nothing.
        at: When it happened, in seconds since the epoch.
        payload: The rest, as JSON lines: facts, then the value, then the context's values or changes.
        epoch: The epoch of the lease that it was written under.
        expires_at: Of a question: until when it can be answered, in seconds since the epoch, or None.
        token_hash: Of a question: the SHA-256 of its token, in hexadecimal, or None.
        question: Of what closes a question: the sequence of the record that asked it; else 0.
    """

    run_id: str
    tenant: str | None
    sequence: int
    kind: str
    address: str
    outcome: str
    at: float
    payload: bytes
    epoch: int = 1
    expires_at: float | None = None
    token_hash: str | None = None
    question: int = 0

    def __repr__(self) -> str:
        return f"<Record '{self.run_id}' #{self.sequence} {self.kind}>"


ASKED = "question_asked"
"""The kind of record that opens a question. One with ``question`` closes that; ``run_ended`` closes all of its run."""

LIFE = frozenset({"run_started", "run_resumed", "run_paused", "run_ended"})
"""The kinds of record whose outcome is the status of the run."""


class Lease(NamedTuple):
    """The right to write a run.

    Attributes:
        run_id: The run.
        epoch: A number that grows with each holder; every append carries it.
        holder: Who has it, as a text without values of the run.
        ttl: For how many seconds it lasts from each append or renewal.
    """

    run_id: str
    epoch: int
    holder: str
    ttl: float

    def __repr__(self) -> str:
        return f"<Lease '{self.run_id}' epoch {self.epoch}>"


class Mail(NamedTuple):
    """What somebody wants of a run, without having its lease.

    Attributes:
        run_id: The run.
        number: Its place in the run's inbox, from 1, given by the store; 0 before that.
        kind: What it is: an answer to a question (a vote, where there is a quorum), a wish to cancel the run, a new
            token for a question.
        question: The sequence of the record that asked the question; 0 for a cancel.
        at: When it was posted, by the store's clock.
        payload: What it says: JSON.
        voter: Whose answer it is, or None.
        token_hash: The SHA-256 of the new token, in hexadecimal, of a reissue.
    """

    run_id: str
    number: int
    kind: MailKind
    question: int
    at: float
    payload: bytes
    voter: str | None = None
    token_hash: str | None = None

    def __repr__(self) -> str:
        return f"<Mail '{self.run_id}' #{self.number} {self.kind}>"


class OpenQuestion(NamedTuple):
    """A question that no record has closed, as its header tells it.

    Attributes:
        run_id: The run that asks.
        tenant: Whose run it is, or None.
        sequence: The sequence of the record that asked.
        address: The step's address.
        asked_at: When it was asked, in seconds since the epoch.
        expires_at: Until when it can be answered, or None.
    """

    run_id: str
    tenant: str | None
    sequence: int
    address: str
    asked_at: float
    expires_at: float | None


class RunSummary(NamedTuple):
    """A run, as its headers tell it.

    Attributes:
        run_id: The run.
        tenant: Whose it is, or None.
        status: Where it is.
        started_at: When it began, in seconds since the epoch.
        updated_at: When its last event happened.
        records: How many records it has.
        epoch: The epoch of its last lease.
        held_until: When its lease runs out, by the store's clock; 0 if nobody has it.
        holder: Who has the lease; empty if nobody has.
        mail: The number of its last mail; 0 if it has none.
        taken: The number of the last mail that its journal has taken in.
    """

    run_id: str
    tenant: str | None
    status: RunStatus
    started_at: float
    updated_at: float
    records: int
    epoch: int = 1
    held_until: float = 0.0
    holder: str = ""
    mail: int = 0
    taken: int = 0


class Store(Protocol):
    """A place that keeps journals, leases and inboxes. ``flujo_core.testing.stores`` has what each must pass.

    Every method is atomic, and durable when it returns.
    """

    def append(
        self, records: Sequence[Record], lease: Lease, /, *, taken: int | None = None, release: bool = False
    ) -> Awaitable[None]:
        """Keeps the records of one run, all or none, and makes its lease last again.

        The first records of a run, which begin with sequence 1, make it, with this lease. It is called where an event
        loop runs. What a ``flujo_core.backend.task.Firm`` is returned for costs the run no task of its own.

        Args:
            records: In order, without gaps; there is at least one, unless mail was taken in or the lease is released.
            lease: The right to write; its epoch is the records'.
            taken: The number of the last mail that is taken in with these records; None: as before.
            release: Whether the lease is given back with them.

        Raises:
            RunExists: The first record's place is taken: there is a run of that id.
            LeaseLost: The run has another epoch, or the lease was released; nothing was written.
            MailWaiting: ``release``, and there is mail that was not taken in; nothing was written.
            StoreFull: There is no space.
            StoreError: They could not be kept.
        """
        ...

    async def read(self, run_id: str, /, *, after: int = 0) -> Sequence[Record]:
        """The records of a run, in order, from the one after ``after``; empty if there is no such run."""
        ...

    async def run(self, run_id: str, /) -> RunSummary | None:
        """One run, or None."""
        ...

    async def runs(
        self,
        *,
        limit: int = 50,
        before: RunSummary | None = None,
        tenant: str | None = None,
        status: RunStatus | None = None,
    ) -> Sequence[RunSummary]:
        """Runs, the latest first.

        Args:
            limit: How many at most.
            before: The last run of the page before this one.
            tenant: Only this tenant's.
            status: Only of this status.
        """
        ...

    async def questions(
        self,
        *,
        limit: int = 50,
        after: OpenQuestion | None = None,
        tenant: str | None = None,
        run_id: str | None = None,
    ) -> Sequence[OpenQuestion]:
        """Open questions, the oldest first: by ``(asked_at, run_id, sequence)``.

        Args:
            limit: How many at most.
            after: The last question of the page before this one.
            tenant: Only this tenant's.
            run_id: Only this run's.
        """
        ...

    async def acquire(self, run_id: str, holder: str, ttl: float, /, *, instead_of: int | None = None) -> Lease:
        """Takes the lease of a run that nobody holds, or whose lease has run out; raises its epoch by one.

        Args:
            run_id: The run.
            holder: Who takes it.
            ttl: For how many seconds.
            instead_of: An epoch whose holder is known to be dead: its lease is taken though it has not run out, if the
                run still has that epoch.

        Raises:
            RunBusy: Somebody has it.
            UnknownRun: There is no such run.
        """
        ...

    async def renew(self, lease: Lease, /) -> None:
        """Makes a lease last again.

        Raises:
            LeaseLost: The run has another epoch, or the lease was released.
        """
        ...

    async def release(self, lease: Lease, /) -> None:
        """Gives a lease back, mail or not; one that was lost is passed over."""
        ...

    async def post(self, mail: Mail, /, *, seen: int) -> bool:
        """Puts mail into the inbox of a run, if nothing was put there since ``seen``.

        Args:
            mail: The mail; its number and time are the store's.
            seen: The number of the last mail that the sender knows; 0: none.

        Returns:
            Whether it was posted; if not, there is mail that the sender has not seen.

        Raises:
            UnknownRun: There is no such run.
            UnknownQuestion: It is about a question that is not open (any more).
            QuestionExpired: The question's time is over, by the store's clock.
        """
        ...

    async def mail(self, run_id: str, /, *, after: int = 0) -> Sequence[Mail]:
        """The inbox of a run, in order, from the one after ``after``."""
        ...

    async def delete(self, lease: Lease, /) -> None:
        """Takes a run out of the store, with its records, mail and questions; none of its bytes are left.

        Args:
            lease: The right to write it, so that nobody goes on with it meanwhile.

        Raises:
            LeaseLost: The run has another epoch, or the lease was released; nothing was deleted.
            UnknownRun: There is no such run.
            StoreError: It is gone, and bytes of it may be left; the message says what takes them away.
        """
        ...

    async def reserve(self, hold: Hold, limits: Sequence[Limit], /) -> Shortage | None:
        """Holds an amount in a ledger, if all limits have room for it.

        Ledgers are of many runs, and outlast them. What was spent and what is held never exceeds a limit that was
        given, however many processes hold and settle.

        Args:
            hold: What is to be held, and in whose ledger.
            limits: What may be spent and held there; windows are by the store's clock.

        Returns:
            None: it is held. Else which limit has no room, and nothing was changed.

        Raises:
            StoreError: The ledger cannot be read or written.
        """
        ...

    async def settle(self, account: str, name: str, used: Spend, /) -> None:
        """Gives back what is held, and counts what was spent; nothing where nothing of that name is held (any more).

        Args:
            account: Whose ledger it is in.
            name: What is held there.
            used: What was spent; it may be more than what was held.
        """
        ...

    async def forfeit(self, account: str, prefix: str, /) -> None:
        """Counts what is held at its most, as whoever held it is dead.

        Args:
            account: Whose ledger it is in.
            prefix: What the names of it begin with; letters, digits and ``-``.
        """
        ...

    async def standing(self, account: str, window: float | None = None, /) -> Standing:
        """Where a ledger stands.

        Args:
            account: Whose it is.
            window: Of what was spent, only that of the last so many seconds; None: all of it.
        """
        ...

    async def time(self) -> float:
        """The store's clock: seconds since the epoch."""
        ...

    async def close(self) -> None:
        """Lets go of what the store holds; it may be used again, and opens then by itself."""
        ...


@runtime_checkable
class WatchableStore(Protocol):
    """What a store can do besides: say at once that a run has mail. Of others, holders ask every few seconds."""

    def watch(self, heard: Callable[[str], None], /) -> Callable[[], None]:
        """Has somebody told when a run gets mail, from any process. It may be forgotten: holders also ask.

        Args:
            heard: Called with the run's id, in any thread; it returns at once and raises nothing.

        Returns:
            What ends that.
        """
        ...


StoreFactory: TypeAlias = Callable[[str], Store]
"""Makes a store from its URL."""
