"""The plugin: it registers the schemes ``postgresql`` and ``postgres`` for the URLs of stores."""

from typing import ClassVar

from flujo_core import Plugin, Registry, StoreFactory


class PostgresPlugin(Plugin):
    """Makes ``postgresql://HOST/DATABASE`` a store; nothing is imported or connected before one is used."""

    name: ClassVar[str] = "postgres"

    def register_stores(self, registry: Registry[StoreFactory], /) -> None:
        """Add both schemes, whose factory is ``flujo_postgres.store.postgres_store``."""
        registry.add("postgresql", "flujo_postgres.store:postgres_store")
        registry.add("postgres", "flujo_postgres.store:postgres_store")
