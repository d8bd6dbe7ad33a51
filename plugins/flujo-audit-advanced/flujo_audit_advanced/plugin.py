"""The plugin: it registers the command ``flujo audit``."""

from typing import Any, ClassVar

from flujo_core import Plugin, Registry


class AuditPlugin(Plugin):
    """Adds ``flujo audit``; nothing is imported before it is used."""

    name: ClassVar[str] = "audit-advanced"

    def register_commands(self, registry: Registry[Any], /) -> None:
        """Add ``audit``, whose commands are in ``flujo_audit_advanced.cli``."""
        registry.add("audit", "flujo_audit_advanced.cli:app")
