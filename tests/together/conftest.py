"""A stranger's plugin and the kernel, both built as wheels and installed side by side into a fresh environment."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
ACME = Path(__file__).with_name("acme-eu")

Uv = Callable[..., None]
Variant = Callable[..., Path]
Install = Callable[..., Path]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def uv() -> Uv:
    """Runs uv."""
    if shutil.which("uv"):
        command = ["uv"]
    elif importlib.util.find_spec("uv"):
        command = [sys.executable, "-m", "uv"]
    elif os.environ.get("CI"):
        pytest.fail("there is no uv, which builds and installs the wheels; install it")
    else:
        pytest.skip("there is no uv, which builds and installs the wheels; 'pip install uv' brings it")

    def run(*arguments: str | Path) -> None:
        done = _run([*command, *map(str, arguments)], {}, cwd=Path(sys.executable).anchor)
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture(scope="session")
def environment(uv: Uv, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that has the kernel's wheel, and what it requires in the versions of constraints.txt."""
    folder = tmp_path_factory.mktemp("together")
    uv("build", "--wheel", "--out-dir", folder / "dist", ROOT)
    uv("venv", "--python", sys.executable, folder / "environment")
    wheels = (folder / "dist").glob("*.whl")
    uv("pip", "install", "--python", folder / "environment", "--constraint", ROOT / "constraints.txt", *wheels)
    return folder / "environment"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of acme-eu's project folder, to be changed and built."""
    return shutil.copytree(ACME, tmp_path / "acme-eu", ignore=shutil.ignore_patterns("__pycache__"))


@pytest.fixture(scope="session")
def acme(uv: Uv, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of acme-eu."""
    folder = tmp_path_factory.mktemp("acme")
    uv("build", "--wheel", "--out-dir", folder / "dist", shutil.copytree(ACME, folder / "acme-eu"))
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


@pytest.fixture
def variant(acme: Path, tmp_path: Path) -> Variant:
    """Makes a variant of acme-eu's wheel: ``variant((file, old, new), ...)`` replaces pieces of what is in it.

    It is made from the wheel, which takes no time. With ``distribution="umbrella-eu"`` it is another distribution, with
    another package, and the same plugin.
    """

    def made(*edits: tuple[str, str, str], distribution: str = "acme-eu", version: str = "1.4.2") -> Path:
        package = distribution.replace("-", "_")
        with ZipFile(acme) as wheel:
            files = {name: wheel.read(name).decode() for name in wheel.namelist() if not name.endswith("RECORD")}
        for file, old, new in edits:
            assert old in files[file], f"{file} has no {old!r}"
            files[file] = files[file].replace(old, new)
        own = {"Name: acme-eu\n": f"Name: {distribution}\n", "acme_eu": package, "1.4.2": version}
        files = {_replaced(name, own): _replaced(text, own) for name, text in files.items()}
        return _packed(
            files, tmp_path / f"{package}-{version}-py3-none-any.whl", f"{package}-{version}.dist-info/RECORD"
        )

    return made


def _replaced(text: str, pairs: dict[str, str]) -> str:
    for old, new in pairs.items():
        text = text.replace(old, new)
    return text


def _packed(files: dict[str, str], wheel: Path, record: str) -> Path:
    lines = [f"{name},sha256={_digest(text)},{len(text.encode())}\n" for name, text in files.items()]
    with ZipFile(wheel, "w") as packed:
        for name, text in {**files, record: "".join([*lines, f"{record},,\n"])}.items():
            packed.writestr(name, text)
    return wheel


def _digest(text: str) -> str:
    return urlsafe_b64encode(sha256(text.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture
def install(uv: Uv, environment: Path) -> Iterator[Install]:
    """Installs wheels, or a folder with ``-e``, into the environment, and gives the folder of its packages.

    What was installed is gone when the test ends.
    """
    (site,) = environment.glob("lib/python*/site-packages")
    before = set(os.listdir(site))

    def installed(*what: str | Path) -> Path:
        # Copies, for tests change installed files: uv would link them to its cache.
        uv("pip", "install", "--python", environment, "--link-mode", "copy", "--no-deps", "--reinstall", *what)
        return site

    yield installed
    for name in set(os.listdir(site)) - before - {"__pycache__"}:
        path = site / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture
def flujo(environment: Path) -> Run:
    """Runs the installed ``flujo`` in the working directory."""
    return lambda *arguments, **environ: _run([str(environment / "bin/flujo"), *arguments], environ)


@pytest.fixture
def python(environment: Path) -> Run:
    """Runs a program on the environment's Python in the working directory; warnings are errors."""
    return lambda program, **environ: _run([str(environment / "bin/python"), "-W", "error", "-c", program], environ)


def _run(command: list[str], environ: dict[str, str], cwd: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a command that sees nothing of this process's Python: no paths, no coverage, no virtual environment."""
    own = ("COVERAGE", "FLUJO_", "PYTHON", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return subprocess.run(
        command, env=kept | environ, cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )
