"""LocalBackend: runs steps in threads of this process, though they cross as they would to another one."""

from __future__ import annotations

from collections.abc import AsyncIterator

from flujo_core.backend.local import workers
from flujo_core.backend.perform import perform_call
from flujo_core.backend.protocol import RemoteCall, RemoteItem


class LocalBackend:
    """Runs steps in threads of this process, though they cross as they would to another one.

    The engine has no need of it: it calls the functions of local steps itself, with the values as they are. It is what
    other backends can be compared with.
    """

    honours: frozenset[str] = frozenset()
    isolates: bool = False

    async def execute(self, call: RemoteCall, /) -> AsyncIterator[RemoteItem]:
        """Does one attempt; one that is cancelled goes on in its thread, and its outcome is dropped."""
        yield await workers.submit(perform_call, call)

    async def aclose(self) -> None:
        """Does nothing: threads cannot be stopped."""
