"""PostgreSQL: records in a table that nobody can change, as far as the server can see to that."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from flujo_audit_advanced.export.http import secret_of
from flujo_audit_advanced.export.sink import Exported, Options, SinkFailed, SinkRefused
from flujo_core import ConfigurationError

if TYPE_CHECKING:
    import asyncpg

TABLE: Final = """
CREATE TABLE IF NOT EXISTS {table} (
    origin text NOT NULL,
    number bigint NOT NULL,
    id text NOT NULL,
    kind text NOT NULL,
    at timestamptz NOT NULL,
    run text,
    record bytea NOT NULL,
    PRIMARY KEY (origin, number)
);
CREATE OR REPLACE FUNCTION {table}_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'the table {table} is append-only'; END $$;
CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION {table}_is_append_only();
CREATE OR REPLACE VIEW {table}_fields AS
    SELECT origin, number, convert_from(record, 'UTF8')::jsonb AS fields FROM {table};
REVOKE ALL ON {table}, {table}_fields FROM PUBLIC;
"""
"""The table, for who owns it; who writes it needs ``GRANT INSERT, SELECT`` only. An owner can still drop the trigger:
what the log proves, it proves all the same."""

INSERT: Final = """
INSERT INTO {table} (origin, number, id, kind, at, run, record)
SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::text[], $5::timestamptz[], $6::text[], $7::bytea[])
ON CONFLICT (origin, number) DO NOTHING
"""
OTHERS: Final = """
SELECT min(number) FROM {table} JOIN unnest($2::bigint[], $3::bytea[]) AS sent (n, data) ON number = n
WHERE origin = $1 AND record <> data
"""


class PostgresOptions(Options):
    """Options of the sink ``postgres``.

    Attributes:
        url_variable: The environment variable with the server's URL, which has the password in it.
        table: The table.
        create: Whether to make the table if it is not there, for which one needs to own the schema.
        timeout: Seconds in which the server has to answer.
    """

    kind: Literal["postgres"] = "postgres"
    url_variable: str = "FLUJO_AUDIT_POSTGRES_URL"
    table: str = "flujo_audit"
    create: bool = False
    timeout: float = 20.0


class PostgresSink:
    """Adds records to a table; one that is there already is left as it is, if it has the same bytes.

    Args:
        options: Where.

    Raises:
        ConfigurationError: There is no URL, no such library, or the table's name is none.
    """

    def __init__(self, options: PostgresOptions) -> None:
        if re.fullmatch(r"[a-z_][a-z0-9_]{0,40}", options.table) is None:
            raise ConfigurationError("the table of an export is named with up to 41 of a-z, 0-9 and '_'")
        self._options = options
        self._url = secret_of(options.url_variable, "URL of a PostgreSQL server")
        self._library = _library()
        self._connection: asyncpg.Connection[Any] | None = None

    async def send(self, records: Sequence[Exported], /) -> None:
        """Adds records, in one transaction."""
        library = self._library
        try:
            await self._add(await self._connected(), records)
        except (library.PostgresError, library.InterfaceError, OSError, TimeoutError) as error:
            await self.aclose()
            if isinstance(error, library.DataError):
                raise SinkRefused(f"the PostgreSQL server does not take it ({type(error).__name__})") from None
            raise SinkFailed(f"the PostgreSQL server has not taken it ({type(error).__name__})") from None

    async def aclose(self) -> None:
        """Lets go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _connected(self) -> asyncpg.Connection[Any]:
        if self._connection is not None:
            return self._connection
        timeout = self._options.timeout
        connection: asyncpg.Connection[Any] = await self._library.connect(
            self._url, timeout=timeout, command_timeout=timeout
        )
        self._connection = connection
        if self._options.create:
            await connection.execute(TABLE.format(table=self._options.table))
        return connection

    async def _add(self, connection: asyncpg.Connection[Any], records: Sequence[Exported]) -> None:
        table, origin = self._options.table, records[0].origin
        fields = [one.fields for one in records]
        numbers, data = [one.number for one in records], [one.data for one in records]
        async with connection.transaction():
            await connection.execute(
                INSERT.format(table=table), origin, numbers, [one["id"] for one in fields],
                [one["kind"] for one in fields], [_moment(one["at"]) for one in fields],
                [one.get("run") for one in fields], data,
            )  # fmt: skip
            other = await connection.fetchval(OTHERS.format(table=table), origin, numbers, data)
        if other is not None:
            raise SinkRefused(f"the table '{table}' has another record {other}: the table or the log was changed")


def _moment(micros: int) -> Any:
    from datetime import UTC, datetime, timedelta  # noqa: PLC0415

    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


def _library() -> Any:
    try:
        import asyncpg  # noqa: PLC0415 - of the extra 'postgres'
    except ImportError:
        raise ConfigurationError(
            "exports to PostgreSQL need asyncpg; install 'flujo-audit-advanced[postgres]'"
        ) from None
    return asyncpg
