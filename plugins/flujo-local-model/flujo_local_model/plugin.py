"""The plugin: it registers the prefix ``local`` for model names."""

from typing import ClassVar

from flujo_core import ModelFactory, Plugin, Registry


class LocalModelPlugin(Plugin):
    """Makes ``local:NAME`` a model name; nothing is imported or started before an agent uses it."""

    name: ClassVar[str] = "local-model"
    inside = ("local",)

    def register_models(self, registry: Registry[ModelFactory], /) -> None:
        """Add the prefix ``local``, whose factory is ``flujo_local_model.model.local_model``."""
        registry.add("local", "flujo_local_model.model:local_model")
