"""Who may write a run: what a holder is called, when it is dead, and how its lease is kept while it lives."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from itertools import count
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from flujo_core.engine.journal import Journal, now
from flujo_core.errors import LeaseLost, RunBusy, StoreError
from flujo_core.log import warning
from flujo_core.store.protocol import Lease, WatchableStore

if TYPE_CHECKING:
    from flujo_core.store.protocol import Store

TTL = 30.0
"""Seconds that a lease lasts from the last append or renewal."""

TICK = 3.0
"""Seconds between two looks at the runs that this process goes on with."""

_numbers = count(1)
_held: set[str] = set()
"""The holders in this process that have not let go."""


def new_holder() -> str:
    """What the next run of this process is called as a holder: host, boot, process, when that began, and a number."""
    return f"{_process()}|{next(_numbers)}"


def first_lease(run_id: str) -> Lease:
    """The lease that a run is begun with."""
    return Lease(run_id, 1, new_holder(), TTL)


def hold(holder: str) -> None:
    """Says that a holder of this process is at work."""
    _held.add(holder)


def let_go(holder: str) -> None:
    """Says that it is not any more."""
    _held.discard(holder)


def is_dead(holder: str) -> bool:
    """Whether a holder is known to be dead: a process of this host and boot that is gone, or a run of this one."""
    try:
        host, boot, pid, began, _ = holder.rsplit("|", 4)
    except ValueError:
        return False
    here = _process().rsplit("|", 3)
    if [host, boot] != here[:2]:
        return False
    if [pid, began] == here[2:]:
        return holder not in _held
    return _began(int(pid)) != began


async def acquired(store: Store, run_id: str) -> Lease:
    """Takes the lease of a run; that of a dead holder at once.

    Raises:
        RunBusy: Somebody who lives, or of whom that cannot be told, has it.
        UnknownRun: There is no such run.
    """
    holder = new_holder()
    try:
        lease = await store.acquire(run_id, holder, TTL)
    except RunBusy as busy:
        if not is_dead(busy.holder):
            raise
        lease = await store.acquire(run_id, holder, TTL, instead_of=busy.epoch)
    hold(holder)
    return lease


@cache
def _process() -> str:
    """This process; made anew in a fork."""
    pid = os.getpid()
    return f"{_host()}|{_boot()}|{pid}|{_began(pid)}"


def _host() -> str:
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")


def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:  # pragma: no cover - not on Linux
        return ""


def _began(pid: int) -> str:
    """When a process began, in the kernel's ticks since boot; empty if there is none that runs."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            facts = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if facts[0] in "ZX" else facts[19]


def _forked() -> None:
    """A fork is another process, and has no run."""
    _process.cache_clear()
    _held.clear()


if hasattr(os, "register_at_fork"):  # pragma: no branch - not on Windows
    os.register_at_fork(after_in_child=_forked)


class Keeper:
    """Keeps the leases of the runs of one event loop, and looks for wishes to cancel them."""

    def __init__(self) -> None:
        self._tasks: dict[Journal, asyncio.Task[object]] = {}
        self._watching: asyncio.Task[None] | None = None
        self._watched: dict[Store, Callable[[], None] | None] = {}
        self._looks: set[asyncio.Task[None]] = set()

    def keep(self, journal: Journal) -> None:
        """Keeps the lease of the run that the current task goes on with."""
        task = asyncio.current_task()
        assert task is not None
        hold(journal.lease.holder)
        self._tasks[journal] = task
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())
        assert journal.store is not None
        if journal.store not in self._watched:
            self._watched[journal.store] = self._listen(journal.store)

    def let_go(self, journal: Journal) -> None:
        """Keeps it no more."""
        let_go(journal.lease.holder)
        self._tasks.pop(journal, None)
        if not self._tasks and self._watching is not None:
            self._watching.cancel()
            self._watching = None
            for stop in filter(None, self._watched.values()):
                stop()
            self._watched.clear()

    def _listen(self, store: Store) -> Callable[[], None] | None:
        """Has a store say at once that a run has mail, if it can; gives what ends that."""
        if not isinstance(store, WatchableStore):
            return None
        loop = asyncio.get_running_loop()

        def heard(run_id: str) -> None:
            with suppress(RuntimeError):  # the loop is closed: nothing goes on here any more
                loop.call_soon_threadsafe(self._look_soon, run_id)

        return store.watch(heard)

    def _look_soon(self, run_id: str) -> None:
        look = asyncio.create_task(self.look(run_id))
        self._looks.add(look)
        look.add_done_callback(self._looks.discard)

    async def look(self, run_id: str) -> None:
        """Looks at a run at once, if it goes on here."""
        for journal in list(self._tasks):
            if journal.run_id == run_id:
                await self._look(journal)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            for journal in list(self._tasks):
                await self._look(journal)

    def _keeps(self, journal: Journal) -> bool:
        """Whether there is a lease to lose: nothing may be in the store yet, or the run has paused or ended."""
        return journal.is_held and journal in self._tasks

    async def _look(self, journal: Journal) -> None:
        """Renews a lease that has not been written for long; cancels a run that has lost it, or is to be cancelled."""
        store, lease = journal.store, journal.lease
        assert store is not None
        if not self._keeps(journal):
            return
        try:
            if now() - journal.written > lease.ttl / 3:
                await store.renew(lease)
                journal.written = now()
            wanted = any(one.kind == "cancel" for one in await store.mail(journal.run_id, after=journal.taken))
        except LeaseLost as lost:
            if self._keeps(journal):  # else it was given back meanwhile
                journal.lose(lost)
            wanted = True
        except Exception as error:  # whatever a store raises, the other runs are looked at
            failure = str(error) if isinstance(error, StoreError) else type(error).__name__
            warning("lease.not_renewed", run_id=journal.run_id, failure=failure)
            return
        if wanted and self._keeps(journal):
            journal.is_called_off = True
            self._tasks[journal].cancel()


_keepers: WeakKeyDictionary[asyncio.AbstractEventLoop, Keeper] = WeakKeyDictionary()


def keeper() -> Keeper:
    """That of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _keepers.get(loop)
    if found is None:
        found = _keepers[loop] = Keeper()
    return found
