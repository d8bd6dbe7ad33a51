"""The public face is what ``flujo_core.__all__`` lists, and no more."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import flujo_core


def test_the_public_names_are_sorted_and_each_loads() -> None:
    assert flujo_core.__all__ == sorted(set(flujo_core.__all__))
    for name in flujo_core.__all__:
        assert getattr(flujo_core, name) is not None


def test_type_checkers_see_the_names_that_load() -> None:
    tree = ast.parse(Path(flujo_core.__file__).read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == set(flujo_core.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(flujo_core, "Nonsense")


def test_dir_lists_the_public_names() -> None:
    assert set(flujo_core.__all__) <= set(dir(flujo_core))


def test_every_public_class_and_function_has_a_docstring() -> None:
    public = [getattr(flujo_core, name) for name in flujo_core.__all__]
    bare = [
        thing for thing in public if (inspect.isclass(thing) or inspect.isfunction(thing)) and not inspect.getdoc(thing)
    ]
    assert bare == []
