"""Discovery: the first ``Flujo`` of a process reads the metadata of the installed distributions, and no other does."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

Install = Callable[..., None]
Python = Callable[..., str]
Read = Callable[..., list[list[str]]]

PLUGIN = """
    from flujo_core import Plugin

    class It(Plugin):
        name = "{name}"
        async def pre_step_execution(self, call):
            pass
"""

PROGRAM = """
    import json, sys

    read = []

    def hear(event, arguments):
        if event in ("os.listdir", "os.scandir"):
            if not sys._getframe(1).f_code.co_filename.startswith("<frozen importlib"):  # an import lists folders too
                read.append(str(arguments[0]))
        elif event == "open" and ".dist-info" in str(arguments[0]):
            read.append(str(arguments[0]))

    def spent(make):
        read.clear()
        make()
        return sorted(set(read))

    sys.addaudithook(hear)
    at_import = spent(lambda: __import__("flujo_core"))

    from flujo_core import Flujo, PluginSettings, Settings, step

    @step
    async def work(value: int) -> int:
        return value

    denied = Settings(PluginSettings(deny=("acme-a",)))
    print(json.dumps([at_import, *(spent(lambda: make(Flujo, work, denied)) for make in ({makes}))]))
"""
ALL = "lambda Flujo, work, denied: Flujo(work)"
RUN = "lambda Flujo, work, denied: Flujo(work).run(1)"
DENIED = "lambda Flujo, work, denied: Flujo(work, settings=denied)"


@pytest.fixture
def read(install: Install, python: Python) -> Read:
    """What is read by the import of flujo_core, and then by what the programs do; three plugins are installed."""
    for name in "abc":
        install(f"acme-{name}", f"acme_{name}", PLUGIN.format(name=name), **{name: f"acme_{name}:It"})
    return lambda *makes: json.loads(python(PROGRAM.replace("{makes}", ", ".join(makes))))


def test_the_metadata_is_read_by_the_first_flujo_and_by_no_other(read: Read) -> None:
    at_import, first, *later = read(ALL, ALL, DENIED, RUN)
    assert at_import == []
    for name in "abc":
        assert any(f"acme_{name}-1.0.dist-info" in path for path in first)
    assert later == [[], [], []]


def test_what_was_denied_at_first_is_read_once_it_is_allowed_and_then_no_more(read: Read) -> None:
    _, _, allowed, *later = read(DENIED, ALL, ALL, DENIED)
    assert all("acme_a-1.0.dist-info" in path for path in allowed)
    assert later == [[], []]
