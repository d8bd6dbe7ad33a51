"""A store in PostgreSQL; its names are imported on first use."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flujo_postgres.errors import PostgresUnavailable
    from flujo_postgres.store import PostgresStore, postgres_store

__all__ = ["PostgresStore", "PostgresUnavailable", "postgres_store"]

_HOMES = {"PostgresStore": "store", "PostgresUnavailable": "errors", "postgres_store": "store"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return vars(import_module(f"{__name__}.{_HOMES[name]}"))[name]


def __dir__() -> list[str]:
    return __all__
