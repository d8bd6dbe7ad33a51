"""assert_conforms looks at what importing a plugin does, in a process of its own."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from flujo_core.testing import assert_conforms
from flujo_core.testing.conformance.imports import check_imports
from flujo_core.testing.conformance.subject import Subject

PLUGIN = """
from flujo_core import Plugin

class Acme(Plugin):
    name = "acme"
"""

Make = Callable[..., Any]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Writes the module ``acme_plugin`` and imports it; gives what it has of that name."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def made(source: str, name: str = "Acme", **modules: str) -> Any:
        for module, text in {"acme_plugin": source + PLUGIN, **modules}.items():
            (tmp_path / f"{module}.py").write_text(textwrap.dedent(text))
        return getattr(import_module("acme_plugin"), name)

    yield made
    for module in set(sys.modules) - before:
        del sys.modules[module]


def found(given: Any, *may_import: str, seconds: float = 1.0) -> list[str]:
    """What the check of imports finds of a plugin."""
    every = list(check_imports(Subject(given), may_import=may_import, seconds=seconds))
    assert all(one.check == "imports" for one in every)
    return [one.what for one in every]


def test_a_plugin_that_can_be_imported_is_and_nothing_is_remarked(make: Make) -> None:
    assert assert_conforms(make("")).remarks == ()


def test_a_heavy_import_is_named_with_its_place_and_may_be_allowed(make: Make) -> None:
    # A heavy package that another one imports is told with the line that began it.
    acme = make("import helper", helper="import torch", torch="import numpy", numpy="")
    with pytest.raises(AssertionError) as refused:
        assert_conforms(acme)
    _, message = str(refused.value).splitlines()
    assert message.startswith("- imports: importing 'acme_plugin' imports ")
    assert (
        "'torch', 'numpy'" in message and "/acme_plugin.py:1;" in message and "may_import=('torch', 'numpy')" in message
    )
    (only,) = found(acme, "torch")
    assert "imports 'numpy' at" in only and found(acme, "torch", "numpy") == []


def test_a_heavy_import_while_it_loads_is_found_too(make: Make) -> None:
    source = """
    from flujo_core import Plugin, Registry

    class Heavy(Plugin):
        name = "heavy"

        def register_agents(self, registry, /):
            import torch
            registry.add("a", torch)
    """
    (what,) = found(make(textwrap.dedent(source), "Heavy", torch=""))
    assert "'torch' at" in what


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("print('hello')", "prints"),
        ("import sys; sys.stderr.write('hello')", "prints"),
        ("import threading; threading.Thread(target=int).start()", "starts a thread at"),
        ("import socket; socket.socket().close()", "opens a socket at"),
        ("import socket; socket.getaddrinfo('127.0.0.1', 80)", "asks the network for a name at"),
        ("import subprocess, sys; subprocess.run([sys.executable, '-c', ''])", "starts a process at"),
        ("import time; end = time.process_time() + 0.4\nwhile time.process_time() < end: pass", "processor time"),
        ("import sys\nif 'pytest' not in sys.modules: raise OSError('lost')", "cannot be imported and loaded"),
        ("import sys\nif 'pytest' not in sys.modules: sys.exit(3)", "cannot be imported and loaded"),
    ],
)
def test_importing_does_nothing_that_can_be_seen_from_outside(make: Make, source: str, said: str) -> None:
    (what,) = found(make(source), seconds=0.3)
    assert said in what and "'acme_plugin'" in what


def test_of_an_instance_only_the_module_is_imported(make: Make) -> None:
    remark, what = found(make("import torch", torch="")())
    assert "'torch'" in what and "only the module 'acme_plugin' was imported" in remark


def test_a_function_that_makes_it_is_called_in_the_new_process(make: Make) -> None:
    (what,) = found(make("def plugin():\n    import torch\n    return Acme()\n", "plugin", torch=""))
    assert "'torch'" in what


def test_what_cannot_be_imported_by_a_name_is_not_checked_and_the_report_says_so(make: Make) -> None:
    acme = make("")
    (remark,) = assert_conforms(lambda: acme()).remarks
    assert remark.startswith("imports: not checked")
    Path(sys.modules["acme_plugin"].__file__ or "").unlink()
    (remark,) = found(acme)
    assert "there is no module 'acme_plugin' for a new process" in remark
