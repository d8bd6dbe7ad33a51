"""What is read of a store, each in one statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import asyncpg

from flujo_core import Mail, OpenQuestion, Record, RunSummary
from flujo_postgres.batch import NOW, SUMMARY

FARTHEST = 2**62
"""A number behind those of all records and mails."""

_READ = (
    "select record.run_id, tenant, sequence, kind, address, outcome, at, payload, record.epoch, expires_at, token_hash,"
    " question from record join run using (run_id) where run_id = $1 and sequence > $2 order by sequence"
)
_MAIL = (
    "select run_id, number, kind, question, at, payload, voter, token_hash from mail"
    " where run_id = $1 and number > $2 order by number"
)


async def read(connection: asyncpg.Connection, run_id: str, after: int) -> list[Record]:
    """The records of a run."""
    return [Record._make(row) for row in await connection.fetch(_READ, run_id, min(after, FARTHEST))]


async def run(connection: asyncpg.Connection, run_id: str) -> RunSummary | None:
    """One run."""
    row = await connection.fetchrow(f"select {SUMMARY} from run where run_id = $1", run_id)
    return RunSummary._make(row) if row else None


async def runs(
    connection: asyncpg.Connection, limit: int, before: RunSummary | None, tenant: str | None, status: str | None
) -> list[RunSummary]:
    """Runs, the latest first."""
    where, values = _where(
        {
            "(started_at, run_id) < ({}::float8, {}::text)": (before.started_at, before.run_id) if before else (),
            "tenant = {}": () if tenant is None else (tenant,),
            "status = {}": () if status is None else (status,),
        }
    )
    order = f"order by started_at desc, run_id desc limit ${len(values) + 1}"
    return [
        RunSummary._make(row)
        for row in await connection.fetch(f"select {SUMMARY} from run where {where} {order}", *values, limit)
    ]


async def questions(
    connection: asyncpg.Connection, limit: int, after: OpenQuestion | None, tenant: str | None, run_id: str | None
) -> list[OpenQuestion]:
    """Open questions, the oldest first."""
    where, values = _where(
        {
            "(asked_at, run_id, sequence) > ({}::float8, {}::text, {}::bigint)": (
                (after.asked_at, after.run_id, after.sequence) if after else ()
            ),
            "tenant = {}": () if tenant is None else (tenant,),
            "run_id = {}": () if run_id is None else (run_id,),
        }
    )
    order = f"order by asked_at, run_id, sequence limit ${len(values) + 1}"
    columns = "run_id, tenant, sequence, address, asked_at, expires_at"
    return [
        OpenQuestion._make(row)
        for row in await connection.fetch(f"select {columns} from question where {where} {order}", *values, limit)
    ]


async def mail(connection: asyncpg.Connection, run_id: str, after: int) -> list[Mail]:
    """The inbox of a run."""
    return [Mail._make(row) for row in await connection.fetch(_MAIL, run_id, min(after, FARTHEST))]


async def time(connection: asyncpg.Connection) -> float:
    """The server's clock."""
    return float(await connection.fetchval(f"select {NOW}"))


def _where(wanted: Mapping[str, Sequence[object]]) -> tuple[str, list[object]]:
    """The conditions that have values, as one, and those values."""
    conditions: list[str] = []
    values: list[object] = []
    for condition, given in wanted.items():
        if given:
            conditions.append(condition.format(*(f"${len(values) + place}" for place in range(1, len(given) + 1))))
            values += given
    return " and ".join(conditions) or "true", values
