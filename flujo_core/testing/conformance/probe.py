"""The program that imports a plugin in a process of its own, and says what that did. It is run as a file.

It is given one argument, as JSON: where modules are found, the module and the attribute to import, and the file that
the answer is written to, as JSON too.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from importlib import import_module
from importlib.util import find_spec
from types import FrameType
from typing import Any

FORBIDDEN = {
    "_thread.start_new_thread": "starts a thread",
    "_thread.start_joinable_thread": "starts a thread",
    "socket.__new__": "opens a socket",
    "socket.getaddrinfo": "asks the network for a name",
    "socket.gethostbyname": "asks the network for a name",
    "subprocess.Popen": "starts a process",
    "os.system": "starts a process",
    "os.posix_spawn": "starts a process",
    "os.fork": "starts a process",
}
"""What importing and loading must not do, by the audit event that shows it."""


class Audit:
    """Notes what happens while it is switched on.

    Attributes:
        is_on: Whether it is.
        done: What was done that must not be, and where.
        imports: Where each module was imported first.
    """

    def __init__(self) -> None:
        self.is_on = False
        self.done: list[tuple[str, str]] = []
        self.imports: dict[str, str] = {}
        sys.addaudithook(self._hear)
        start = threading.Thread.start

        def audited(self: threading.Thread) -> None:
            sys.audit("_thread.start_new_thread")  # Python 3.11 has no such event of its own
            start(self)

        threading.Thread.start = audited  # type: ignore[method-assign]

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.is_on:
            return
        if event == "import":
            self.imports.setdefault(str(args[0]), where(sys._getframe()))
        elif event in FORBIDDEN:
            self.done.append((FORBIDDEN[event], where(sys._getframe())))


def where(frame: FrameType | None) -> str:
    """The outermost place of a stack that is in neither the standard library nor Flujo, nor in this program."""
    found = ""
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        top = module.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in ("flujo_core", "__main__"):
            folder, file = os.path.split(frame.f_code.co_filename)
            found = f"{os.path.basename(folder)}/{file}:{frame.f_lineno}"
        frame = frame.f_back
    return found


def warm_up() -> None:
    """Imports and does what every load does, so that it is not the plugin's."""
    from flujo_core.builtin import Builtin  # noqa: PLC0415
    from flujo_core.config import PluginSettings  # noqa: PLC0415
    from flujo_core.flujo import Flujo  # noqa: PLC0415
    from flujo_core.hooks.host import Host  # noqa: PLC0415

    class Ranged(Builtin):
        api = ">=1,<3"

    assert Flujo is not None
    Host(PluginSettings(allow=()), [Ranged()])


def load(module: str, attribute: str | None) -> None:
    """Imports the plugin, makes it and loads it."""
    from flujo_core.config import PluginSettings  # noqa: PLC0415
    from flujo_core.hooks.host import Host  # noqa: PLC0415

    made: Any = import_module(module)
    if attribute is not None:
        for name in attribute.split("."):
            made = getattr(made, name)
        Host(PluginSettings(allow=()), [made()])


def answer(module: str, attribute: str | None) -> dict[str, Any]:
    """What importing and loading the plugin did."""
    warm_up()
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return {"found": False}
    audit, before = Audit(), set(sys.modules)
    start, error = time.process_time(), None
    audit.is_on = True
    try:
        load(module, attribute)
    except Exception as raised:
        error = f"{type(raised).__name__}: {raised}"
    audit.is_on = False
    seconds = time.process_time() - start
    new = [name for name in sys.modules if name not in before]
    places = {name: audit.imports[name] for name in audit.imports if name in new}
    return {
        "found": True,
        "error": error,
        "seconds": seconds,
        "modules": places | {name: places.get(name, "") for name in new},
        "done": audit.done,
    }


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    sys.path[:] = asked["path"]
    found = answer(asked["module"], asked["attribute"])
    with open(asked["answer"], "w", encoding="utf-8") as file:
        json.dump(found, file)
