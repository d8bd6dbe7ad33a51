"""What all commands share: the global options, the default store, the configuration."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import typer

from flujo_core.builtin import Builtin
from flujo_core.config import PluginSettings, Settings, load_settings
from flujo_core.errors import ConfigurationError, UnknownRun
from flujo_core.hooks.host import Host
from flujo_core.store.coding import coded
from flujo_core.store.protocol import Store
from flujo_core.store.url import sqlite_path

T = TypeVar("T")

FOLDER = Path(".flujo")
DEFAULT_STORE = "sqlite:///.flujo/runs.db"


@dataclass
class Session:
    """The global options.

    Attributes:
        debug: Whether errors show their traceback.
        without: What ``-P`` said: ``no:NAME``.
    """

    debug: bool = False
    without: list[str] = field(default_factory=list)

    def settings(self) -> Settings:
        """The configuration, with the command line's word on plugins.

        Raises:
            ConfigurationError: ``-P`` says something else than ``no:NAME``.
        """
        settings = load_settings()
        names = []
        for word in self.without:
            no, _, name = word.partition(":")
            if no != "no" or not name:
                raise ConfigurationError(f"'-P {word}' means nothing; write '-P no:NAME' to leave a distribution out")
            names.append(name)
        return replace(settings, plugins=settings.plugins.without(names))

    def host(self) -> Host:
        """The plugins.

        Raises:
            PluginLoadError: One that has to take part cannot.
        """
        return Host(self.settings().plugins, kernel=Builtin())

    def store_at(self, url: str) -> Store:
        """The store that a URL names, as it is kept; plugins are loaded only if the kernel has none for it."""
        kernel = Host(PluginSettings(allow=()), kernel=Builtin())
        known = kernel.stores.find(url.partition("://")[0])
        return (kernel if known else self.host()).open_store(url)

    def decoding(self, store: Store) -> Store:
        """A store, read through the codecs of the configuration and of the plugins, if there are any."""
        return coded(store, self.host().codecs_of(self.settings().codecs))

    def forgetting(self, store: Store) -> Store:
        """A store whose runs the codecs of the plugins forget when they are deleted; other codecs need not be there."""
        return coded(store, self.host().codecs_of(()))

    def writable_store(self, url: str) -> Store:
        """The store that a URL names; the default one's folder is made, and hidden from git."""
        if url == DEFAULT_STORE:
            try:
                FOLDER.mkdir(exist_ok=True)
                ignore = FOLDER / ".gitignore"
                if not ignore.exists():
                    ignore.write_text("*\n")
            except OSError as error:
                raise ConfigurationError(
                    f"the folder '{FOLDER}' cannot be made or written to: {error.strerror}"
                ) from error
        return self.store_at(url)

    def readable_store(self, url: str) -> Store | None:
        """The store that a URL names, or None if that is a file which is not there: reading makes no files."""
        path = sqlite_path(url)
        if path and not os.path.exists(path):  # of a path that cannot be, os says that it is not there
            return None
        return self.store_at(url)

    def in_store(self, url: str, do: Callable[[Store], Coroutine[Any, Any, T]], *, decoded: bool = True) -> T:
        """Does something with a store that there is.

        Args:
            url: The store's URL.
            do: What is done.
            decoded: Whether it reads payloads, for which the codecs of the configuration must be there.

        Raises:
            UnknownRun: There is none.
        """

        async def done() -> T:
            store = self.readable_store(url)
            if store is None:
                raise UnknownRun(f"there is no run in the store {url}: it does not exist yet")
            try:
                return await do(self.decoding(store) if decoded else store)
            finally:
                await store.close()

        return asyncio.run(done())


def session(context: typer.Context) -> Session:
    """The session that a command is part of."""
    found = context.find_object(Session)
    return found or Session()
