"""The examples are what a type checker accepts: the Python blocks of each page, put together, pass mypy --strict."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_examples_type_check(tmp_path: Path) -> None:
    for number, page in enumerate([ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]):
        if blocks := BLOCK.findall(page.read_text("utf-8")):
            name = f"page{number}_{page.stem.replace('-', '_')}.py"
            (tmp_path / name).write_text("\n".join(blocks), "utf-8")
    files = sorted(file.name for file in tmp_path.glob("*.py"))
    assert len(files) > 10
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", *files],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
