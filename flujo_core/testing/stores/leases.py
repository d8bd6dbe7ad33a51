"""What is checked of a store's leases: who may write."""

from __future__ import annotations

import asyncio

from flujo_core.errors import LeaseLost, RunBusy, UnknownRun
from flujo_core.testing.stores.place import LONG, SHORT, Place, claim, record, refusal


async def holds(place: Place) -> None:
    """A run that is held is busy, until it is let go."""
    lease = await place.begun()
    busy = await refusal(place.other.acquire(lease.run_id, "second", LONG), RunBusy, "a run that is held is acquired")
    left = busy.until - await place.one.time()
    claim(LONG / 2 < left <= LONG, "'RunBusy.until' is not when the lease runs out")
    claim((busy.holder, busy.epoch) == ("first", 1), "'RunBusy' does not tell the holder and its epoch")
    run = await place.summary(lease)
    claim((run.holder, run.epoch, run.held_until) == ("first", 1, busy.until), "'run' does not tell who has the lease")
    await place.one.append([record(lease.run_id, 2, "run_paused", "paused")], lease, release=True)
    run = await place.summary(lease)
    claim((run.holder, run.held_until) == ("", 0.0), "a lease that was given back with an append is still held")
    second = await place.other.acquire(lease.run_id, "second", LONG)
    claim(second[:3] == (lease.run_id, 2, "second"), "'acquire' does not give a lease of the next epoch")
    await place.other.release(second)
    claim((await place.summary(lease)).holder == "", "a lease that was released is still held")
    third = await place.one.acquire(lease.run_id, "third", LONG)
    claim(third.epoch == 3, "the epoch does not grow with each holder")
    unknown = place.one.acquire(place.name("nobody"), "first", LONG)
    await refusal(unknown, UnknownRun, "a run is acquired that there is not")


async def fences(place: Place) -> None:
    """Who has lost the lease writes nothing, and does not disturb who has it."""
    first = await place.begun()
    second = await place.other.acquire(first.run_id, "second", LONG, instead_of=1)
    before = await place.kept(first), await place.summary(first)
    late = place.one.append([record(first.run_id, 2), record(first.run_id, 3)], first)
    await refusal(late, LeaseLost, "records of an epoch that is over are appended")
    late = place.one.append([], first, taken=0, release=True)
    await refusal(late, LeaseLost, "a lease of an epoch that is over is given back with an append")
    await refusal(place.one.renew(first), LeaseLost, "a lease of an epoch that is over is renewed")
    await place.one.release(first)
    claim((await place.kept(first), await place.summary(first)) == before, "who has lost the lease has changed the run")
    await place.other.append([record(first.run_id, 2, epoch=2)], second)
    await place.other.release(second)
    await refusal(place.other.renew(second), LeaseLost, "a lease that was released is renewed")


async def runs_out(place: Place) -> None:
    """A lease runs out by the store's clock; an append or a renewal makes it last again."""
    for again in ("append", "renew"):
        lease = await place.begun(again, ttl=SHORT)
        ends = (await place.summary(lease)).held_until
        await place.past(ends - SHORT / 4)
        if again == "append":
            await place.one.append([record(lease.run_id, 2)], lease)
        else:
            await place.one.renew(lease)
        later = (await place.summary(lease)).held_until
        claim(later >= ends + SHORT / 4, f"'{again}' does not make a lease last again")
        await place.past(later)
        taken = await place.other.acquire(lease.run_id, "second", LONG)
        claim(taken.epoch == 2, "a lease that has run out is not taken with the next epoch")


async def goes_on_late(place: Place) -> None:
    """Who comes late, and finds that nobody has taken the lease, still has it."""
    lease = await place.begun(ttl=SHORT)
    await place.past((await place.summary(lease)).held_until)
    await place.one.append([record(lease.run_id, 2)], lease)
    held = await place.summary(lease)
    claim(held.held_until > await place.one.time(), "an append by a late holder does not make its lease last again")
    await refusal(place.other.acquire(lease.run_id, "second", LONG), RunBusy, "the lease is taken after that")


async def replaces_once(place: Place) -> None:
    """Of many who see the same dead holder, one gets its lease."""
    lease = await place.begun()
    wrong = place.other.acquire(lease.run_id, "second", LONG, instead_of=2)
    await refusal(wrong, RunBusy, "a holder is replaced whose epoch is not the one that is known to be dead")
    names = [f"racer {number}" for number in range(20)]
    tries = [
        (place.one, place.other)[number % 2].acquire(lease.run_id, name, LONG, instead_of=1)
        for number, name in enumerate(names)
    ]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    winners = [one for one in outcomes if not isinstance(one, BaseException)]
    claim(len(winners) == 1, f"of 20 who replace one dead holder, {len(winners)} do")
    claim(
        all(isinstance(one, RunBusy) for one in outcomes if one not in winners), "who comes late does not get RunBusy"
    )
    run = await place.summary(lease)
    claim((run.epoch, run.holder) == (2, winners[0].holder), "the lease is not the winner's")
