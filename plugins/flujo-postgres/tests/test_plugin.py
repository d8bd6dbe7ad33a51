"""The plugin's contribution, and what importing it does not import."""

import subprocess
import sys

from flujo_postgres.plugin import PostgresPlugin

from flujo_core import Plugin


class RecordingRegistry:
    """Stands in for the kernel's registry: it keeps what is added."""

    def __init__(self) -> None:
        self.added: dict[str, object] = {}

    def add(self, name: str, target: object) -> None:
        self.added[name] = target


def test_it_adds_two_schemes_by_import_path() -> None:
    registry = RecordingRegistry()
    PostgresPlugin().register_stores(registry)  # type: ignore[arg-type]
    place = "flujo_postgres.store:postgres_store"
    assert registry.added == {"postgresql": place, "postgres": place}
    assert issubclass(PostgresPlugin, Plugin)


def test_importing_it_does_not_import_the_driver() -> None:
    code = "import sys, flujo_postgres.plugin; print({'asyncpg'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
