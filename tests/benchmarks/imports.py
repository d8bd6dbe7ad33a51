"""What an import costs, in CPU time of a whole process, against the libraries that it stands on."""

from __future__ import annotations

import os
import subprocess
import sys
from statistics import median

from measure import Ratio

ROUNDS = 15
BARE = ("import flujo_core", "import pluggy")
USED = ("from flujo_core import Flujo, Step, step", "import pluggy, asyncio; from pydantic import BaseModel")


async def measure() -> list[Ratio]:
    codes = [*BARE, *USED]
    for code in codes:
        _cpu(code)  # writes the bytecode
    rounds = [[_cpu(code) for code in codes] for _ in range(ROUNDS)]
    bare, pluggy, used, libraries = (median(times) for times in zip(*rounds, strict=True))
    return [
        Ratio("import flujo_core, against import pluggy; whole process", bare, pluggy, 3),
        Ratio("Flujo, Step, step, against pluggy, asyncio and pydantic", used, libraries, 1.3),
    ]


def _cpu(code: str) -> float:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    child = subprocess.Popen([sys.executable, "-c", code], env=environment)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, code
    return used.ru_utime + used.ru_stime
