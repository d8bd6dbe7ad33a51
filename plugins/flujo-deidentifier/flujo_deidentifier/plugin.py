"""The plugin: it registers the command ``deid``."""

from typing import Any, ClassVar

from flujo_core import Plugin, Registry


class DeidentifierPlugin(Plugin):
    """De-identifies what goes to a model."""

    name: ClassVar[str] = "deidentifier"

    def register_commands(self, registry: Registry[Any], /) -> None:
        """Add ``flujo deid``, which is ``flujo_deidentifier.command:app``."""
        registry.add("deid", "flujo_deidentifier.command:app")
