"""The plugin's contribution, what importing it does not import, and which names are public."""

import subprocess
import sys

import flujo_deidentifier
from flujo_deidentifier.plugin import DeidentifierPlugin

from flujo_core import Plugin


class RecordingRegistry:
    """Stands in for the kernel's registry: it keeps what is added."""

    def __init__(self) -> None:
        self.added: dict[str, object] = {}

    def add(self, name: str, target: object) -> None:
        self.added[name] = target


def test_it_adds_the_command_by_import_path() -> None:
    registry = RecordingRegistry()
    DeidentifierPlugin().register_commands(registry)  # type: ignore[arg-type]
    assert registry.added == {"deid": "flujo_deidentifier.command:app"}
    assert issubclass(DeidentifierPlugin, Plugin)


def test_importing_the_finder_imports_no_model() -> None:
    code = (
        "import sys; from flujo_deidentifier import Finder; Finder(detectors=['patterns', 'lists']).find('Ann');"
        "print({'onnx', 'onnxruntime', 'tokenizers', 'numpy', 'spacy', 'presidio_analyzer'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_every_public_name_is_there() -> None:
    assert all(getattr(flujo_deidentifier, name) is not None for name in flujo_deidentifier.__all__)
