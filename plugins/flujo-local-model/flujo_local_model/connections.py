"""The open connections of an HTTP client, so that all can be cut at once from outside its event loop."""

import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

import httpx2


class _Stream(Protocol):
    def get_extra_info(self, info: str) -> object: ...


class _Socket(Protocol):
    def fileno(self) -> int: ...

    def shutdown(self, how: int, /) -> None: ...


class Connections:
    """Remembers the sockets that requests open; give ``watch`` to the client as a request hook."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_cut = False
        self._open: list[_Socket] = []

    async def watch(self, request: httpx2.Request) -> None:
        """Follow the connection that ``request`` will open."""
        request.extensions["trace"] = self._trace

    async def _trace(self, event: str, info: Mapping[str, object]) -> None:
        if event == "connection.connect_tcp.complete":
            self._remember(info["return_value"])  # type: ignore[arg-type]

    def _remember(self, stream: _Stream) -> None:
        found: _Socket = stream.get_extra_info("socket")  # type: ignore[assignment]
        with self._lock:
            self._open = [*(known for known in self._open if known.fileno() != -1), found]
            if self._is_cut:
                _shut(found)

    def cut(self) -> None:
        """Shut every connection down, open or to come, from any thread; the other side sees its end at once."""
        with self._lock:
            self._is_cut = True
            for known in self._open:
                _shut(known)


def _shut(known: _Socket) -> None:
    if known.fileno() != -1:
        with suppress(OSError):  # closed by its owner since the line above: what was wanted
            known.shutdown(socket.SHUT_RDWR)
