"""How ``on_startup`` and ``on_shutdown`` are called: one plugin after the other."""

from __future__ import annotations

from collections.abc import Sequence

from flujo_core.hooks.call import AppInfo
from flujo_core.hooks.failure import Failures, Implementation
from flujo_core.hooks.watchdog import Watch


class Lifetime:
    """Starts plugins up and shuts them down.

    Args:
        startup: The implementations of ``on_startup``, in order.
        shutdown: Those of ``on_shutdown``, in order.
        failures: What a failure means.
    """

    def __init__(
        self, startup: Sequence[Implementation], shutdown: Sequence[Implementation], failures: Failures
    ) -> None:
        self._startup = startup
        self._shutdown = shutdown
        self._failures = failures

    def __bool__(self) -> bool:
        return bool(self._startup or self._shutdown)

    async def start(self, watch: Watch, app: AppInfo, only: Sequence[str]) -> Sequence[str]:
        """Starts plugins up, one after the other; if one fails, those before it are shut down.

        Args:
            watch: What the watchdog sees.
            app: What they are told.
            only: The names of those to start.

        Returns:
            The names of those that are started: all but those whose failure was passed over.

        Raises:
            PluginError: One failed.
            Veto: One refused.
        """
        chain = [one for one in self._startup if one.plugin in only]
        started: list[str] = []
        failed: list[str] = []
        for one in chain:
            try:
                fine = await self._failures.tell(one, watch, app)
            except BaseException as failure:
                try:
                    await self.stop(watch, started)
                except BaseException as another:
                    failure.add_note(str(another))
                raise
            (started if fine else failed).append(one.plugin)
        return [name for name in only if name not in failed]

    async def stop(self, watch: Watch, only: Sequence[str]) -> None:
        """Shuts plugins down, each whatever the others do.

        Args:
            watch: What the watchdog sees.
            only: The names of those to shut down.

        Raises:
            PluginError: One failed; raised after all were asked.
        """
        first: BaseException | None = None
        for one in self._shutdown:
            if one.plugin not in only:
                continue
            try:
                await self._failures.tell(one, watch)
            except BaseException as failure:
                first = first or failure
        if first is not None:
            raise first
