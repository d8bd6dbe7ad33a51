"""The thread that a store's connections live in, with an event loop of its own: a store serves any number of loops."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import asyncpg

from flujo_postgres.batch import Batch
from flujo_postgres.connection import Link
from flujo_postgres.errors import PostgresUnavailable
from flujo_postgres.url import Location
from flujo_postgres.watch import Watch
from flujo_postgres.writer import Write, Writer

T = TypeVar("T")


class Service:
    """Writes, reads and listens for one store handle, from ``start`` to ``close``.

    Args:
        place: Where the store is.
        heard: Called, in the thread, with the id of a run that has mail.
    """

    def __init__(self, place: Location, heard: Callable[[str], None]) -> None:
        self._loop = asyncio.new_event_loop()
        self._writer = Writer(place)
        self._reader = Link(place)
        self._watch = Watch(place, heard)
        self._tasks: set[asyncio.Task[None]] = set()
        threading.Thread(target=self._serve, name="flujo-postgres", daemon=True).start()

    def write(self, run_id: str, work: Callable[[Batch], T]) -> asyncio.Future[T]:
        """Does a write; it is done even if nobody waits for it any more."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._loop.call_soon_threadsafe(self._writer.give, Write(run_id, work, _teller(done)))
        return done

    def use(self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> asyncio.Future[T]:
        """Does what can be done twice, as reading can: a second time, if the server was lost the first time."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._begin(self._use(work, _teller(done)))
        return done

    def watch(self) -> None:
        """Begins to listen."""
        self._loop.call_soon_threadsafe(self._watch.start)

    def close(self) -> asyncio.Future[None]:
        """Lets go of everything when what was given is done, and ends the thread."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._begin(self._close(_teller(done)))
        return done

    def leave(self) -> None:
        """Does the same, and nobody waits for it."""
        with suppress(RuntimeError):  # it has ended
            self._begin(self._close(lambda _result, _error: None))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        def begin() -> None:
            task = self._loop.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        try:
            self._loop.call_soon_threadsafe(begin)
        except RuntimeError:
            work.close()
            raise

    async def _use(self, work: Callable[[asyncpg.Connection], Awaitable[T]], tell: Callable[..., None]) -> None:
        try:
            try:
                found = await self._reader.use(work)
            except PostgresUnavailable:
                found = await self._reader.use(work)
        except Exception as error:  # whatever it is, it belongs to who waits
            tell(None, error)
        else:
            tell(found, None)

    async def _close(self, tell: Callable[..., None]) -> None:
        reads = self._tasks - {asyncio.current_task()}
        if reads:
            await asyncio.wait(reads)
        await self._writer.close()
        await self._reader.close()
        await self._watch.close()
        tell(None, None)
        self._loop.stop()

    def _serve(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()


def _teller(done: asyncio.Future[Any]) -> Callable[[Any, Exception | None], None]:
    """What tells, from the service's thread, who waits on another loop."""
    loop = done.get_loop()

    def tell(result: Any, error: Exception | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle, done, result, error)

    return tell


def _settle(done: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if done.done():  # who waited was cancelled
        return
    if error is None:
        done.set_result(result)
    else:
        done.set_exception(error)
