"""The plugin's contributions, and what importing it does not import."""

import subprocess
import sys

import flujo_audit_advanced
from flujo_audit_advanced.plugin import AuditPlugin

from flujo_core import Plugin


class RecordingRegistry:
    """Stands in for the kernel's registry: it keeps what is added."""

    def __init__(self) -> None:
        self.added: dict[str, object] = {}

    def add(self, name: str, target: object) -> None:
        self.added[name] = target


def test_it_adds_the_command_by_import_path() -> None:
    registry = RecordingRegistry()
    AuditPlugin().register_commands(registry)  # type: ignore[arg-type]
    assert registry.added == {"audit": "flujo_audit_advanced.cli:app"}
    assert issubclass(AuditPlugin, Plugin)


def test_importing_it_does_not_import_what_signs_and_stamps() -> None:
    heavy = {"cryptography", "rfc3161_client", "flujo_audit_advanced.log", "typer"}
    code = f"import sys, flujo_audit_advanced.plugin; print({heavy!r} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_every_public_name_is_there() -> None:
    assert flujo_audit_advanced.__all__ == sorted(flujo_audit_advanced.__all__) == dir(flujo_audit_advanced)
    for name in flujo_audit_advanced.__all__:
        assert getattr(flujo_audit_advanced, name).__doc__
