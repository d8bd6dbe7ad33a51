"""One connection to the server: made when it is needed, made anew when it was lost, used by one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

from flujo_core import FlujoError
from flujo_postgres.errors import GONE, failure
from flujo_postgres.schema import prepare
from flujo_postgres.url import Location

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds in which a server that was there before, or is about to be, is waited for."""

PAUSE = 0.1
"""Seconds between two tries to connect."""

STATEMENT_TIMEOUT = 60.0
"""Seconds after which a server that does not answer is taken for one that is away."""


class Link:
    """A connection of a store.

    Args:
        place: Where the store is.
    """

    def __init__(self, place: Location) -> None:
        self._place = place
        self._connection: asyncpg.Connection | None = None
        self._was_there = False
        self._lock = asyncio.Lock()

    async def use(self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """Does work with the connection, which nobody else uses meanwhile.

        Raises:
            StoreError: It could not be done.
        """
        async with self._lock:
            try:
                return await work(await self.connected())
            except FlujoError:
                raise
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError, OverflowError) as error:
                if isinstance(error, GONE) and not isinstance(error, ValueError):
                    self.drop()
                raise failure(self._place.shown, error) from None  # the driver's text may quote values

    async def connected(self) -> asyncpg.Connection:
        """The connection, made if there is none that works."""
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._connect()
            await prepare(self._connection, self._place)
            self._was_there = True
        return self._connection

    async def _connect(self) -> asyncpg.Connection:
        end = asyncio.get_running_loop().time() + PATIENCE
        while True:
            try:
                return await asyncpg.connect(
                    self._place.dsn,
                    timeout=PATIENCE,
                    command_timeout=STATEMENT_TIMEOUT,
                    server_settings={"search_path": f'"{self._place.schema}"', "application_name": "flujo"},
                )
            except (asyncpg.CannotConnectNowError, ConnectionError) as error:
                is_coming = self._was_there or isinstance(error, asyncpg.CannotConnectNowError)
                if not is_coming or asyncio.get_running_loop().time() > end:
                    raise
            await asyncio.sleep(PAUSE)

    def drop(self) -> None:
        """Lets go of the connection at once."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def close(self) -> None:
        """Says goodbye to the server."""
        async with self._lock:
            if self._connection is not None and not self._connection.is_closed():
                try:
                    await self._connection.close(timeout=1.0)
                except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                    self.drop()  # it is gone, and that was wanted
            self._connection = None
