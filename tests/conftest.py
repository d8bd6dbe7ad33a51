"""What all tests share: no configuration of the machine reaches them; and distributions as an installer leaves them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import settings

from flujo_core.hooks import scan as scanning
from flujo_core.hooks.scan import scan

settings.register_profile("flujo", deadline=None, print_blob=True)
settings.load_profile("flujo")


Install = Callable[..., None]


@pytest.fixture(autouse=True)
def away_from_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and no ``FLUJO_*`` in the environment."""
    folder = tmp_path_factory.mktemp("cwd")
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith("FLUJO_")]:
        monkeypatch.delenv(name)
    return folder


# ------------------------------------------------------------------------------------------- distributions


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder that stands for site-packages."""
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


@pytest.fixture
def install(site: Path) -> Install:
    """Installs a distribution with one module and some entry points."""

    def installed(
        distribution: str,
        module: str,
        source: str,
        *,
        version: str = "1.0",
        requires: tuple[str, ...] = (),
        direct_url: object = None,
        recorded: bool = True,
        **entries: str,
    ) -> None:
        (site / f"{module}.py").write_text(textwrap.dedent(source))
        stem = distribution.replace("-", "_")
        info = site / f"{stem}-{version}.dist-info"
        info.mkdir()
        needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n{needs}")
        (info / "INSTALLER").write_text("a test\n")
        (info / "entry_points.txt").write_text(
            "[flujo.plugins]\n" + "".join(f"{name} = {target}\n" for name, target in entries.items())
        )
        if direct_url is not None:
            (info / "direct_url.json").write_text(json.dumps(direct_url))
        if recorded:
            (info / "RECORD").write_text("".join(_recorded(site, f"{module}.py", info)))

    return installed


def _recorded(site: Path, module: str, info: Path) -> Iterator[str]:
    for path in [site / module, *sorted(info.iterdir())]:
        digest = urlsafe_b64encode(sha256(path.read_bytes()).digest()).decode().rstrip("=")
        yield f"{path.relative_to(site)},sha256={digest},{path.stat().st_size}\n"
    yield f"{info.name}/RECORD,,\n"


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


@pytest.fixture
def here(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The distributions in this process, and gone again afterwards."""
    monkeypatch.syspath_prepend(str(site))
    forget()
    yield site
    for name, module in [*sys.modules.items()]:
        if str(getattr(module, "__file__", None)).startswith(str(site.parent)):
            del sys.modules[name]
    forget()


def forget() -> None:
    """Lets the next Flujo look again at what is installed."""
    scan.cache_clear()
    scanning._version.cache_clear()
