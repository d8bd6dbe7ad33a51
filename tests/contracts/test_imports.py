"""Imports point down, and what is dear is imported when it is used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DEAR = [
    "beartype",
    "genai_prices",
    "hvac",
    "importlib_metadata",
    "pydantic_ai",
    "rich",
    "sqlite3",
    "structlog",
    "typer",
]


def _loaded(code: str) -> set[str]:
    """The modules that a new process has after ``code``."""
    script = f"{code}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=unmeasured)
    return set(json.loads(done.stdout))


def test_importing_the_face_imports_nothing_dear_and_no_plugin() -> None:
    loaded = _loaded("from flujo_core import Flujo, Step, step")
    assert [name for name in DEAR if name in loaded] == []
    assert [name for name in loaded if name.startswith("flujo_") and not name.startswith("flujo_core")] == []


def test_a_bare_import_loads_one_module() -> None:
    loaded = _loaded("import flujo_core")
    assert {name for name in loaded if name.startswith("flujo")} == {"flujo_core"}
    assert not loaded & {"pydantic", "pluggy", "asyncio"}


def test_a_run_without_agents_never_imports_pydantic_ai() -> None:
    code = (
        "from flujo_core import Flujo, step\n"
        "@step\nasync def same(text: str) -> str: return text\n"
        "assert Flujo(same).run('a').output == 'a'"
    )
    loaded = _loaded(code)
    assert not loaded & {"pydantic_ai", "sqlite3", "rich", "typer", "structlog"}


def test_the_import_contracts_hold() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
