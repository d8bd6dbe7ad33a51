"""Every example of README.md, CONTRIBUTING.md, awesome-flujo.md and the pages below docs/ is run.

The blocks of one page are run from top to bottom, in one namespace and one empty folder:

- ``python``: run. If its first line is a comment with a file's name (``# triage.py``), it is written to that file too.
- ``toml``, ``yaml``, ``text``: written to the file that the first line names, if it names one.
- ``output``: must equal what the block before it printed; ``...`` stands for anything.
- ``console``: each line ``$ flujo ...`` is run and must exit with 0, or with the number below a following
  ``$ echo $?``. Lines below a command must be in what it printed, in this order; ``...`` stands for anything.
- ``sh``: commands that set things up; shown, not run.

``tutorials/first-plugin.md`` is run by ``test_first_plugin.py``: it begins without Flujo installed.
``reference/mistakes.md`` is run by ``test_mistakes.py``: its blocks raise.
"""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE, OutputChecker
from pathlib import Path
from typing import NamedTuple

import pytest
from sybil import Example, Sybil
from sybil.parsers.myst import CodeBlockParser, PythonCodeBlockParser

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "awesome-flujo.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
FIRST_PLUGIN = ROOT / "docs" / "tutorials" / "first-plugin.md"
MISTAKES = ROOT / "docs" / "reference" / "mistakes.md"
LANGUAGES = {"python", "toml", "yaml", "text", "output", "console", "sh"}
FILE_NAME = re.compile(r"# ([\w-]+\.(?:py|toml|yaml|txt))\n")
FLUJO = [sys.executable, "-m", "flujo_core.cli"]


class Command(NamedTuple):
    """One command of a ``console`` block, the exit code that the page promises, and what it shows of the output."""

    line: str
    code: int
    shown: str


def test_there_are_pages() -> None:
    assert len(PAGES) > 10
    assert all(page.is_file() for page in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_are_of_a_kind_that_is_run(page: Path) -> None:
    opened = re.findall(r"^ *(?:```|~~~|:::)(.*)$", page.read_text("utf-8"), re.MULTILINE)[::2]
    kinds = {kind for kind in opened if not kind.startswith("{")}
    assert kinds <= (LANGUAGES | {"diff"} if page == FIRST_PLUGIN else LANGUAGES)
    assert not re.findall(r"^```\{code", page.read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page not in (FIRST_PLUGIN, MISTAKES)],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])  # as the folder of a script is on it
    runner = Runner(tmp_path)
    document = sybil(runner).parse(page)
    document.namespace["__name__"] = "__main__"
    monkeypatch.syspath_prepend(tmp_path)  # as of a program that is run there
    known = {*sys.modules}
    for example in document.examples():
        runner.write_file(example)
        with redirect_stdout(io.StringIO()) as printed:
            example.evaluate()
        runner.printed = printed.getvalue()
    for name in {*sys.modules} - known:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


class Runner:
    """Evaluates the blocks of one page that are not Python.

    Args:
        folder: Where the page's files go and its commands run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.printed = ""

    def write_file(self, example: Example) -> None:
        """Writes the block to the file that its first line names, if it names one."""
        if found := FILE_NAME.match(str(example.parsed)):
            skipped = found.end() if found[1].endswith(".txt") else 0
            (self.folder / found[1]).write_text(str(example.parsed)[skipped:], "utf-8")

    def nothing(self, example: Example) -> None:
        """A block that was only to be written to a file, or to be read."""

    def compare(self, example: Example) -> str | None:
        if matches(str(example.parsed), self.printed):
            return None
        return f"expected:\n{example.parsed}\nprinted:\n{self.printed}"

    def run(self, example: Example) -> str | None:
        for command in commands(str(example.parsed)):
            done = subprocess.run(
                [*FLUJO, *shlex.split(command.line)[1:]],
                cwd=self.folder, capture_output=True, text=True, timeout=240, stdin=subprocess.DEVNULL, check=False,
            )  # fmt: skip
            if done.returncode != command.code or not matches(f"...{command.shown}...", done.stdout + done.stderr):
                return f"$ {command.line}\nexit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return None


def sybil(runner: Runner) -> Sybil:
    """The parsers of all blocks that do something."""
    return Sybil(
        parsers=[
            PythonCodeBlockParser(),
            CodeBlockParser("toml", runner.nothing),
            CodeBlockParser("yaml", runner.nothing),
            CodeBlockParser("text", runner.nothing),
            CodeBlockParser("output", runner.compare),
            CodeBlockParser("console", runner.run),
        ]
    )


def commands(block: str) -> Iterator[Command]:
    """The commands of a ``console`` block; one that is not ``flujo`` is refused."""
    lines: list[str] = []
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines.append(part)
    for part, after in zip(lines, [*lines[1:], ""], strict=True):
        line, _, shown = part.partition("\n")
        if line.startswith("echo $?"):
            continue
        assert line.split()[0] == "flujo", f"'{line}' is not run; put it into a 'sh' block"
        code = int(after.splitlines()[1]) if after.startswith("echo $?") else 0
        yield Command(line, code, shown.strip())


def matches(wanted: str, got: str) -> bool:
    """Whether ``got`` is what the page shows; ``...`` stands for anything."""
    return OutputChecker().check_output(wanted.strip() + "\n", got.strip() + "\n", ELLIPSIS | NORMALIZE_WHITESPACE)
