"""The examples are what a type checker accepts: the Python blocks of each page, put together, pass mypy --strict.

A block whose first line names a file in a folder (``# acme/plugin.py``), or one that the page imports, is a module of
its own. Bodies may be ``...``:
the reference of the hooks shows signatures.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MODULE = re.compile(r"# ([\w/]+\.py)\n")


def test_examples_type_check(tmp_path: Path) -> None:
    for number, page in enumerate([ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]):
        if page.name == "mistakes.md":  # most of which type checkers refuse too
            continue
        together = []
        text = page.read_text("utf-8")
        for block in BLOCK.findall(text):
            if (named := MODULE.match(block)) and ("/" in named[1] or f"\nfrom {named[1][:-3]} import" in text):
                write(tmp_path / named[1], block)
            else:
                together.append(block)
        if together:
            write(tmp_path / f"page{number}_{page.stem.replace('-', '_')}.py", "\n".join(together))
    files = sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.py"))
    assert len(files) > 10
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--disable-error-code", "empty-body", "--no-error-summary", *files],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def write(file: Path, text: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, "utf-8")
