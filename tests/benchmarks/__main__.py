"""Measures what the README and the docs claim of performance: ``python tests/benchmarks [GROUP ...]``."""

from __future__ import annotations

import asyncio
import platform
import sys

import agent_steps
import audit
import concurrency
import discovery
import durable
import flow
import hooks
import imports
import resume
import steps
import streams

GROUPS = {
    "imports": imports.measure,
    "discovery": discovery.measure,
    "steps": steps.measure,
    "flow": flow.measure,
    "concurrency": concurrency.measure,
    "hooks": hooks.measure,
    "streams": streams.measure,
    "agents": agent_steps.measure,
    "durable": durable.measure,
    "resume": resume.measure,
    "audit": audit.measure,
}


async def main(names: list[str]) -> None:
    print(f"Python {platform.python_version()}; ours, the baseline, their ratio, and what it is meant to stay within")
    for name in names or list(GROUPS):
        for ratio in await GROUPS[name]():
            print(ratio)


asyncio.run(main(sys.argv[1:]))
