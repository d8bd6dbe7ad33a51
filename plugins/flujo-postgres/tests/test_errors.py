"""What goes wrong with a server, told by kind and without passwords and values."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from flujo_postgres import PostgresStore, PostgresUnavailable
from flujo_postgres.errors import failure
from flujo_postgres.url import location

from flujo_core import ConfigurationError, Lease, Record, StoreError, StoreFull, StoreRefused

SECRET = "s3cret-w0rd"


def refused(url: str, kind: type[StoreError]) -> str:
    """The message of the error that a store's first use raises."""

    async def main() -> str:
        store = PostgresStore(url)
        try:
            with pytest.raises(kind) as caught:
                await store.run("r")
        finally:
            await store.close()
        text = "".join(traceback.format_exception(caught.value))
        assert SECRET not in text and "wr0ng" not in str(caught.value)
        return str(caught.value)

    return asyncio.run(main())


async def executed(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url.partition("?")[0])
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


def test_a_server_that_is_not_there(unused: Callable[[], int]) -> None:
    url = f"postgresql://flujo:{SECRET}@127.0.0.1:{unused()}/postgres"
    assert "is away" in refused(url, PostgresUnavailable)


def test_a_wrong_password(server: Any) -> None:
    assert "check user and password" in refused(server.url(password="wr0ng"), StoreRefused)


def test_a_database_that_there_is_not(server: Any) -> None:
    assert "create it first" in refused(server.url(database="nowhere"), StoreRefused)


def test_a_schema_of_something_else_is_left_alone(server: Any) -> None:
    url = server.url("foreign_one")
    asyncio.run(executed(url, "create schema foreign_one", "create table foreign_one.run (x int)"))
    assert "of something else" in refused(url, StoreRefused)
    asyncio.run(executed(url, "select x from foreign_one.run"))


def test_a_store_of_another_application_is_left_alone(server: Any) -> None:
    url = server.url("foreign_two")
    table = "create table foreign_two.store (application text, version int)"
    asyncio.run(executed(url, "create schema foreign_two", table, "insert into foreign_two.store values ('x', 1)"))
    assert "another application" in refused(url, StoreRefused)


def test_a_store_of_a_later_version_is_left_alone(server: Any) -> None:
    url = server.url("later")

    async def made() -> None:
        store = PostgresStore(url)
        await store.run("r")
        await store.close()

    asyncio.run(made())
    asyncio.run(executed(url, "update later.store set version = 99"))
    assert "version 99" in refused(url, StoreRefused)


def test_what_cannot_be_written_fails_alone_and_is_not_quoted(server: Any) -> None:
    async def main() -> None:
        store = PostgresStore(server.url())

        async def begun(run_id: str, address: str) -> None:
            record = Record(run_id, None, 1, "run_started", address, "running", 1.0, b"{}")
            await store.append([record], Lease(run_id, 1, "h", 30.0))

        found = await asyncio.gather(
            *(begun(f"r{number}", "private\0text" if number == 3 else "a") for number in range(6)),
            return_exceptions=True,
        )
        assert [number for number, one in enumerate(found) if one is not None] == [3]
        assert isinstance(found[3], StoreError) and "private" not in "".join(traceback.format_exception(found[3]))
        assert [run.run_id for run in await store.runs()] == ["r5", "r4", "r2", "r1", "r0"]
        await store.close()

    asyncio.run(main())


def test_a_full_disk_has_its_kind() -> None:
    assert isinstance(failure("here", asyncpg.DiskFullError("x")), StoreFull)


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://u:{SECRET}@h/d", f"postgresql://u:{SECRET}@h:port/d", f"postgresql://u:{SECRET}@h/d?schema=A-b",
        f"postgresql://u:{SECRET}@h/d?schema=pg_x", f"postgresql://u:{SECRET}@h/d#x", f"postgresql://u:{SECRET}@[h/d",
    ],
)  # fmt: skip
def test_a_url_that_names_no_store_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        location(url)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_no_representation_has_the_password() -> None:
    store = PostgresStore(f"postgres://u:{SECRET}@h:1/d?schema=mine&sslmode=disable")
    assert repr(store) == "<PostgresStore postgresql://h:1/d (schema 'mine')>"
    assert SECRET not in repr(location(f"postgres://u:{SECRET}@h/d"))
    assert location("postgres://u@h/d?schema=mine&sslmode=disable").dsn == "postgresql://u@h/d?sslmode=disable"
