"""The kernel's stores by URL: ``sqlite:///runs.db``, ``memory://``."""

from __future__ import annotations

from flujo_core.errors import ConfigurationError
from flujo_core.store.memory import MemoryStore
from flujo_core.store.protocol import Store


def sqlite_store(url: str) -> Store:
    """The store in the file that a URL names.

    Args:
        url: ``sqlite:///relative.db`` or ``sqlite:////absolute.db``.

    Raises:
        ConfigurationError: It names none.
    """
    path = url.removeprefix("sqlite:///")
    if not path or path == url:
        raise ConfigurationError(
            f"'{url}' names no store; write 'sqlite:///runs.db' (a file), or 'sqlite:////var/lib/runs.db' (an absolute"
            " path)"
        )
    from flujo_core.store.sqlite import SQLiteStore  # noqa: PLC0415 - only who uses it imports sqlite3

    return SQLiteStore(path)


def memory_store(url: str) -> Store:
    """A new store in memory.

    Args:
        url: ``memory://``.

    Raises:
        ConfigurationError: It is another URL.
    """
    if url != "memory://":
        raise ConfigurationError(f"'{url}' names no store; write 'memory://'")
    return MemoryStore()
