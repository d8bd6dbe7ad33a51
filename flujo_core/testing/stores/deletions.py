"""What is checked of how a store deletes: all of one run, by whom has its lease, and nothing of another."""

from __future__ import annotations

from flujo_core.errors import LeaseLost, UnknownRun
from flujo_core.testing.stores.place import LONG, Place, answer, cancel, claim, record, refusal


async def deletes(place: Place) -> None:
    """A run that is deleted is gone for both handles, and its id is free; others stay as they are."""
    kept, lease = await place.asked("kept"), await place.asked("run")
    await place.other.post(cancel(lease), seen=0)
    before = await place.kept(kept), await place.summary(kept), await place.other.questions(run_id=kept.run_id)
    stale = lease._replace(epoch=9)
    await refusal(place.other.delete(stale), LeaseLost, "a run is deleted by who has not got its lease")
    claim(len(await place.kept(lease)) == 2, "a run is gone that was not deleted")
    await place.other.delete(lease)
    for handle in (place.one, place.other):
        left = [*await handle.read(lease.run_id), *await handle.mail(lease.run_id)]
        left += await handle.questions(run_id=lease.run_id)
        claim(not left and await handle.run(lease.run_id) is None, "something is left of a run that was deleted")
    await refusal(place.one.delete(lease), UnknownRun, "a run is deleted that there is not")
    late = place.one.append([record(lease.run_id, 3)], lease)
    await refusal(late, UnknownRun, "a record is appended to a run that was deleted")
    await refusal(place.one.post(answer(lease), seen=0), UnknownRun, "a run that was deleted is answered")
    after = await place.kept(kept), await place.summary(kept), await place.other.questions(run_id=kept.run_id)
    claim(after == before, "another run has changed when one was deleted")
    again = await place.begun("run", record(lease.run_id, 2))
    claim(len(await place.kept(again)) == 2 and not await place.other.mail(lease.run_id), "its id is not free again")
    await place.one.append([], again, release=True)
    released = place.other.delete(again)
    await refusal(released, LeaseLost, "a run is deleted by who has given its lease back")
    await place.one.delete(await place.other.acquire(again.run_id, "second", LONG))
