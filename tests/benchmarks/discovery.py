"""What finding the plugins costs in CPU time: 200 installed distributions, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from measure import Ratio

ROUNDS = 15
DISTRIBUTIONS = 200
PLUGINS = 5
LIMIT = 0.05
"""Seconds that the first discovery of a process may take."""

SCANS = """
import json
from time import process_time
from flujo_core import Flujo
from flujo_core.config import PluginSettings
from flujo_core.hooks.load import Loading
from flujo_core.hooks.scan import scan
start = process_time()
scan()
scanned = process_time()
Loading(PluginSettings())
loaded = process_time()
for _ in range(1000):
    scan()
print(json.dumps([scanned - start, loaded - start, (process_time() - loaded) / 1000]))
"""
FLUJOS = """
import json
from time import process_time
from pydantic import TypeAdapter
from flujo_core import Flujo, PluginSettings, Settings, step
TypeAdapter(int)  # pydantic looks for plugins of its own in all distributions, once, when it makes its first schema
@step
async def same(text: str) -> str: return text
alone = Settings(PluginSettings(allow=()))
def spent(**keywords):
    start = process_time()
    Flujo(same, **keywords)
    return process_time() - start
print(json.dumps([spent(), sorted(spent(settings=alone) for _ in range(101))[50]]))
"""


async def measure() -> list[Ratio]:
    with TemporaryDirectory() as folder:
        full, few = Path(folder, "full"), Path(folder, "few")
        for site, count in ((full, DISTRIBUTIONS), (few, PLUGINS)):
            site.mkdir()
            for number in range(count):
                _install(site, number)
            _seconds(FLUJOS, site)  # writes the bytecode
        rounds = [(_seconds(SCANS, full), _seconds(FLUJOS, full), _seconds(FLUJOS, few)) for _ in range(ROUNDS)]
    scan, load, again = (median(times) for times in zip(*(scans for scans, _, _ in rounds), strict=True))
    first, second = (median(times) for times in zip(*(flujos for _, flujos, _ in rounds), strict=True))
    first_of_few, second_of_few = (median(times) for times in zip(*(flujos for _, _, flujos in rounds), strict=True))
    many = f"{DISTRIBUTIONS} distributions"
    return [
        Ratio(f"the scan of {many}, against {LIMIT * 1000:g} ms", scan, LIMIT, 1),
        Ratio(f"the scan, the checks and the load of {PLUGINS} plugins, likewise", load, LIMIT, 1),
        Ratio(f"first Flujo with {many}, less with {PLUGINS}, likewise", first - first_of_few, LIMIT, 1),
        Ratio("a later scan of the same process, against its first", again, scan, 0.001),
        Ratio(f"a later Flujo with {many}, against one with {PLUGINS}", second, second_of_few, 1.25),
    ]


def _install(site: Path, number: int) -> None:
    """A distribution as an installer leaves it: one in three has a command, and the first few have a plugin."""
    name, module = f"acme-part-{number}", f"acme_part_{number}"
    info = site / f"{module}-1.{number}.dist-info"
    info.mkdir()
    files = {f"{module}.py": "", "METADATA": _metadata(name, number), "WHEEL": "Wheel-Version: 1.0\n"}
    if number < PLUGINS:
        files["entry_points.txt"] = f"[flujo.plugins]\npart-{number} = {module}:Part\n"
        files[f"{module}.py"] = f"from flujo_core import Plugin\nclass Part(Plugin):\n    name = 'part-{number}'\n"
    elif number % 3 == 0:
        files["entry_points.txt"] = f"[console_scripts]\n{name} = {module}:main\n"
    for file, text in files.items():
        (site if file.endswith(".py") else info).joinpath(file).write_text(text)
    others = [f"{module}_data/{n}.json,sha256={'0' * 43},{n}" for n in range(60)]
    owned = [file if file.endswith(".py") else f"{info.name}/{file}" for file in files]
    (info / "RECORD").write_text("".join(f"{line}\n" for line in [*others, *(f"{file},," for file in owned)]))


def _metadata(name: str, number: int) -> str:
    classifiers = [f"Classifier: Topic :: Part :: {n}" for n in range(20)]
    requirements = [f"Requires-Dist: pydantic>={n % 3}; extra == 'x{n}'" for n in range(15)]
    head = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: 1.{number}", *classifiers, *requirements]
    return "\n".join([*head, "", *["A line of a description that says what this part is good for."] * 100]) + "\n"


def _seconds(code: str, site: Path) -> list[float]:
    dropped = ("FLUJO_", "PYTHONDONTWRITEBYTECODE")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment | {"PYTHONPATH": str(site)}, cwd=site, stdout=subprocess.PIPE,
        text=True, check=True,
    )  # fmt: skip
    return [float(seconds) for seconds in json.loads(done.stdout)]
