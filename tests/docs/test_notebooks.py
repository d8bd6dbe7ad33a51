"""Every notebook below docs/ runs from top to bottom, and is committed without what it printed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs").rglob("*.ipynb"))
RUN = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[2])
"""

by_name = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: str(path.relative_to(ROOT)))


def test_there_is_a_notebook() -> None:
    assert NOTEBOOKS


@by_name
def test_notebook_is_committed_without_outputs(notebook: Path) -> None:
    cells = nbformat.read(notebook, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert code
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


@by_name
def test_notebook_runs(notebook: Path, tmp_path: Path) -> None:
    # In a process of its own: the machinery of Jupyter warns about itself, and our tests turn warnings into errors.
    ran = tmp_path / "ran.ipynb"
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(notebook), str(ran)],
        cwd=tmp_path, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "'completed'" in ran.read_text("utf-8")
