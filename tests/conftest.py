"""What all tests share: no configuration of the machine reaches them; and distributions as an installer leaves them."""

from __future__ import annotations

import json
import os
import signal
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
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as of what a shell runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # else no child of ours hears it


Install = Callable[..., None]
Record = Callable[..., None]


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
def record(site: Path) -> Record:
    """Writes a distribution's RECORD, which lists these files as they are now."""

    def recorded(info: Path, *paths: str) -> None:
        lines = [f"{path},sha256={_digest(site / path)},{(site / path).stat().st_size}\n" for path in paths]
        (info / "RECORD").write_text("".join([*lines, f"{info.name}/RECORD,,\n"]))

    return recorded


def _digest(path: Path) -> str:
    return urlsafe_b64encode(sha256(path.read_bytes()).digest()).decode().rstrip("=")


@pytest.fixture
def install(site: Path, record: Record) -> Install:
    """Installs a distribution with one module, some entry points, and more files by their paths."""

    def installed(
        distribution: str,
        module: str,
        source: str,
        /,
        *,
        version: str = "1.0",
        requires: tuple[str, ...] = (),
        direct_url: object = None,
        recorded: bool = True,
        files: dict[str, str] | None = None,
        **entries: str,
    ) -> None:
        info = f"{distribution.replace('-', '_')}-{version}.dist-info"
        needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
        targets = "".join(f"{name} = {target}\n" for name, target in entries.items())
        contents = {f"{module}.py": textwrap.dedent(source)} | (files or {})
        contents[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n{needs}"
        contents[f"{info}/INSTALLER"] = "a test\n"
        contents[f"{info}/entry_points.txt"] = f"[flujo.plugins]\n{targets}"
        if direct_url is not None:
            contents[f"{info}/direct_url.json"] = json.dumps(direct_url)
        for path, content in contents.items():
            (site / path).parent.mkdir(exist_ok=True)
            (site / path).write_text(content)
        if recorded:
            record(site / info, *contents)

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
