"""Listens on the server for that runs have mail, and says so at once to those who want to know."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import asyncpg

from flujo_core import StoreError
from flujo_postgres.batch import MAIL
from flujo_postgres.connection import Link
from flujo_postgres.url import Location

AGAIN = 1.0
"""Seconds after which a lost connection is made anew; meanwhile only those hear of mail who look for it."""


class Watch:
    """The listening connection of one store handle; lives on one event loop.

    Args:
        place: Where the store is.
        tell: Called with the id of a run that has mail.
    """

    def __init__(self, place: Location, tell: Callable[[str], None]) -> None:
        self._link = Link(place)
        self._channel = f"{MAIL}_{place.schema}"
        self._tell = tell
        self._listening: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to listen, if it does not yet."""
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """Listens no more."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])
        await self._link.close()

    async def _listen(self) -> None:
        while True:
            lost = asyncio.Event()
            try:
                await self._link.use(partial(self._begin, lost))
                await lost.wait()
            except StoreError:  # it is tried again; who waits for mail also looks for it now and then
                pass
            await asyncio.sleep(AGAIN)

    async def _begin(self, lost: asyncio.Event, connection: asyncpg.Connection) -> None:
        connection.add_termination_listener(lambda _: lost.set())
        await connection.add_listener(
            self._channel, lambda _connection, _pid, _channel, run_id: self._tell(str(run_id))
        )
