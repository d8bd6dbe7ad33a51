"""The tutorial of the first plugin does what it says: its files and its commands, from an empty folder on.

The page becomes one shell script, which runs as a reader's shell would. A block whose first line is a comment with a
file's name is written to that file; a ``diff`` block changes the file that has its lines; each line ``$ ...`` of a
``console`` block is run, and must print what stands below it (``...`` stands for anything) and exit with 0, or with the
number below a following ``$ echo $?``.

The kernel that is installed is this one, built as a wheel.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE, OutputChecker
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorials" / "first-plugin.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"# ([\w./-]+\.(?:py|toml))\n")
TARGETS = {"CONDA_PREFIX", "UV_PROJECT_ENVIRONMENT", "UV_PYTHON", "UV_SYSTEM_PYTHON", "VIRTUAL_ENV"}
"""Variables that would let uv install into another environment than the tutorial's."""
GUARDED = """
uv() {{
  if [ "$1" = pip ] && [[ "$VIRTUAL_ENV" != {folder}/* ]]; then
    echo "'uv $*' is outside of the tutorial's environment"
    return 99
  fi
  {uv} "$@"
}}
"""


class Command(NamedTuple):
    """One command, what the page says that it prints, and its exit code."""

    line: str
    shown: str
    code: int


class File(NamedTuple):
    """A file that is written, or written again."""

    name: str
    text: str


@pytest.fixture(scope="module")
def uv() -> str:
    """How uv is called."""
    if found := shutil.which("uv"):
        return found
    if importlib.util.find_spec("uv"):
        return f"{shlex.quote(sys.executable)} -m uv"
    if os.environ.get("CI"):
        pytest.fail("there is no uv, which the tutorial begins with; install it")
    pytest.skip("there is no uv, which the tutorial begins with; 'pip install uv' brings it")


@pytest.mark.skipif(shutil.which("bash") is None, reason="the tutorial's commands are for a shell")
def test_the_tutorial_does_what_it_says(uv: str, tmp_path: Path) -> None:
    dist, folder, printed = tmp_path / "dist", tmp_path / "home", tmp_path / "printed"
    folder.mkdir()
    printed.mkdir()
    bash(f"{uv} build --quiet --wheel --out-dir {shlex.quote(str(dist))} {shlex.quote(str(ROOT))}", tmp_path)
    (kernel,) = dist.glob("*.whl")
    parts = [as_tested(part, kernel) for part in parts_of(PAGE.read_text("utf-8"))]
    bash("\n".join([GUARDED.format(folder=shlex.quote(str(folder)), uv=uv), *script(parts, printed)]), folder)
    for number, part in enumerate(parts):
        if isinstance(part, Command):
            text = (printed / f"{number}.txt").read_text("utf-8")
            code = int((printed / f"{number}.code").read_text("utf-8"))
            assert code == part.code, f"$ {part.line}\nexit code {code}\n{text}"
            assert matches(part.shown, text), f"$ {part.line}\nexpected:\n{part.shown}\nprinted:\n{text}"


def parts_of(page: str) -> Iterator[Command | File]:
    """What there is to do, in order."""
    files: dict[str, str] = {}
    for language, block in BLOCK.findall(page):
        if language == "console":
            yield from commands(block)
        else:
            file = changed(files, block) if language == "diff" else File(FILE_NAME.match(block)[1], block)  # type: ignore[index]
            files[file.name] = file.text
            yield file


def commands(block: str) -> Iterator[Command]:
    """The commands of a ``console`` block."""
    found = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    for part, after in zip(found, [*found[1:], ""], strict=True):
        line, _, shown = part.partition("\n")
        if line != "echo $?":
            yield Command(line, shown, int(after.splitlines()[1]) if after.startswith("echo $?") else 0)


def changed(files: dict[str, str], diff: str) -> File:
    """The one file that has the lines that a diff takes out, with those that it puts in."""
    old, new = ("".join(f"{line[1:]}\n" for line in diff.splitlines() if line[0] == sign) for sign in "-+")
    ((name, text),) = [(name, text) for name, text in files.items() if old in text]
    return File(name, text.replace(old, new))


def as_tested(part: Command | File, kernel: Path) -> Command | File:
    """A command, with this Python and with the kernel's wheel in the places of what the reader has."""
    if isinstance(part, Command) and part.line == "uv venv":
        return part._replace(line=f"uv venv --python {shlex.quote(sys.executable)}")
    if isinstance(part, Command) and part.line.startswith("uv pip install flujo-core "):
        return part._replace(line=part.line.replace("flujo-core", shlex.quote(str(kernel))))
    return part


def script(parts: list[Command | File], printed: Path) -> Iterator[str]:
    """The lines of a script that does all of it, and keeps what each command printed and its exit code."""
    for number, part in enumerate(parts):
        if isinstance(part, File):
            yield f"mkdir -p {shlex.quote(os.path.dirname(part.name) or '.')}"
            yield f"printf %s {shlex.quote(part.text)} > {shlex.quote(part.name)}"
        else:
            kept = shlex.quote(str(printed / str(number)))
            yield f"{{ {part.line}; }} > {kept}.txt 2>&1; echo $? > {kept}.code"


def bash(text: str, folder: Path) -> None:
    """Runs a script that sees nothing of this process's Python, and versions of packages as we test them."""
    own = ("COVERAGE", "FLUJO_", "PYTEST", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own) and name not in TARGETS}
    done = subprocess.run(
        ["bash", "-c", text],
        env=kept | {"UV_CONSTRAINT": str(ROOT / "constraints.txt")},
        cwd=folder, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def matches(wanted: str, got: str) -> bool:
    """Whether ``got`` is what the page shows; nothing shown stands for anything."""
    return not wanted.strip() or OutputChecker().check_output(
        wanted.strip() + "\n", got.strip() + "\n", ELLIPSIS | NORMALIZE_WHITESPACE
    )
