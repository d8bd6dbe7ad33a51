"""The reference is whole: every public name, every hook with its exact signature, every error."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import flujo_core
from flujo_core import FlujoError, Plugin, RunEvent

DOCS = Path(__file__).parents[2] / "docs"
HOOKS = sorted(name for name, member in vars(Plugin).items() if inspect.isfunction(member) and name[0] != "_")
CLASSES = [kind for name in flujo_core.__all__ if isinstance(kind := getattr(flujo_core, name), type)]
EVENTS = [kind.__name__ for kind in CLASSES if issubclass(kind, RunEvent)]
ERRORS = [kind for kind in CLASSES if issubclass(kind, FlujoError) and kind is not FlujoError]


def page(name: str) -> str:
    return (DOCS / "reference" / name).read_text("utf-8")


@pytest.mark.parametrize("name", flujo_core.__all__)
def test_every_public_name_stands_in_the_reference(name: str) -> None:
    assert re.search(rf"^\.\. (?:auto\w+|py:data):: flujo_core\.{name}$", page("python.md"), re.MULTILINE)


def test_the_reference_has_no_other_names() -> None:
    found = re.findall(r"^\.\. (?:auto\w+|py:data):: flujo_core\.(\S+)$", page("python.md"), re.MULTILINE)
    assert sorted(found) == sorted(flujo_core.__all__)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_stands_in_the_reference_with_its_signature(hook: str) -> None:
    function = getattr(Plugin, hook)
    keyword = "async def" if inspect.iscoroutinefunction(function) else "def"
    signature = str(inspect.signature(function)).replace("'", "")
    assert f"{keyword} {hook}{signature}" in page("hooks.md")
    assert f"\n## `{hook}`\n" in page("hooks.md")


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_stands_in_its_place_of_the_tree(error: type[FlujoError]) -> None:
    parents = {base.__name__ for base in error.__bases__ if issubclass(base, FlujoError)}
    assert branches(page("errors.md")).get(error.__name__) == parents


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_stands_in_the_reference(event: str) -> None:
    assert f"`{event}`" in page("events.md")


def branches(text: str) -> dict[str, set[str]]:
    """Each error of the drawn tree, with all the errors that it is drawn under."""
    parents: dict[str, set[str]] = {}
    above: list[str] = []
    for line in text.splitlines():
        if found := re.match(r"([│ ]*(?:├──|└──)) (\w+)", line):
            depth = len(found[1]) // 4 + 1
            above[depth:] = [found[2]]
            parents.setdefault(found[2], set()).add(above[depth - 1])
        elif line == "FlujoError":
            above = ["FlujoError"]
    return parents
