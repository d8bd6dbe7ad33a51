"""What is checked of a store's journals: what comes back, what is refused, that nothing is torn."""

from __future__ import annotations

import asyncio

from flujo_core.errors import RunExists, StoreError
from flujo_core.store.protocol import ASKED, Lease, Record
from flujo_core.testing.stores.place import LONG, Place, claim, record, refusal

ODD_NAMES = ("a'b\"c;--", "ü/\u2028\n", "\U0001d518-日本", "x" * 2000, "%_*", " ")

ODD_PAYLOADS = (b"", b"\x00\xff\n{}", bytes(range(256)), "\u2028é".encode(), b"x" * 300_000)


async def keeps(place: Place) -> None:
    """Records come back as they were, whatever they hold."""
    for number, name in enumerate(ODD_NAMES):
        lease = await place.begun(name, *_odd_records(place.name(name)))
        found = await place.kept(lease)
        wanted = [record(lease.run_id, 1, "run_started", "running"), *_odd_records(lease.run_id)]
        claim(found == wanted, f"records do not come back as they were appended (run id {number} of ODD_NAMES)")
        claim(all(type(one.payload) is bytes for one in found), "a payload does not come back as bytes")
    claim(not await place.other.read(place.name("?")), "'read' of a run that there is not gives something")
    claim(await place.other.run(place.name("?")) is None, "'run' of a run that there is not gives something")


def _odd_records(run_id: str) -> list[Record]:
    odd = [record(run_id, sequence, payload=payload) for sequence, payload in enumerate(ODD_PAYLOADS, 2)]
    asked = record(run_id, len(odd) + 2, ASKED, address="a/b%20c[1]", at=1.123456789012, expires_at=2.5e9)
    odd.append(asked._replace(token_hash="f" * 64))
    odd.append(record(run_id, len(odd) + 2, "question_answered", question=len(odd) + 1))
    return odd


async def orders(place: Place) -> None:
    """Records come in order, and from where one asks; also those of long journals."""
    lease = await place.begun()
    for first in range(2, 1000, 7):
        await place.one.append([record(lease.run_id, first + more) for more in range(7)], lease)
    sequences = [one.sequence for one in await place.kept(lease)]
    claim(sequences == list(range(1, len(sequences) + 1)), "'read' gives records out of order, or not all of them")
    for after in (1, 500, len(sequences) - 1, len(sequences), 10**6):
        found = [one.sequence for one in await place.other.read(lease.run_id, after=after)]
        claim(found == sequences[after:], "'read' with 'after' does not begin behind that record")


async def refuses_gaps(place: Place) -> None:
    """A place that is taken, or leaves a gap, is refused; nothing is written."""
    lease = await place.begun("run", record(place.name("run"), 2))
    before = await place.kept(lease), await place.summary(lease)
    again = place.one.append([record(lease.run_id, 1, "run_started", "running")], lease)
    await refusal(again, RunExists, "a run is begun that there is")
    for sequence in (2, 4, 9):
        wrong = place.one.append([record(lease.run_id, sequence, "run_ended", "failed")], lease)
        await refusal(wrong, StoreError, f"record {sequence} is appended to a journal of 2")
    unknown = Lease(place.name("nobody"), 1, "first", LONG)
    await refusal(place.one.append([record(unknown.run_id, 2)], unknown), StoreError, "a run begins with record 2")
    claim((await place.kept(lease), await place.summary(lease)) == before, "what was refused has changed the run")


async def tears_nothing(place: Place) -> None:
    """An append is kept whole or not at all, also for who reads meanwhile."""
    lease = await place.begun()
    torn = [record(lease.run_id, 2), record(lease.run_id, 3), record(lease.run_id, 5)]
    await refusal(place.one.append(torn, lease), StoreError, "records with a gap between them are appended")
    claim(len(await place.kept(lease)) == 1, "of an append that was refused, a part was kept")
    writing = asyncio.ensure_future(_write_fives(place, lease))
    while not writing.done():
        await asyncio.sleep(0)
        count = len(await place.kept(lease))
        claim((count - 1) % 5 == 0, "who reads sees a part of an append")
        known = (await place.summary(lease)).records
        claim((known - 1) % 5 == 0, "'run' counts a part of an append")
    await writing


async def _write_fives(place: Place, lease: Lease) -> None:
    for first in range(2, 202, 5):
        await place.one.append([record(lease.run_id, first + more) for more in range(5)], lease)


async def begins_once(place: Place) -> None:
    """Of many who begin a run of one id, one does."""
    names = [f"writer {number}" for number in range(20)]
    leases = [Lease(place.name("run"), 1, name, LONG) for name in names]
    tries = [
        (place.one, place.other)[number % 2].append(
            [record(lease.run_id, 1, "run_started", "running", address=lease.holder)], lease
        )
        for number, lease in enumerate(leases)
    ]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    claim(outcomes.count(None) == 1, f"of 20 who begin one run, {outcomes.count(None)} do")
    claim(all(one is None or isinstance(one, RunExists) for one in outcomes), "who comes late does not get RunExists")
    winner = names[outcomes.index(None)]
    claim([one.address for one in await place.kept(leases[0])] == [winner], "the record kept is not the winner's")
    claim((await place.summary(leases[0])).holder == winner, "the lease is not the winner's")


async def keeps_apart(place: Place) -> None:
    """Many runs are written at once, through two handles; each has its own records."""
    leases = await asyncio.gather(*(place.begun(f"run {number}") for number in range(20)))

    async def work(number: int, lease: Lease) -> None:
        for sequence in range(2, 12):
            store = (place.one, place.other)[(number + sequence) % 2]
            await store.append([record(lease.run_id, sequence, address=f"{number}")], lease)

    await asyncio.gather(*(work(number, lease) for number, lease in enumerate(leases)))
    for number, lease in enumerate(leases):
        found = await place.kept(lease)
        right = len(found) == 11 and {one.address for one in found[1:]} == {f"{number}"}
        claim(right, "runs that are written at once lose records, or get those of others")


async def outlasts_closing(place: Place) -> None:
    """What was appended is there when the store was closed, and a store that was closed opens again."""
    lease = await place.begun()
    await place.one.close()
    await place.one.close()
    claim(len(await place.one.read(lease.run_id)) == 1, "what was appended is gone after 'close'")
    await place.one.append([record(lease.run_id, 2)], lease)
    claim(len(await place.kept(lease)) == 2, "a store that was closed cannot be written again")
