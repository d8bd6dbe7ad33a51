"""The testing package exports what ``__all__`` lists, and needs no test framework."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import flujo_core.testing

ROOT = Path(__file__).parents[2]


def test_the_public_names_are_sorted_and_each_is_there_with_a_docstring() -> None:
    assert flujo_core.testing.__all__ == sorted(set(flujo_core.testing.__all__))
    for name in flujo_core.testing.__all__:
        assert inspect.getdoc(getattr(flujo_core.testing, name))


def test_each_public_name_stands_in_the_reference_and_no_other() -> None:
    page = (ROOT / "docs" / "reference" / "testing.md").read_text("utf-8")
    found = re.findall(r"^\.\. auto\w+:: flujo_core\.testing\.([^.\s]+)$", page, re.MULTILINE)  # and no submodule's
    assert sorted(found) == flujo_core.testing.__all__


def test_it_imports_no_test_framework_and_nothing_dear() -> None:
    dear = {"pytest", "_pytest", "unittest", "pydantic_ai", "structlog", "rich", "typer"}
    code = "import sys, flujo_core.testing; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not dear & set(done.stdout.split())
