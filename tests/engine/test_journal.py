"""The journal of a run while it goes on."""

from __future__ import annotations

import asyncio

from flujo_core import MemoryStore, RunEvent, StepStarted
from flujo_core.backend.task import uninterrupted
from flujo_core.engine.journal import Journal
from flujo_core.engine.lease import first_lease


def test_an_event_is_heard_only_after_it_is_durable() -> None:
    async def main() -> None:
        store = MemoryStore()
        heard: asyncio.Queue[RunEvent] = asyncio.Queue()
        journal = Journal("r", None, store, heard)
        journal.lease = first_lease("r")
        journal.stage(StepStarted("r", None, journal.next(), 1.0, "a", 1))
        assert heard.empty() and await store.read("r") == []
        await journal.flush()
        assert heard.qsize() == 1 and len(await store.read("r")) == 1

    asyncio.run(main())


def test_work_that_is_not_to_be_interrupted_ends_before_its_cancellation_does() -> None:
    ended: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0.01)
        ended.append("work")

    async def main() -> None:
        task = asyncio.create_task(uninterrupted(work()))
        for _ in range(3):
            await asyncio.sleep(0.001)
            task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() and ended == ["work"]

    asyncio.run(main())
