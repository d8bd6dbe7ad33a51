"""Group commit: what has piled up while the last transaction was written is the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import asyncpg

from flujo_core import FlujoError, StoreError
from flujo_postgres.batch import MAIL, Batch, Overtaken
from flujo_postgres.connection import Link
from flujo_postgres.errors import CLASH, PostgresUnavailable
from flujo_postgres.url import Location

MANY = 500
"""How many writes one transaction has at most."""

TRIES = 5
"""How often a transaction is tried that others get in the way of."""


class Write(NamedTuple):
    """A write that somebody waits for.

    Attributes:
        run_id: The run that it is about.
        work: What is done with the batch; it can be done again if it was undone.
        tell: Called with the result, or with the error.
    """

    run_id: str
    work: Callable[[Batch], Any]
    tell: Callable[[Any, Exception | None], None]


Outcome: TypeAlias = tuple[Any, Exception | None]


class Writer:
    """Writes of one store handle, in the order in which they come; lives on one event loop.

    Args:
        place: Where the store is.
    """

    def __init__(self, place: Location) -> None:
        self.link = Link(place)
        self._channel = f"{MAIL}_{place.schema}"
        self._waiting: list[Write] = []
        self._writing: asyncio.Task[None] | None = None

    def give(self, write: Write) -> None:
        """Takes a write on."""
        self._waiting.append(write)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())

    async def close(self) -> None:
        """Ends when everything is written that was given."""
        if self._writing is not None:
            await self._writing
        await self.link.close()

    async def _write_all(self) -> None:
        while self._waiting:
            writes, self._waiting = self._waiting[:MANY], self._waiting[MANY:]
            for write, (result, error) in zip(writes, await self._done(writes), strict=True):
                write.tell(result, error)
        self._writing = None

    async def _done(self, writes: Sequence[Write]) -> list[Outcome]:
        """Does writes in one transaction; if one of them cannot be written, each alone."""
        try:
            return await self._committed(writes)
        except Exception as error:  # whatever it is, it belongs to the writes and not to the writer
            if len(writes) == 1 or isinstance(error, PostgresUnavailable):
                return [(None, _told(error))] * len(writes)
        return [(await self._done([write]))[0] for write in writes]

    async def _committed(self, writes: Sequence[Write]) -> list[Outcome]:
        """Does writes in one transaction, again if another one got in its way."""
        return await self.link.use(partial(self._tried, writes))

    async def _tried(self, writes: Sequence[Write], connection: asyncpg.Connection) -> list[Outcome]:
        for _ in range(TRIES):
            try:
                return await self._together(connection, writes)
            except (Overtaken, *CLASH):
                continue
        raise StoreError("other processes wrote the same runs again and again; nothing was written, try again")

    async def _together(self, connection: asyncpg.Connection, writes: Sequence[Write]) -> list[Outcome]:
        async with connection.transaction():
            batch = Batch(connection)
            await batch.load(write.run_id for write in writes)
            outcomes = [_attempted(batch, write) for write in writes]
            await batch.write(self._channel)
        return outcomes


def _attempted(batch: Batch, write: Write) -> Outcome:
    try:
        return write.work(batch), None
    except FlujoError as error:  # it was refused before anything was changed
        return None, error


def _told(error: Exception) -> Exception:
    return error if isinstance(error, FlujoError) else StoreError(f"a write could not be done ({type(error).__name__})")
