"""The plugin's one contribution, and what importing it does not import."""

import subprocess
import sys

from flujo_local_model.plugin import LocalModelPlugin

from flujo_core import Plugin


class RecordingRegistry:
    """Stands in for the kernel's registry: it keeps what is added."""

    def __init__(self) -> None:
        self.added: dict[str, object] = {}

    def add(self, name: str, target: object) -> None:
        self.added[name] = target


def test_it_adds_one_prefix_by_import_path() -> None:
    registry = RecordingRegistry()
    LocalModelPlugin().register_models(registry)  # type: ignore[arg-type]
    assert registry.added == {"local": "flujo_local_model.model:local_model"}
    assert issubclass(LocalModelPlugin, Plugin)


def test_importing_it_imports_nothing_heavy() -> None:
    code = "import sys, flujo_local_model.plugin; print({'pydantic_ai', 'xllamacpp', 'openai'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"
