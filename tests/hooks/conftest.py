"""Real distributions for the plugin host: folders with metadata, as an installer leaves them."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

Install = Callable[..., None]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder that stands for site-packages."""
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


@pytest.fixture
def install(site: Path) -> Install:
    """Installs a distribution with one module and some entry points."""

    def installed(distribution: str, module: str, source: str, *, version: str = "1.0", **entries: str) -> None:
        (site / f"{module}.py").write_text(textwrap.dedent(source))
        stem = distribution.replace("-", "_")
        info = site / f"{stem}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(
            "[flujo.plugins]\n" + "".join(f"{name} = {target}\n" for name, target in entries.items())
        )
        names = [f"{module}.py", *(f"{info.name}/{one}" for one in ("METADATA", "entry_points.txt", "RECORD"))]
        (info / "RECORD").write_text("".join(f"{name},,\n" for name in names))

    return installed


@pytest.fixture
def python(site: Path, tmp_path: Path) -> Callable[..., str]:
    """Runs a program in a process of its own that has the distributions; gives what it printed."""

    def ran(program: str, **environ: str) -> str:
        path = {"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-W", "error::RuntimeWarning", "-c", textwrap.dedent(program)],
            env=path | environ, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return ran
