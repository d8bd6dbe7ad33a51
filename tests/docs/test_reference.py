"""The reference is whole: every public name, every hook with its exact signature, every error."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import flujo_core
from flujo_core import FlujoError, Plugin, RunEvent
from flujo_core.hooks.spec import HOOK_API, HOOKS, Hook

DOCS = Path(__file__).parents[2] / "docs"
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


def test_every_method_of_plugin_is_a_hook() -> None:
    assert sorted(HOOKS) == sorted(name for name, one in vars(Plugin).items() if inspect.isfunction(one))


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_stands_in_the_reference_with_its_signature(hook: str) -> None:
    function = getattr(Plugin, hook)
    keyword = "async def" if inspect.iscoroutinefunction(function) else "def"
    signature = str(inspect.signature(function)).replace("'", "")
    shown = re.sub(r"\(\n +(.*)\n +\)", r"(\1)", page("hooks.md"))  # a long one stands on three lines
    assert f"\n    {keyword} {hook}{signature}: ...\n" in shown
    assert f"\n## `{hook}`\n" in page("hooks.md")


@pytest.mark.parametrize("hook", HOOKS.values(), ids=list(HOOKS))
def test_the_reference_says_of_which_kind_a_hook_is_and_in_which_order_it_is_called(hook: Hook) -> None:
    table = page("hooks.md").partition("## Kinds\n")[2].partition("\n\n```")[0]
    rows = {row[1]: row[2:4] for row in map(cells, table.splitlines()) if len(row) > 4}
    kind, order = rows[f"`{hook.name}`"]
    assert (kind, order == "reverse") == (hook.kind, hook.mirrored)


def test_the_reference_names_no_hook_that_there_is_not() -> None:
    text = page("hooks.md")
    specification = text.partition("class Plugin:\n")[2].partition("```")[0]
    assert re.findall(r"def (\w+)\(", specification) == list(HOOKS)
    assert re.findall(r"^## `(\w+)`$", text, re.MULTILINE) == list(HOOKS)
    assert set(re.findall(r"`((?:on|pre|post|register|around)_\w+)`", text)) <= set(HOOKS)
    assert f"This one is {HOOK_API}." in text


def cells(line: str) -> list[str]:
    """The cells of a table's row."""
    return [cell.strip() for cell in line.split("|")]


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
