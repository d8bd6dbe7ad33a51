"""Discovery: the first ``Flujo`` of a process reads the metadata of the installed distributions, and no other does."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

Install = Callable[..., None]
Python = Callable[..., str]

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
        return len(read)

    sys.addaudithook(hear)
    counts = [spent(lambda: __import__("flujo_core"))]

    from flujo_core import Flujo, PluginSettings, Settings, step

    @step
    async def work(value: int) -> int:
        return value

    denied = Settings(PluginSettings(deny=("acme-a",)))
    counts.append(spent(lambda: Flujo(work, settings={first})))
    counts.append(spent(lambda: Flujo(work)))
    counts.append(spent(lambda: Flujo(work, settings=denied)))
    counts.append(spent(lambda: Flujo(work).run(1)))
    print(json.dumps(counts))
"""


@pytest.mark.parametrize("first", ["None", "denied"])
def test_the_metadata_is_read_by_the_first_flujo_and_by_no_other(install: Install, python: Python, first: str) -> None:
    for name in "abc":
        install(f"acme-{name}", f"acme_{name}", PLUGIN.format(name=name), **{name: f"acme_{name}:It"})
    at_import, at_first, *later = json.loads(python(PROGRAM.replace("{first}", first)))
    assert at_import == 0
    assert at_first > 3
    assert later == [0, 0, 0]
