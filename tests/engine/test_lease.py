"""Leases, and what races with them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from flujo_core import AlreadyAnswered, Flujo, HumanInput, MemoryStore, PauseForHumanInput, RunFailed, step
from flujo_core.engine import lease
from flujo_core.engine.inbox import post_cancel
from flujo_core.engine.journal import Journal
from flujo_core.errors import LeaseLost, NotAnApprover
from flujo_core.store.protocol import Lease, Mail, Record


class Shaky(MemoryStore):
    """Raises what it is told to."""

    error: Exception | None = None
    looks = 0

    async def mail(self, run_id: str, /, *, after: int = 0) -> Sequence[Mail]:
        self.looks += 1
        if self.error is not None:
            raise self.error
        return await super().mail(run_id, after=after)


@step
async def slow(text: str) -> str:
    await asyncio.sleep(0.1)
    return text


@step
async def vote(text: str) -> str | PauseForHumanInput[str]:
    return PauseForHumanInput(text, str, quorum=2)


def test_a_store_that_cannot_be_asked_leaves_the_run_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "TICK", 0.01)
    store = Shaky()
    store.error = OSError("gone")
    assert Flujo(slow, store=store).run("a").output == "a"
    assert store.looks


def test_a_lost_lease_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "TICK", 0.01)
    store = Shaky()
    store.error = LeaseLost("taken")
    with pytest.raises(LeaseLost):
        Flujo(slow, store=store).run("a")


def test_a_lease_that_was_given_back_is_not_looked_at() -> None:
    async def main() -> None:
        store, keeper = Shaky(), lease.keeper()
        journal = Journal("r", None, store, None)
        journal.lease = Lease("r", 1, lease.new_holder(), 30.0)
        keeper.keep(journal)
        await keeper.look("other")
        await keeper.look("r")
        assert not store.looks
        keeper.let_go(journal)

    asyncio.run(main())


def test_a_vote_needs_a_name() -> None:
    flujo: Any = Flujo(vote, store=MemoryStore())
    run_id = flujo.run("a").run_id
    with pytest.raises(NotAnApprover, match="needs 2 answers"):
        flujo.resume(run_id, "yes")


def test_an_answered_question_gets_no_new_token() -> None:
    async def main() -> None:
        store = MemoryStore()
        flujo: Any = Flujo(HumanInput("ask", str, ask="ok?"), store=store)
        run = await flujo.run_async("a")
        await store.acquire(run.run_id, "elsewhere", 30.0)
        await flujo.resume_async(run.run_id, "yes")
        with pytest.raises(AlreadyAnswered):
            await flujo.reissue_async(run.run_id, "ask")

    asyncio.run(main())


def test_a_lease_that_was_not_written_for_long_is_renewed() -> None:
    async def main() -> None:
        store, keeper = Shaky(), lease.keeper()
        held = Lease("r", 1, lease.new_holder(), 30.0)
        await store.append([Record("r", None, 1, "run_started", "", "running", 1.0, b"{}")], held)
        journal = Journal("r", None, store, None)
        journal.lease, journal.is_held = held, True
        keeper.keep(journal)
        await keeper.look("r")
        renewed = journal.written
        await keeper.look("r")
        assert renewed > 0 and journal.written == renewed
        keeper.let_go(journal)

    asyncio.run(main())


def test_a_fork_has_none_of_its_parents_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_held", {"holder": 1})
    lease._forked()
    assert not lease._held


def test_a_lease_that_is_lost_after_it_was_given_back_is_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        store, keeper = Shaky(), lease.keeper()
        journal = Journal("r", None, store, None)
        journal.lease, journal.is_held, journal.written = Lease("r", 1, lease.new_holder(), 30.0), True, lease.now()

        async def lost(run_id: str, /, *, after: int = 0) -> Sequence[Mail]:
            journal.is_held = False
            raise LeaseLost("taken")

        monkeypatch.setattr(store, "mail", lost)
        keeper.keep(journal)
        await keeper.look("r")
        assert journal.failure is None and not journal.is_called_off
        keeper.let_go(journal)

    asyncio.run(main())


class Telling(MemoryStore):
    """Says at once that a run has mail."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Callable[[str], None]] = []
        self.once: list[Callable[[str], None]] = []

    def watch(self, heard: Callable[[str], None], /) -> Callable[[], None]:
        self.heard.append(heard)
        self.once.append(heard)
        return lambda: self.heard.remove(heard)

    async def post(self, mail: Mail, /, *, seen: int) -> bool:
        posted = await super().post(mail, seen=seen)
        for heard in self.heard:
            heard(mail.run_id)
        return posted


@step
async def endless(text: str) -> str:
    await asyncio.sleep(60)
    return text


def test_a_store_that_tells_of_mail_cancels_a_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "TICK", 60.0)

    async def main() -> None:
        store = Telling()
        flujo = Flujo(endless, store=store)
        runs = [asyncio.create_task(flujo.run_async("a", run_id=name)) for name in ("r", "other")]
        await asyncio.sleep(0.05)
        assert len(store.heard) == 1  # for all runs of this loop
        for name in ("r", "other"):
            await post_cancel(store, name)
        for run in runs:
            with pytest.raises(RunFailed) as failed:
                await asyncio.wait_for(run, 5)
            assert failed.value.result.status == "cancelled"
        assert store.heard == []

    asyncio.run(main())


def test_mail_that_is_told_of_when_the_loop_is_over_is_nobodys() -> None:
    store = Telling()
    assert Flujo(slow, store=store).run("a").output == "a"
    store.once[0]("r")
