"""``flujo runs compat``: whether runs that have not ended can go on with a pipeline; asked before it is deployed."""

from __future__ import annotations

import json
from collections import Counter
from typing import Annotated, Any, NamedTuple

import typer

from flujo_core.cli.interrupt import within
from flujo_core.cli.resume import Earlier, earlier
from flujo_core.cli.run import AsJson, StoreUrl, Target
from flujo_core.cli.session import DEFAULT_STORE, session
from flujo_core.engine.pending import UNENDED, pipeline_of
from flujo_core.model.compatibility import Comparison
from flujo_core.store.paging import every_run
from flujo_core.store.protocol import RunSummary


class Unended(NamedTuple):
    """The runs that have not ended.

    Attributes:
        own: Those of the pipeline, the oldest first.
        others: How many are of another one, by its name.
    """

    own: list[str]
    others: Counter[str]


def compat(
    context: typer.Context,
    target: Target,
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="Only these; else all of its that have not ended.")
    ] = None,
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Says which runs can go on with a pipeline as it is now, and what stands against the others; changes nothing."""
    found = earlier(session(context), target, store)

    async def compared() -> tuple[dict[str, Comparison], Counter[str]]:
        unended = Unended(runs, Counter()) if runs else await _unended(found)
        return {run_id: await found.flujo.compat_async(run_id) for run_id in unended.own}, unended.others

    comparisons, others = within(found.flujo, compared)
    if as_json:
        typer.echo(json.dumps([_facts(run_id, one) for run_id, one in comparisons.items()]))
    else:
        _print(comparisons, found.flujo.pipeline.label)
    for pipeline, count in others.items():
        what = "1 run that has not ended is" if count == 1 else f"{count} runs that have not ended are"
        typer.echo(f"{what} of pipeline '{pipeline}', and not looked at; name the runs to do so", err=True)
    if any(one.differences for one in comparisons.values()):
        raise typer.Exit(1)


def _print(comparisons: dict[str, Comparison], pipeline: str) -> None:
    for run_id, one in comparisons.items():
        typer.echo(f"{'✗ is refused  ' if one.differences else '✓ goes on     '} {run_id}")
        for difference in one.differences:
            typer.echo(f"    {difference}")
        for warning in one.warnings:
            typer.echo(f"    warning: {warning}")
    if not comparisons:
        typer.echo(f"no run of pipeline '{pipeline}' has not ended")


def _facts(run_id: str, one: Comparison) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "goes_on": not one.differences,
        "differences": [one._asdict() for one in one.differences],
        "warnings": list(one.warnings),
        "renames": dict(one.renames),
        "migrated": dict(one.migrated),
    }


async def _unended(found: Earlier) -> Unended:
    own: list[RunSummary] = []
    others: Counter[str] = Counter()
    for status in UNENDED:
        async for run in every_run(found.store, status=status):
            pipeline = await pipeline_of(found.store, run.run_id)
            if pipeline == found.flujo.pipeline.label:
                own.append(run)
            else:
                others[pipeline] += 1
    return Unended([run.run_id for run in sorted(own, key=lambda run: run.started_at)], others)
