"""What a run may still spend: reservations before requests are sent, settlements after, and the time that it has.

The states of a reservation, and what becomes of it when a process dies, are in ``docs/decisions/0033-budgets.md``.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from flujo_core.backend.task import uninterrupted
from flujo_core.engine.journal import Journal, now
from flujo_core.errors import OverBudget, StoreError
from flujo_core.log import warning
from flujo_core.model.agent import Usage
from flujo_core.model.event import BudgetRefused, BudgetReserved, BudgetSettled, RunResumed, RunStarted
from flujo_core.model.flow import encoded_name
from flujo_core.model.rename import plain_address
from flujo_core.model.spend import NOTHING, Most, Spend, Standing
from flujo_core.model.spending import Held, Spending
from flujo_core.store.codec import decode
from flujo_core.store.ledger import Hold
from flujo_core.store.protocol import Record, Store

if TYPE_CHECKING:
    from flujo_core.model.budget import Budget, Price

TTL = 600.0
"""Seconds after which nobody waits any more for what a process holds that may have died."""

POLL = 0.5
"""Seconds between two looks at a ledger in which other processes hold something."""

UNKNOWN = Most(None, None, None, None)
"""What an agent can spend whose requests nobody sees."""

TOLD = frozenset({BudgetReserved.kind, BudgetSettled.kind, RunResumed.kind})
"""The kinds of record that a ledger is read from."""

BEGINNINGS = frozenset({RunStarted.kind, RunResumed.kind})


class Metering(NamedTuple):
    """What the runs of a program may spend.

    Attributes:
        own: The budgets of each run, and of each step.
        shared: The budgets of each tenant.
        seconds: How long a run may go on, or None.
        prices: The deployment's prices, by patterns of names of models.
        tenants: Where the ledgers of tenants are.
    """

    own: Sequence[Budget]
    shared: Sequence[Budget]
    seconds: float | None
    prices: Mapping[str, Price]
    tenants: Store

    def ledger(self, journal: Journal) -> Ledger:
        """What a run may still spend, by its journal."""
        return Ledger(self, journal)

    @property
    def is_of_calls(self) -> bool:
        """Whether anything but the time is limited."""
        return bool(self.own or self.shared)

    @property
    def counts_tools(self) -> bool:
        """Whether calls of tools are limited."""
        return any(one.tool_calls is not None for one in (*self.own, *self.shared))


def metering(budgets: Sequence[Budget], prices: Mapping[str, Price], tenants: Store) -> Metering:
    """What some budgets mean for the runs of a program."""
    times = [one.wall_time.total_seconds() for one in budgets if one.wall_time is not None]
    of_calls = [one for one in budgets if one.is_of_calls]
    return Metering(
        [one for one in of_calls if one.per != "tenant"],
        [one for one in of_calls if one.per == "tenant"],
        min(times, default=None),
        prices,
        tenants,
    )


class Short(NamedTuple):
    """Why something is not held.

    Attributes:
        budget: The budget that has no room for it.
        standing: Where its ledger stands.
        is_shared: Whether others than this run may give something back.
    """

    budget: Budget
    standing: Standing
    is_shared: bool

    def may_wait(self, wanted: Spend) -> bool:
        """Whether it may have room later."""
        return self.budget.when_short == "wait" and self.standing.could_have_room(self.budget.limit, wanted)


class Ledger:
    """What one run may still spend.

    Args:
        terms: What its program's runs may spend.
        journal: Its journal.

    Attributes:
        overdue: Why the run was ended, if its time is over; else None.
    """

    __slots__ = ("_clock", "_elapsed", "_journal", "_prefix", "_spending", "_waiting", "overdue", "terms")

    def __init__(self, terms: Metering, journal: Journal) -> None:
        self.terms = terms
        self.overdue: OverBudget | None = None
        self._journal = journal
        self._prefix = hashlib.sha256(journal.run_id.encode()).hexdigest()[:12]
        self._spending = Spending()
        self._waiting: list[asyncio.Future[None]] = []
        self._elapsed = 0.0
        self._clock: asyncio.TimerHandle | None = None

    # ---- the time

    def start(self) -> None:
        """Begins to count the time of the task that goes on with the run."""
        if self.terms.seconds is not None:
            left, task = self.terms.seconds - self._elapsed, asyncio.current_task()
            assert task is not None
            self._clock = asyncio.get_running_loop().call_later(max(left, 0.0), self._end, task)

    def stop(self) -> None:
        """Counts it no more."""
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _end(self, task: asyncio.Task[Any]) -> None:
        self.overdue = OverBudget(f"run '{self._journal.run_id}' has gone on for its {self.terms.seconds:g} s")
        self._journal.is_called_off = True
        task.cancel()

    # ---- what is known from before

    async def restore(self, records: Iterable[Record]) -> None:
        """Takes in what was recorded; what is held settles at its most, as whoever held it is dead.

        In a tenant's ledger all that this run holds does, also what its journal does not know of. What the journal of a
        fork has of the run that it was forked off is not settled there again.
        """
        self._elapsed = time_under_lease(records)
        for event in (decode(one) for one in records if one.kind in TOLD):
            if isinstance(event, RunResumed):
                self._spending.rename(event.renamed)
            else:
                assert isinstance(event, BudgetReserved | BudgetSettled)
                self._spending.take(event)
        if self.terms.shared:
            await self.terms.tenants.forfeit(self._account, f"{self._prefix}-")
        for hold, held in list(self._spending.held.items()):
            self._count(held.call, hold, held.most, is_known=False)

    # ---- reservations

    def of(self, address: str, attempt: int) -> StepMeter:
        """What one attempt of a step may spend."""
        return StepMeter(self, address, attempt)

    async def reserve(self, call: str, attempt: int, most: Most) -> str:
        """As ``Meter.reserve``, with the call's whole address."""
        self._check_known(call, attempt, most)
        wanted, hold = most.known, f"{self._prefix}-{secrets.token_hex(8)}"
        while (short := await self._try(call, hold, wanted)) is not None:
            if not short.may_wait(wanted):
                raise self._refused(call, attempt, wanted, short.budget, _no_room(short, wanted))
            await self._changed(short.is_shared)
        event = BudgetReserved(*self._journal.head(call, now()), attempt, hold, wanted)
        self._journal.stage(event)
        try:
            if self._journal.live:
                await self._journal.flush(surely=True)
        except BaseException:
            await self.settle(call, hold, NOTHING)  # nothing is sent
            raise
        return hold

    async def settle(self, call: str, hold: str, used: Spend, *, is_known: bool = True) -> None:
        """As ``Meter.settle``, with the call's whole address."""
        if self.terms.shared:
            try:
                settling = self.terms.tenants.settle(self._account, hold, used)
                await uninterrupted(asyncio.ensure_future(settling))
            except StoreError as error:
                warning("budget.not_settled", run_id=self._journal.run_id, failure=str(error))
        self._count(call, hold, used, is_known=is_known)

    async def _try(self, call: str, hold: str, wanted: Spend) -> Short | None:
        """Holds it, if everything has room for it."""
        step = plain_address(call.partition("!")[0])
        for budget in self.terms.own:
            standing = self._spending.standing(step if budget.per == "step" else "")
            if not standing.has_room(budget.limit, wanted):
                return Short(budget, standing, False)
        self._spending.held[hold] = Held(step, call, wanted)  # before anybody else looks, while the store is asked
        short: Short | None = None
        try:
            short = await self._try_shared(hold, wanted)
        except BaseException:
            await self._give_back(hold)
            raise
        if short is not None:
            del self._spending.held[hold]
            self._wake()
        return short

    def _count(self, call: str, hold: str, used: Spend, *, is_known: bool) -> None:
        """Settles in the run's own ledger."""
        event = BudgetSettled(*self._journal.head(call, now()), hold, used, is_known)
        self._journal.stage(event)
        self._spending.take(event)
        self._wake()

    def _wake(self) -> None:
        """Has those look again who wait."""
        for one in self._waiting:
            if not one.done():
                one.set_result(None)

    async def _try_shared(self, hold: str, wanted: Spend) -> Short | None:
        if not self.terms.shared:
            return None
        limits = [one.limit for one in self.terms.shared]
        asked = self.terms.tenants.reserve(Hold(self._account, hold, wanted, TTL), limits)
        found = await uninterrupted(asyncio.ensure_future(asked))
        return None if found is None else Short(self.terms.shared[found.limit], found.standing, True)

    async def _give_back(self, hold: str) -> None:
        """Gives back what was held for nothing, when its task was cancelled, or its store failed."""
        self._spending.held.pop(hold, None)
        self._wake()
        with suppress(StoreError):  # it counts at its most then
            await uninterrupted(asyncio.ensure_future(self.terms.tenants.settle(self._account, hold, NOTHING)))

    async def _changed(self, is_shared: bool) -> None:
        """Waits until something was settled; where others share the ledger, not for long."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            await asyncio.wait([waiting], timeout=POLL if is_shared else None)
        finally:
            self._waiting.remove(waiting)

    @property
    def _account(self) -> str:
        return self._journal.tenant or ""

    def _check_known(self, call: str, attempt: int, most: Most) -> None:
        """Refuses what nobody can tell the most of.

        Raises:
            OverBudget: A budget limits it, and does not allow that.
        """
        for budget in (*self.terms.own, *self.terms.shared):
            unknown = budget.limit.unknown_in(most)
            if unknown is not None and budget.unpriced == "refuse":
                raise self._refused(call, attempt, most.known, budget, UNPRICED[unknown])

    def _refused(self, call: str, attempt: int, wanted: Spend, budget: Budget, why: str) -> OverBudget:
        message = f"the budget of {budget} {why}"
        self._journal.stage(BudgetRefused(*self._journal.head(call, now()), attempt, str(budget), wanted, message))
        return OverBudget(message)


class StepMeter:
    """What one attempt of a step may spend: a ``Meter``."""

    __slots__ = ("_address", "_attempt", "_ledger")

    def __init__(self, ledger: Ledger, address: str, attempt: int) -> None:
        self._ledger = ledger
        self._address = address
        self._attempt = attempt

    @property
    def prices(self) -> Mapping[str, Price]:
        """The deployment's prices."""
        return self._ledger.terms.prices

    @property
    def counts_tools(self) -> bool:
        """Whether calls of tools are counted."""
        return self._ledger.terms.counts_tools

    async def reserve(self, call: str, most: Most, /) -> str:
        """Holds the most that a call can spend."""
        return await self._ledger.reserve(self._whole(call), self._attempt, most)

    async def settle(self, call: str, hold: str, used: Spend, /, *, is_known: bool = True) -> None:
        """Gives back what is held, and counts what was spent."""
        await self._ledger.settle(self._whole(call), hold, used, is_known=is_known)

    @asynccontextmanager
    async def unseen(self) -> AsyncIterator[list[Usage | None]]:
        """Around an agent whose requests nobody sees: gives a list that takes what it has used."""
        hold = await self.reserve("run", UNKNOWN)
        used: list[Usage | None] = []
        try:
            yield used
        finally:
            usage = used[0] if used else None
            await self.settle("run", hold, NOTHING if usage is None else spend_of(usage), is_known=usage is not None)

    def _whole(self, call: str) -> str:
        return f"{self._address}!{encoded_name(call)}"


