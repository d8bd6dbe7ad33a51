"""What is checked of a backend that isolates: crashes harm nothing else, and what does not end is stopped by force."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from flujo_core.model.hints import ResourceHints
from flujo_core.testing.backends import steps
from flujo_core.testing.backends.trial import Trying, call_of
from flujo_core.testing.stores.place import claim

SHORT = 0.5
"""Seconds that a step has that does not end."""


async def cancels(trying: Trying) -> None:
    """A call that is cancelled is cancelled, and stopped by force where that can be done; the next one goes on."""
    waiting = asyncio.ensure_future(trying.output(steps.nap, 0.3))
    await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.wait([waiting])
    claim(waiting.cancelled(), "a call that is cancelled does not end as cancelled")
    claim(await trying.output(steps.double, 1) == 2, "after a call that was cancelled, the next one does not succeed")
    if trying.backend.isolates:
        with TemporaryDirectory() as folder:
            file = Path(folder) / "beats"
            beating = asyncio.ensure_future(trying.outcome(call_of(steps.beat, str(file))))
            await _begun(file)
            beating.cancel()
            await asyncio.wait([beating])
            await _ended(file, "a call that was cancelled goes on")


async def survives_crashes(trying: Trying) -> None:
    """A step whose process ends fails, and nothing else does."""
    if not trying.backend.isolates:
        return
    other = asyncio.ensure_future(trying.output(steps.nap, 1.0))
    await asyncio.sleep(0)
    for code in (0, 3):
        await trying.failure(steps.crash, code, "flujo_core.errors:WorkerCrashed")
    claim(await other == 1.0, "a crash harms another call")
    claim(await trying.output(steps.double, 1) == 2, "after a crash the next call does not succeed")


async def times_out(trying: Trying) -> None:
    """A step that does not end is stopped when its time is over."""
    if not trying.backend.isolates:
        return
    limits: list[dict[str, object]] = [{"timeout": SHORT}]
    if "max_runtime" in trying.backend.honours:
        limits.append({"hints": ResourceHints(max_runtime=SHORT)})
    for limit in limits:
        with TemporaryDirectory() as folder:
            file = Path(folder) / "beats"
            await trying.failure(steps.beat, str(file), "flujo_core.errors:StepTimeout", **limit)
            await _ended(file, f"a step goes on after its '{next(iter(limit))}'")


async def _begun(file: Path) -> None:
    while not _size(file):  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.01)


async def _ended(file: Path, otherwise: str) -> None:
    """Checks that nothing writes to a file any more."""
    before = _size(file)
    await asyncio.sleep(0.2)
    claim(_size(file) == before, otherwise)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
