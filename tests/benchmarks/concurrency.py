"""A thousand runs at once: how long they take, and how much memory a run holds; each side in a process of its own."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

from measure import Ratio
from pydantic import TypeAdapter

from flujo_core import Flujo, Pipeline, step

RUNS = 1000
STEPS = 5
SECONDS = 0.01
ROUNDS = 5


async def measure() -> list[Ratio]:
    sides = {name: [_measured(name) for _ in range(ROUNDS)] for name in ("ours", "plain")}
    wall = {name: median(seconds for seconds, _ in found) for name, found in sides.items()}
    memory = {name: median(size for _, size in found) for name, found in sides.items()}
    what = f"{RUNS} runs at once of {STEPS} steps of {SECONDS * 1000:.0f} ms"
    return [
        Ratio(f"{what}: wall", wall["ours"], wall["plain"], 2.5),
        Ratio(f"{what}: MB a run, against 5 KB", memory["ours"] / 1e6, 5 * 1024 / 1e6, 1),
    ]


def _measured(side: str) -> tuple[float, float]:
    done = subprocess.run([sys.executable, Path(__file__), side], capture_output=True, text=True, check=True)
    seconds, size = map(float, done.stdout.split())
    return seconds, size


async def _wait(text: str) -> str:
    await asyncio.sleep(SECONDS)
    return text


async def _alone(side: str) -> None:
    flujo = Flujo(Pipeline(None, tuple(step(name=f"s{n}")(_wait) for n in range(STEPS))))
    validate = TypeAdapter(str).validator.validate_python

    async def ours() -> None:
        assert (await flujo.run_async("a")).output == "a"

    async def plain() -> None:
        text = "a"
        for _ in range(STEPS):
            text = validate(await _wait(text))

    one = ours if side == "ours" else plain
    await one()
    gc.collect()
    before = _memory("VmRSS")
    start = perf_counter()
    await asyncio.gather(*[one() for _ in range(RUNS)])
    seconds = perf_counter() - start
    print(seconds, (_memory("VmHWM") - before) / RUNS)


def _memory(what: str) -> int:
    """Bytes of memory that this process holds now (``VmRSS``), or held at most (``VmHWM``)."""
    status = Path("/proc/self/status").read_text("utf-8")
    return int(status.partition(f"{what}:")[2].split()[0]) * 1024


if __name__ == "__main__":
    asyncio.run(_alone(sys.argv[1]))
