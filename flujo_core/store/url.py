"""Stores by URL: ``sqlite:///runs.db``, ``memory://``."""

from __future__ import annotations

from flujo_core.errors import ConfigurationError
from flujo_core.store.memory import MemoryStore
from flujo_core.store.protocol import Store


def store_of(url: str) -> Store:
    """The store that a URL names.

    Args:
        url: ``sqlite:///relative.db``, ``sqlite:////absolute.db`` or ``memory://``.

    Raises:
        ConfigurationError: It names none.
    """
    if url.startswith("sqlite:///") and (path := url.removeprefix("sqlite:///")):
        from flujo_core.store.sqlite import SQLiteStore  # noqa: PLC0415 - only who uses it imports sqlite3

        return SQLiteStore(path)
    if url == "memory://":
        return MemoryStore()
    raise ConfigurationError(
        f"'{url}' names no store; write 'sqlite:///runs.db' (a file), 'sqlite:////var/lib/runs.db' (an absolute path)"
        " or 'memory://'"
    )
