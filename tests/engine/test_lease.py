"""Leases, and what races with them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from flujo_core import AlreadyAnswered, Flujo, HumanInput, MemoryStore, PauseForHumanInput, step
from flujo_core.engine import lease
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
