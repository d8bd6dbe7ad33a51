"""What is the store's own: any number of loops, mail that is told of at once, handles that are dropped."""

from __future__ import annotations

import asyncio
import gc
import threading
from time import monotonic, sleep
from typing import Any

import pytest
from flujo_postgres import PostgresStore

from flujo_core import Flujo, Lease, Mail, PluginSettings, Record, RunFailed, Settings, step


@step
async def same(text: str) -> str:
    return text


@step
async def endless(text: str) -> str:
    await asyncio.sleep(60)
    return text


def test_a_url_makes_runs_durable(server: Any) -> None:
    url = server.url()
    only = Settings(PluginSettings(allow=("flujo-postgres",)))  # the installed one, found by its entry point
    assert Flujo(same, store=url, settings=only).run("a", run_id="r").output == "a"
    other = PostgresStore(url)
    for _ in range(2):  # each in a loop of its own
        found = asyncio.run(other.run("r"))
        assert found is not None and found.status == "completed"
    asyncio.run(other.close())


def test_a_cancel_from_another_process_is_heard_at_once(server: Any) -> None:
    async def main() -> float:
        url = server.url()
        ours, theirs = PostgresStore(url), PostgresStore(url)
        run = asyncio.create_task(Flujo(endless, store=ours).run_async("a", run_id="r"))
        await asyncio.sleep(1.0)  # it has begun, and listens
        began = monotonic()
        assert await theirs.post(Mail("r", 0, "cancel", 0, 0.0, b"null"), seen=0)
        with pytest.raises(RunFailed) as failed:
            await run
        assert failed.value.result.status == "cancelled"
        await ours.close()
        await theirs.close()
        return monotonic() - began

    assert asyncio.run(main()) < 1.5, "the keeper's next look is 3 s away"


def test_it_hears_of_mail_again_when_the_server_is_back(server: Any) -> None:
    async def main() -> None:
        url = server.url()
        ours, theirs = PostgresStore(url), PostgresStore(url)
        lease = Lease("r", 1, "h", 30.0)
        await theirs.append([Record("r", None, 1, "run_started", "", "running", 1.0, b"{}")], lease)
        heard: list[str] = []
        stop = ours.watch(heard.append)
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
        for seen in range(100):
            await theirs.post(Mail("r", 0, "cancel", 0, 0.0, b"null"), seen=seen)
            await asyncio.sleep(0.1)
            if heard:
                break
        assert set(heard) == {"r"}
        stop()
        await ours.close()
        await theirs.close()

    asyncio.run(main())


def test_a_handle_that_is_dropped_ends_its_thread(server: Any) -> None:
    def ours() -> list[threading.Thread]:
        return [one for one in threading.enumerate() if one.name == "flujo-postgres"]

    before = len(ours())
    asyncio.run(PostgresStore(server.url()).time())
    for _ in range(100):
        gc.collect()
        if len(ours()) <= before:
            return
        sleep(0.05)
    raise AssertionError("its thread goes on")


def test_writes_of_many_runs_are_committed_together(server: Any) -> None:
    async def main() -> tuple[int, int]:
        store = PostgresStore(server.url())
        count = "select xact_commit from pg_stat_database where datname = current_database()"

        async def commits() -> int:
            await asyncio.sleep(1.5)  # the server's statistics come late
            return int(await store._served().use(lambda connection: connection.fetchval(count)))

        await store.run("r")
        before = await commits()
        await asyncio.gather(
            *(
                store.append(
                    [Record(f"r{number}", None, 1, "run_started", "", "running", 1.0, b"{}")],
                    Lease(f"r{number}", 1, "h", 30.0),
                )
                for number in range(300)
            )
        )
        found = len(await store.runs(limit=400)), await commits() - before
        await store.close()
        return found

    runs, commits = asyncio.run(main())
    assert runs == 300 and commits < 60
