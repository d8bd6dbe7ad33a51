"""Leases: SEMANTICS 10: one writer, fenced by its epoch; who is dead is replaced, who lives is waited for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from crash_kit import Counted, crashed, done, durable, events_in, eventually
from flow_kit import State, kinds

from flujo_core import (
    LeaseLost,
    MemoryStore,
    Parallel,
    Poisoned,
    Retry,
    RunBusy,
    RunFailed,
    RunInfo,
    SQLiteStore,
    StepError,
    Store,
    step,
)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "runs.db")


class Held:
    """A run whose step waits for a sign, and says whether it was cancelled."""

    def __init__(self, store: Store) -> None:
        self.store, self.sign, self.ran = store, asyncio.Event(), Counted()
        self.cancelled: list[str] = []
        self.epochs: list[int] = []

    def node(self) -> Any:
        held = self

        @step
        async def slow(value: int, info: RunInfo) -> int:
            held.epochs.append(info.epoch)
            try:
                await held.sign.wait()
            except asyncio.CancelledError:
                held.cancelled.append(info.address)
                raise
            return value

        return self.ran.plus("a") >> Parallel("fan", x=slow, y=slow) >> self.ran.total()

    async def begun(self) -> asyncio.Task[Any]:
        running = asyncio.create_task(durable(self.node(), self.store).run_async(1, run_id="r"))

        async def both() -> bool:
            return len(self.epochs) == 2

        await eventually(both)
        return running


def test_a_lease_names_its_holder_and_is_given_back_at_the_end(store: Store) -> None:
    async def main() -> None:
        held = Held(store)
        running = await held.begun()
        summary = await store.run("r")
        assert summary and summary.holder and summary.epoch == 1
        assert summary.held_until > await store.time()
        held.sign.set()
        await running
        summary = await store.run("r")
        assert summary and (summary.holder, summary.held_until) == ("", 0.0)
        await store.close()

    done(main())


def test_who_lives_is_not_replaced(store: Store) -> None:
    async def main() -> None:
        held = Held(store)
        running = await held.begun()
        with pytest.raises(RunBusy) as busy:
            await durable(held.node(), store).resume_async("r")
        summary = await store.run("r")
        assert summary and busy.value.until == summary.held_until and summary.epoch == 1
        held.sign.set()
        assert (await running).status == "completed" and len(held.epochs) == 2
        await store.close()

    done(main())


def test_who_loses_the_lease_cancels_its_leaves_and_writes_nothing_more(store: Store) -> None:
    async def main() -> None:
        held = Held(store)
        running = await held.begun()
        await store.acquire("r", "somebody else", 3600, instead_of=1)
        before = list(await store.read("r"))
        held.sign.set()
        with pytest.raises(LeaseLost):
            await running
        assert list(await store.read("r")) == before and held.ran["total"] == 0
        summary = await store.run("r")
        assert summary and (summary.holder, summary.epoch, summary.status) == ("somebody else", 2, "running")
        await store.close()

    done(main())


def test_a_leaf_that_still_works_is_cancelled_when_a_sibling_finds_the_lease_lost() -> None:
    async def main() -> None:
        store, seen = MemoryStore(), list[str]()
        begun, go = asyncio.Event(), asyncio.Event()

        @step
        async def quick(value: int) -> int:
            await go.wait()
            return value

        @step
        async def endless(value: int) -> int:
            begun.set()
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise
            return value

        flujo = durable(Parallel("fan", x=quick, y=endless), store)
        running = asyncio.create_task(flujo.run_async(1, run_id="r"))
        await begun.wait()
        await store.acquire("r", "somebody else", 3600, instead_of=1)
        go.set()
        with pytest.raises(LeaseLost):
            await running
        assert seen == ["cancelled"]

    done(main())


def test_each_holder_has_a_higher_epoch_and_steps_see_it(store: Store) -> None:
    ran = Counted()

    async def main() -> None:
        node = ran.plus("a") >> ran.asks("ask") >> ran.plus("b") >> ran.asks("again") >> ran.plus("c")
        flujo = durable(node, store)
        await flujo.run_async(1, run_id="r")
        await flujo.resume_async("r", 5)
        await flujo.resume_async("r", 6)
        (a,), (b,), (c,) = (ran.epochs[name] for name in "abc")
        assert a == 1 and a < b < c
        epochs = [record.epoch for record in await store.read("r")]
        assert epochs == sorted(epochs)
        await store.close()

    done(main())


def test_a_dead_holder_of_this_process_is_replaced_at_once(store: Store) -> None:
    ran = Counted()

    async def main() -> None:
        node = ran.plus("a") >> ran.plus("b") >> ran.plus("c")
        assert await crashed(node, 1, store, 3)
        summary = await store.run("r")
        assert summary and summary.held_until > await store.time() + 1, "its lease has not run out"
        result = await durable(node, store).resume_async("r")
        assert result.output == 4
        await store.close()

    done(main())


def test_a_holder_of_another_host_is_waited_for_until_its_lease_has_run_out() -> None:
    ran = Counted()

    async def main() -> None:
        store = MemoryStore()
        node = ran.plus("a") >> ran.plus("b")
        assert await crashed(node, 1, store, 2)
        times = dict(ran)
        lease = await store.acquire("r", "another host, another boot, 1, 2, 3", 0.4, instead_of=1)
        with pytest.raises(RunBusy):
            await durable(node, store).resume_async("r")
        assert not await durable(node, store).recover_async() and ran == times
        await asyncio.sleep(0.5)
        assert (await durable(node, store).resume_async("r")).output == 3
        with pytest.raises(LeaseLost):
            await store.renew(lease)

    done(main())


def test_of_two_who_go_on_with_a_crashed_run_at_once_one_does(store: Store) -> None:
    ran = Counted()

    async def main() -> None:
        node = ran.plus("a") >> ran.plus("b") >> ran.plus("c")
        assert await crashed(node, 1, store, 2)
        ran.clear()
        calls = [durable(node, store).resume_async("r") for _ in range(6)]
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(one, RunBusy) or getattr(one, "output", None) == 4 for one in found), found
        assert set(ran.values()) == {1}
        await store.close()

    done(main())


# -------------------------------------------------------------------------------------------------------------- poison


def test_a_leaf_that_was_begun_three_times_without_an_outcome_is_poisoned(store: Store) -> None:
    """Its process died each time; the fourth begin fails it."""
    begun: list[int] = []

    @step
    async def deadly(value: int, info: RunInfo) -> int:
        begun.append(info.epoch)
        await asyncio.sleep(3600)
        return value

    async def dies(number: int) -> None:
        """Takes the lease away without a trace, as a kill does."""
        flujo = durable(Counted().plus("a") >> deadly, store)
        running = asyncio.create_task(flujo.run_async(1, run_id="r") if number == 1 else flujo.resume_async("r"))

        async def works() -> bool:
            return len(begun) == number

        await eventually(works)
        summary = await store.run("r")
        assert summary
        lost = await store.acquire("r", "nobody", 3600, instead_of=summary.epoch)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await store.release(lost)

    async def main() -> None:
        for number in (1, 2, 3):
            await dies(number)
        with pytest.raises(RunFailed) as failed:
            await durable(Counted().plus("a") >> deadly, store).resume_async("r")
        cause = failed.value.__cause__
        assert isinstance(cause, Poisoned) and isinstance(cause, StepError) and "deadly" in str(cause)
        assert len(begun) == 3 and begun == sorted(set(begun))
        await store.close()

    done(main())


def test_a_retry_after_a_failed_attempt_is_no_poison() -> None:
    """Only begins without an outcome count."""
    ran = Counted()

    async def main() -> None:
        store = MemoryStore()
        result = await durable(ran.plus("a", fails=5).policy(retry=Retry(attempts=6)), store).run_async(1, run_id="r")
        assert result.output == 2 and ran["a"] == 6
        assert kinds(await events_in(store)).count("attempt_failed a") == 5

    done(main())


def test_context_of_a_lost_run_is_what_was_committed(store: Store) -> None:
    async def main() -> None:
        held = Held(store)
        running = await held.begun()
        await store.acquire("r", "somebody else", 0.001, instead_of=1)
        held.sign.set()
        with pytest.raises(LeaseLost):
            await running
        await asyncio.sleep(0.01)
        result = await durable(held.node(), store).resume_async("r")
        assert result.status == "completed" and held.ran == {"a": 1, "total": 1}
        assert result.context == State(log=["a"], sum=1)
        assert held.epochs == [1, 1, 3, 3], "both branches ran again, under the new lease"
        await store.close()

    done(main())
