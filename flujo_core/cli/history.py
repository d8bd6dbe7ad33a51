"""``flujo runs fork``, ``replay`` and ``diff``: what is made of what a run has done."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import typer

from flujo_core.cli.interrupt import within
from flujo_core.cli.report import Report, summary
from flujo_core.cli.resume import RunId, earlier
from flujo_core.cli.run import AsJson, StoreUrl, Target
from flujo_core.cli.runs import state_of
from flujo_core.cli.session import DEFAULT_STORE, session
from flujo_core.cli.text import cost, tokens, usage_facts
from flujo_core.model.diff import PartDiff, PartTrace, RunDiff, diff
from flujo_core.model.duration import span
from flujo_core.model.result import PipelineResult, RunFailed
from flujo_core.model.run import RunState

MARKS = {"same": "=", "changed": "≠", "only_first": "-", "only_second": "+"}
"""The mark of each verdict."""


def fork(
    context: typer.Context,
    run_id: RunId,
    target: Target,
    at: Annotated[str, typer.Option("--at", metavar="ADDRESS", help="Where it runs anew: 'refine[2]/write'.")],
    keep_answers: Annotated[
        bool, typer.Option("--keep-answers", help="Take over what people have answered; else they are asked again.")
    ] = False,
    fork_id: Annotated[str | None, typer.Option("--run-id", metavar="ID", help="The id of the new run.")] = None,
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Begins a new run that keeps what another one did before an address, and goes on from there."""
    flujo = earlier(session(context), target, store, run_id, shows=not as_json).flujo
    report = Report(store, as_json, target)

    async def forked() -> None:
        report.print(await flujo.fork_async(run_id, at=at, keep_answers=keep_answers, fork_id=fork_id))

    try:
        within(flujo, forked)
    except RunFailed as error:
        report.print(error.result)
        raise


def replay(
    context: typer.Context, run_id: RunId, target: Target, store: StoreUrl = DEFAULT_STORE, as_json: AsJson = False
) -> None:
    """Works out again what a run came to, from its journal alone, and checks that against its recorded end."""
    flujo = earlier(session(context), target, store, run_id).flujo

    async def replayed() -> PipelineResult[Any, Any]:
        return await flujo.replay_async(run_id)

    result = within(flujo, replayed)
    if as_json:
        typer.echo(json.dumps(summary(result)))
        return
    count = f"{len(result.steps)} step{'' if len(result.steps) == 1 else 's'}"
    typer.echo(f"run {run_id}: {result.status}, {count}, {len(result.questions)} open questions; its journal agrees")


def diff_runs(
    context: typer.Context,
    first: Annotated[str, typer.Argument(metavar="RUN", help="The id of one run.")],
    second: Annotated[str, typer.Argument(metavar="OTHER", help="The id of the other one.")],
    values: Annotated[bool, typer.Option("--values", help="Show the outputs that are different too.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Show what is the same too.")] = False,
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Compares two runs, step by step."""
    own = session(context)

    async def both() -> tuple[RunState, RunState]:
        return await state_of(own, store, first), await state_of(own, store, second)

    found = diff(*asyncio.run(both()))
    if as_json:
        typer.echo(json.dumps(_facts(found, values)))
        return
    for name in found.changes:
        what = f": {found.statuses[0]}, {found.statuses[1]}" if name == "status" else ""
        typer.echo(f"≠ {name} of the run{what}")
    for part in found.parts:
        if everything or part.verdict != "same":
            typer.echo("\n".join(_lines(part, values)))
    if found.is_same:
        typer.echo(f"the runs are the same, in all {len(found.parts)} steps and nodes")


def _lines(part: PartDiff, values: bool) -> list[str]:
    what = f": {', '.join(part.changes)}" if part.changes else ""
    lines = [f"{MARKS[part.verdict]} {part.address}{what}"]
    if part.verdict == "same":
        return lines
    for mark, trace in (("-", part.first), ("+", part.second)):
        if trace is not None:
            lines.append(f"    {mark} {_told(trace)}")
            lines += [f"      {json.dumps(trace.output, ensure_ascii=False)}"] if values and trace.output_digest else []
    return lines


def _told(trace: PartTrace) -> str:
    tries = f"{trace.attempts} attempts" if trace.attempts > 1 else ""
    digest = f"output {trace.output_digest[:12]}" if trace.output_digest else ""
    facts = [trace.status, trace.error, tries, digest, *trace.decisions]
    return ", ".join(one for one in [*facts, span(trace.duration), tokens(trace.usage), cost(trace.usage)] if one)


def _facts(found: RunDiff, values: bool) -> dict[str, Any]:
    return {
        "run_ids": list(found.run_ids),
        "statuses": list(found.statuses),
        "same": found.is_same,
        "changes": list(found.changes),
        "parts": [
            {
                "address": part.address,
                "verdict": part.verdict,
                "changes": list(part.changes),
                "first": _trace(part.first, values),
                "second": _trace(part.second, values),
            }
            for part in found.parts
        ],
    }


def _trace(trace: PartTrace | None, values: bool) -> dict[str, Any] | None:
    if trace is None:
        return None
    facts = trace._asdict() | {"usage": None if trace.usage is None else usage_facts(trace.usage)}
    return facts if values else {name: value for name, value in facts.items() if name != "output"}