def spend_of(usage: Usage) -> Spend:
    """What an agent has used, as ledgers count it; a cost that is not known is none."""
    tokens = usage.input_tokens + usage.output_tokens
    return Spend(usage.cost_usd or NOTHING.cost_usd, tokens, usage.requests, usage.tool_calls)


def time_under_lease(records: Iterable[Record]) -> float:
    """For how many seconds a run has gone on: from each time that it began or was resumed to the last record of that.

    What it waited for people does not count.
    """
    total, began, last = 0.0, 0.0, 0.0
    for record in records:
        if record.kind in BEGINNINGS:
            total, began = total + max(last - began, 0.0), record.at
        last = record.at
    return total + max(last - began, 0.0)


UNPRICED = {
    "cost_usd": "takes no request of which the most that it can cost is not known; give the model a price with"
    " 'prices=', a bound with 'max_tokens', or allow it with 'unpriced=\"allow\"'",
    "tokens": "takes no request that has no bound; give its settings 'max_tokens', or allow it with"
    " 'unpriced=\"allow\"'",
    "requests": "takes no agent whose requests are not seen; allow it with 'unpriced=\"allow\"'",
    "tool_calls": "takes no agent whose tool calls are not seen; allow it with 'unpriced=\"allow\"'",
}
"""What is said of a call of which the most that it can spend is not known, by the amount."""


def _no_room(short: Short, wanted: Spend) -> str:
    from flujo_core.model.budget import WORDS  # noqa: PLC0415 - whoever has budgets has imported it

    name = short.budget.limit.passed_by(short.standing.spent.plus(short.standing.held).plus(wanted))
    assert name is not None
    place = Spend._fields.index(name)
    spent, held, more = short.standing.spent[place], short.standing.held[place], wanted[place]
    under_way = f", and {held} are held for what is under way" if held else ""
    return f"has no room for a call that may come to {more} {WORDS[name]}: {spent} are spent{under_way}"
