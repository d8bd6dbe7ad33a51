"""What the audit log costs: durable events against the disk's own syncs, events that nobody waits for, verification."""

from __future__ import annotations

import asyncio
import operator
import os
import time
from functools import reduce
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from flujo_audit_advanced import (
    AuditLog,
    AuditPlugin,
    LocalSigner,
    Recording,
    Rule,
    Trust,
    encode_record,
    key_of,
    verify_log,
)
from measure import Ratio

from flujo_core import Flujo, Plugin, RunEnd, RunEvent, RunStart, StepCall, step

PRODUCERS = 100
EACH = 60
SYNCS = 200
ROUNDS = 5
EVENTS = int(os.environ.get("FLUJO_BENCHMARK_EVENTS", "200000"))
ORIGIN = "flujo.test/audit"


STEPS, RUNS = 100, 10
RECORDS = 3 * STEPS + 4


class Idle(Plugin):
    """Has the hooks of the audit, and does nothing."""

    name = "idle"

    async def on_pipeline_start(self, run: RunStart, /) -> None: ...

    async def pre_step_execution(self, call: StepCall, /) -> None: ...

    async def on_pipeline_end(self, run: RunStart, end: RunEnd, /) -> None: ...

    async def on_event(self, event: RunEvent, /) -> None: ...


@step
async def add(number: int) -> int:
    return number + 1


CHAIN = reduce(operator.rshift, [add.named(f"add{number}") for number in range(STEPS)])


def event(number: int) -> bytes:
    fields = {"run": "5f2c8d1e9a", "address": f"refine[{number}]/critique", "attempt": 1, "digest": "ab" * 32}
    return encode_record({"id": f"e{number}", "kind": "step.started", "at": time.time_ns() // 1000, **fields})


async def measure() -> list[Ratio]:
    with TemporaryDirectory(dir=os.environ.get("FLUJO_BENCHMARK_FOLDER")) as place:
        return [*await _durable(Path(place)), *await _posted(Path(place)), await _recorded(Path(place))]


async def _recorded(place: Path) -> Ratio:
    """What the plugin costs for each record of a run in batch mode, at the level of digests, beside an idle one."""
    what = Recording(place / "recorded", LocalSigner.generate(), bytes(32), [Rule(["*"], "batch")])
    costs = []
    for _ in range(ROUNDS):
        idle, busy = await _chain(Idle()), await _chain(AuditPlugin(what))
        costs.append((busy - idle) / RECORDS)
    return Ratio("audit hook in batch mode, each record, against 20 µs", median(costs), 20e-6, 1)


async def _chain(plugin: Plugin) -> float:
    """Seconds of a run of a hundred steps."""
    async with Flujo(CHAIN, plugins=[plugin]) as flujo:
        await flujo.run_async(0)
        start = perf_counter()
        for _ in range(RUNS):
            await flujo.run_async(0)
        return (perf_counter() - start) / RUNS


async def _durable(place: Path) -> list[Ratio]:
    """Rounds of each side take turns, for the disk is not as fast at all times; of the limits, the lesser counts."""
    signer = LocalSigner.generate()
    log = await AuditLog.open(place / "durable", signer, origin=ORIGIN)
    loose = await AuditLog.open(place / "loose", signer, origin=ORIGIN, durable=False)
    times: dict[str, list[float]] = {"durable": [], "once": [], "plain": [], "sync": []}
    for number in range(ROUNDS):
        times["durable"].append(await _produced(log))
        times["once"].append(await _produced(loose))
        times["plain"].append(_plain(place / f"plain{number}"))
        times["sync"].append(_synced(place / f"synced{number}"))
    await log.close()
    await loose.close()
    durable, once, plain, sync = (median(found) for found in times.values())
    allowed = median(max(sync / 50, plain / 0.3) for plain, sync in zip(times["plain"], times["sync"], strict=True))
    what = f"durable audit event, {PRODUCERS} producers, against"
    return [
        Ratio(f"{what} 50x an fsync or 0.3x", durable, allowed, 1),
        Ratio(f"{what} an append and fsync", durable, sync, 1 / 50),
        Ratio(f"{what} plain writes, one sync", durable, plain, 1 / 0.3),
        Ratio(f"{what} this log, one sync", durable, once, 1 / 0.3),
    ]


async def _produced(log: AuditLog) -> float:
    """Seconds for each event."""

    async def produce(first: int) -> None:
        for number in range(first, first + EACH):
            await log.append(event(number))

    begin, start = log.size, perf_counter()
    await asyncio.gather(*(produce(begin + EACH * producer) for producer in range(PRODUCERS)))
    await log.flush()
    return (perf_counter() - start) / (PRODUCERS * EACH)


def _plain(path: Path) -> float:
    """Seconds for each event that is written as it is, and synced with all others."""
    start = perf_counter()
    file = os.open(path, os.O_CREAT | os.O_WRONLY)
    for number in range(PRODUCERS * EACH):
        os.write(file, event(number))
    os.fsync(file)
    os.close(file)
    return (perf_counter() - start) / (PRODUCERS * EACH)


def _synced(path: Path) -> float:
    """Seconds for each event that is written and synced."""
    file = os.open(path, os.O_CREAT | os.O_WRONLY)
    start = perf_counter()
    for number in range(SYNCS):
        os.write(file, event(number))
        os.fsync(file)
    taken = (perf_counter() - start) / SYNCS
    os.close(file)
    return taken


async def _posted(place: Path) -> list[Ratio]:
    signer = LocalSigner.generate()
    async with await AuditLog.open(place / "posted", signer, origin=ORIGIN, durable=False) as log:
        start = perf_counter()
        for number in range(EVENTS):
            log.post(event(number))
            if number % 5000 == 0:
                await log.flush()
        await log.flush()
        posted = (perf_counter() - start) / EVENTS
    start = perf_counter()
    report = verify_log(place / "posted", Trust(key_of(ORIGIN, signer)))
    verified = (perf_counter() - start) / EVENTS
    assert report.intact and report.size > EVENTS
    return [
        Ratio("audit event that is not durable, against 50,000 a second", posted, 1 / 50_000, 1),
        Ratio(f"verification of {EVENTS:,} audit events, each, against 30 µs", verified, 30e-6, 1),
    ]
