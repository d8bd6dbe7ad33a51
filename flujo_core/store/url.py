"""The kernel's stores by URL: ``sqlite:///runs.db``, ``memory://``."""

from __future__ import annotations

from flujo_core.errors import ConfigurationError
from flujo_core.store.memory import MemoryStore
from flujo_core.store.protocol import Store

SYNCHRONOUS = "?synchronous="


def sqlite_store(url: str) -> Store:
    """The store in the file that a URL names.

    Args:
        url: ``sqlite:///relative.db`` or ``sqlite:////absolute.db``; with ``?synchronous=normal`` at its end, the disk
            is not waited for at each commit.

    Raises:
        ConfigurationError: It names none.
    """
    path = sqlite_path(url)
    if not path:
        raise ConfigurationError(
            f"'{url}' names no store; write 'sqlite:///runs.db' (a file), or 'sqlite:////var/lib/runs.db' (an absolute"
            " path)"
        )
    synchronous = url.partition(SYNCHRONOUS)[2] or "full"
    if synchronous not in ("full", "normal"):
        raise ConfigurationError(f"'{url}' asks for what there is not; 'synchronous' is 'full' or 'normal'")
    from flujo_core.store.sqlite import SQLiteStore  # noqa: PLC0415 - only who uses it imports sqlite3

    return SQLiteStore(path, synchronous="full" if synchronous == "full" else "normal")


def sqlite_path(url: str) -> str:
    """The path of the file that a SQLite store's URL names, or nothing if it is no such URL."""
    path = url.removeprefix("sqlite:///")
    return "" if path == url else path.partition(SYNCHRONOUS)[0]


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
