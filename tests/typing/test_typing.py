"""The programs in this folder pass mypy --strict and pyright, and each wrong line in them is found by both."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
NAMES = ("programs.py", "control_flow.py", "agents.py", "tools.py", "plugin.py", "wrong.py")
PROGRAMS = [str(HERE / name) for name in NAMES]


def _checked(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)


def test_mypy_in_strict_mode_finds_nothing() -> None:
    done = _checked("mypy", "--strict", "--warn-unused-ignores", "--no-error-summary", *PROGRAMS)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_pyright_finds_nothing() -> None:
    done = _checked("pyright", "--pythonpath", sys.executable, *PROGRAMS)
    assert done.returncode == 0 and "0 errors" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_without_its_ignores_every_wrong_line_is_found(checker: str, tmp_path: Path) -> None:
    """So that a checker that was switched off, or sees Any everywhere, is found."""
    source = (HERE / "wrong.py").read_text()
    wrong = [number for number, line in enumerate(source.splitlines(), 1) if "# type: ignore" in line]
    bare = tmp_path / "bare.py"
    bare.write_text(re.sub(r"  # (type|pyright): ignore.*", "", source))
    options = {
        "mypy": ["--strict", "--config-file", str(ROOT / "pyproject.toml")],
        "pyright": ["--pythonpath", sys.executable],
    }
    done = _checked(checker, *options[checker], str(bare))
    found = {int(number) for number in re.findall(r"bare\.py:(\d+):?.*error", done.stdout)}
    assert set(wrong) <= found, f"not found in lines {sorted(set(wrong) - found)}\n{done.stdout}"
