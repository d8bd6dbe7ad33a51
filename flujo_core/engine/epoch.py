"""Which plugins are in force: a run keeps the set that it began with, and a plugin lives as long as a run has it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar
from weakref import WeakKeyDictionary

from flujo_core.config import Settings
from flujo_core.engine.portable import Portable, SealKey
from flujo_core.engine.program import Program
from flujo_core.errors import PluginError
from flujo_core.hooks.call import AppInfo
from flujo_core.hooks.host import Host
from flujo_core.hooks.watchdog import Watch, watchdog
from flujo_core.log import warning
from flujo_core.model.flow import everything
from flujo_core.model.outcome import Veto

T = TypeVar("T")


class Epoch:
    """One set of plugins, and the program that was made with it.

    Attributes:
        program: The program.
        host: The plugins.
        settings: The configuration.
    """

    def __init__(self, program: Program, host: Host, settings: Settings) -> None:
        self.program = program
        self.host = host
        self.settings = settings
        self._portable: dict[bool, Portable] = {}

    def take_along(self, key: SealKey | None, is_kept: bool) -> Portable:
        """What makes the states of runs."""
        if is_kept not in self._portable:
            self._portable[is_kept] = Portable(self.program, key, is_kept=is_kept)
        return self._portable[is_kept]

    @property
    def app(self) -> AppInfo:
        """What plugins are told that start up."""
        from importlib.metadata import version  # noqa: PLC0415 - dear to import

        own, whole = self.settings, self.program.pipeline
        clears = {address: tuple(node.policies.labelling.clears) for address, node in everything(whole)}
        return AppInfo(
            version("flujo-core"),
            whole.label,
            tuple(self.host.plugins),
            own.profile,
            own.captures_content,
            self.host.inventory,
            own.digest,
            {address: labels for address, labels in clears.items() if labels},
        )


class Site:
    """What is going on on one event loop: the plugins that are started there, and the runs that have them.

    Attributes:
        changing: Held while the set of plugins is being changed.
    """

    def __init__(self) -> None:
        self.changing = asyncio.Lock()
        self._lock = asyncio.Lock()
        self._started: dict[int, tuple[str, Epoch]] = {}
        self._runs: Counter[Epoch] = Counter()
        self._not_started: dict[int, Epoch] = {}  # keeps the plugins, so that no other one gets an id of theirs
        self._blocks = 0
        self._ended = False

    async def enter(self, epoch: Epoch) -> None:
        """As ``open``, at the beginning of a block; ``exit`` ends it."""
        await self.open(epoch)
        self._blocks += 1
        self._ended = False

    async def exit(self) -> bool:
        """Shuts all plugins down as the last block ends; those that a run still has, when it ends.

        Returns:
            Whether it was the last block.

        Raises:
            PluginError: One failed; raised after all were asked.
        """
        self._blocks -= 1
        if self._blocks:
            return False
        self._ended = True
        self._not_started.clear()
        await self.close()
        return True

    async def open(self, epoch: Epoch) -> None:
        """Starts those plugins up that are not.

        Raises:
            PluginError: One failed, and those that were started with it are shut down.
            Veto: One refused.
        """
        lifetime = epoch.program.hooks.lifetime
        if not lifetime:
            return
        async with self._lock:
            plugins = {name: id(one.plugin) for name, one in epoch.host.plugins.items()}
            known = self._started.keys() | self._not_started.keys()
            new = [name for name, plugin in plugins.items() if plugin not in known]
            started = await _watched(epoch, lambda watch: lifetime.start(watch, epoch.app, new)) if new else ()
            self._started |= {plugins[name]: (name, epoch) for name in started}
            self._not_started |= {plugins[name]: epoch for name in new if name not in started}

    async def close(self, keep: Epoch | None = None) -> None:
        """Shuts those plugins down that neither a run nor ``keep`` has.

        Raises:
            PluginError: One failed; raised after all were asked.
        """
        async with self._lock:
            kept = {*self._runs} if keep is None else {*self._runs, keep}
            needed = {id(one.plugin) for epoch in kept for one in epoch.host.plugins.values()}
            gone = [self._started.pop(plugin) for plugin in list(self._started) if plugin not in needed]
            for epoch in reversed(dict.fromkeys(epoch for _, epoch in gone)):
                names = [name for name, own in gone if own is epoch]
                await _watched(epoch, _stop(epoch, names))

    async def leave(self, current: Epoch) -> None:
        """Shuts those plugins down that the run that has just ended was the last to have; a failure is logged."""
        try:
            await self.close(None if self._ended else current)
        except (PluginError, Veto) as failure:
            warning("plugin.failure_passed_over", hook="on_shutdown", failure=str(failure))

    @contextmanager
    def running(self, epoch: Epoch) -> Iterator[None]:
        """Counts a run for as long as the block lasts."""
        self._runs[epoch] += 1
        try:
            yield
        finally:
            self._runs[epoch] -= 1
            self._runs += Counter()  # drops what has come to zero

    @property
    def is_idle(self) -> bool:
        """Whether no plugin is started."""
        return not self._started


def _stop(epoch: Epoch, names: Sequence[str]) -> Callable[[Watch], Awaitable[None]]:
    return lambda watch: epoch.program.hooks.lifetime.stop(watch, names)


async def _watched(epoch: Epoch, work: Callable[[Watch], Awaitable[T]]) -> T:
    watch = Watch(asyncio.current_task(), epoch.program.hooks.timeout)
    with watchdog().watching(watch):
        return await work(watch)


class Sites:
    """The event loops that a ``Flujo`` is used on."""

    def __init__(self) -> None:
        self._sites: WeakKeyDictionary[asyncio.AbstractEventLoop, Site] = WeakKeyDictionary()

    @property
    def here(self) -> Site:
        """That of the running event loop."""
        loop = asyncio.get_running_loop()
        found = self._sites.get(loop)
        if found is None:
            found = self._sites[loop] = Site()
        return found
