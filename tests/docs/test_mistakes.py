"""Every mistake of ``reference/mistakes.md`` gets the message that the page shows, word for word.

A Python block with a ``text`` block after it raises what that says; any other defines what the blocks below it use.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from flujo_core import FlujoError

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "mistakes.md"
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```$(?:\n\n^```text\n(?P<message>.*?)^```$)?", re.MULTILINE | re.DOTALL)


class Mistake(NamedTuple):
    """One Python block.

    Attributes:
        name: The heading above it, and which of the blocks below that it is.
        code: What it has.
        message: The class of the error and its message, as the page shows them; empty if it is no mistake.
    """

    name: str
    code: str
    message: str


def blocks() -> list[Mistake]:
    """The Python blocks of the page, in order."""
    found = []
    for section in re.split(r"^## ", PAGE.read_text("utf-8"), flags=re.MULTILINE):
        heading = section.partition("\n")[0]
        for number, block in enumerate(BLOCK.finditer(section), 1):
            found.append(Mistake(f"{heading} {number}", block["code"], " ".join((block["message"] or "").split())))
    return found


BLOCKS = blocks()
MISTAKES = [block for block in BLOCKS if block.message]


@cache
def raised() -> dict[str, str]:
    """What each block raises, by its name."""
    module = sys.modules.setdefault("mistakes", ModuleType("mistakes"))  # where pydantic looks for generic models
    namespace: dict[str, Any] = vars(module)
    found = {}
    for block in BLOCKS:
        try:
            exec(compile(block.code, block.name, "exec", dont_inherit=True), namespace)
        except FlujoError as error:
            found[block.name] = f"{type(error).__name__}: {error}"
    return found


def test_every_block_of_the_page_is_one_that_is_run() -> None:
    text = PAGE.read_text("utf-8")
    assert text.count("```python\n") == len(BLOCKS)
    assert text.count("```text\n") == len(MISTAKES) > 100


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda one: one.name)
def test_a_mistake_gets_its_message(mistake: Mistake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # Lines are broken on the page, which is all that it may change.
    assert " ".join(raised().get(mistake.name, "nothing was raised").split()) == mistake.message


def test_what_is_no_mistake_raises_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert raised().keys() == {mistake.name for mistake in MISTAKES}
