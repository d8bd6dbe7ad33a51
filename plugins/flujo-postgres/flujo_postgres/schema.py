"""The store's tables: how they are made and brought up to date, and which schema is refused."""

from __future__ import annotations

import asyncpg

from flujo_core import StoreRefused
from flujo_postgres.url import Location

APPLICATION = "flujo-postgres"

MIGRATIONS = (
    """
    create table run (
        run_id text collate "C" primary key,
        tenant text,
        status text not null,
        started_at float8 not null,
        updated_at float8 not null,
        records bigint not null,
        epoch bigint not null,
        held_until float8 not null,
        holder text not null,
        mail bigint not null,
        taken bigint not null
    ) with (fillfactor = 50);
    create index run_by_age on run (started_at, run_id);
    create index run_by_status on run (status, started_at, run_id);
    create index run_by_tenant on run (tenant, started_at, run_id) where tenant is not null;
    create table record (
        run_id text collate "C" not null,
        sequence bigint not null,
        kind text not null,
        address text not null,
        outcome text not null,
        at float8 not null,
        payload bytea not null,
        epoch bigint not null,
        expires_at float8,
        token_hash text,
        question bigint not null,
        primary key (run_id, sequence)
    );
    create table question (
        run_id text collate "C" not null,
        tenant text,
        sequence bigint not null,
        address text not null,
        asked_at float8 not null,
        expires_at float8,
        primary key (run_id, sequence)
    );
    create index question_by_age on question (asked_at, run_id, sequence);
    create table mail (
        run_id text collate "C" not null,
        number bigint not null,
        kind text not null,
        question bigint not null,
        at float8 not null,
        payload bytea not null,
        voter text,
        token_hash text,
        primary key (run_id, number)
    );
    """,
    """
    create table spent (
        account text collate "C" not null,
        minute bigint not null,
        cost numeric not null,
        tokens bigint not null,
        requests bigint not null,
        tool_calls bigint not null,
        primary key (account, minute)
    ) with (fillfactor = 50);
    create table held (
        account text collate "C" not null,
        name text collate "C" not null,
        at float8 not null,
        until float8 not null,
        cost numeric not null,
        tokens bigint not null,
        requests bigint not null,
        tool_calls bigint not null,
        primary key (account, name)
    );
    """,
)
"""What brings a schema from each version to the next, from an empty one on. Ids are ordered as Python orders them."""

VERSION = len(MIGRATIONS)


async def prepare(connection: asyncpg.Connection, place: Location) -> None:
    """Makes the schema, or brings it up to date; one that is not ours is left as it is.

    Raises:
        StoreRefused: It is somebody else's, or of a later version.
    """
    if await _version(connection, place) == VERSION:
        return
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock(hashtext('flujo'), hashtext($1))", place.schema)
        version = await _version(connection, place)
        if version is None:
            version = await _begin(connection, place)
        for migration in MIGRATIONS[version:]:
            await connection.execute(migration)
        await connection.execute("update store set version = $1", VERSION)


async def _begin(connection: asyncpg.Connection, place: Location) -> int:
    """Makes what tells that the schema is a store's; it must be empty."""
    if not await connection.fetchval("select exists (select from pg_namespace where nspname = $1)", place.schema):
        await connection.execute(f'create schema "{place.schema}"')
    elif await connection.fetchval(
        "select exists (select from pg_class join pg_namespace n on n.oid = relnamespace where nspname = $1)",
        place.schema,
    ):
        raise StoreRefused(
            f"the schema of {place.shown} is of something else; give the store one of its own with '?schema=NAME'"
        )
    await connection.execute("create table store (application text not null, version int not null)")
    await connection.execute("insert into store values ($1, 0)", APPLICATION)
    return 0


async def _version(connection: asyncpg.Connection, place: Location) -> int | None:
    """The version of the store that is there, or None."""
    if not await connection.fetchval(
        "select count(*) = 2 from information_schema.columns"
        " where table_schema = $1 and table_name = 'store' and column_name in ('application', 'version')",
        place.schema,
    ):
        return None
    row = await connection.fetchrow("select application, version from store")
    if row is None or row["application"] != APPLICATION:
        raise StoreRefused(f"{place.shown} is of another application; give the store a schema with '?schema=NAME'")
    if row["version"] > VERSION:
        raise StoreRefused(
            f"{place.shown} has a store of version {row['version']}, and this flujo-postgres reads version {VERSION};"
            " use the one that wrote it; it was left as it is"
        )
    return int(row["version"])
