"""``flujo runs recover``: every run of a pipeline goes on that nobody goes on with, and that could."""

from __future__ import annotations

import json
from typing import Annotated, Any, NamedTuple

import typer

from flujo_core.cli.interrupt import within
from flujo_core.cli.report import lines_of, summary
from flujo_core.cli.resume import Earlier, earlier
from flujo_core.cli.run import AsJson, StoreUrl, Target
from flujo_core.cli.session import DEFAULT_STORE, session
from flujo_core.cli.text import MARKS
from flujo_core.engine.pending import recoverable
from flujo_core.errors import FlujoError, IncompatiblePipeline, RunBusy
from flujo_core.model.result import PipelineResult, RunFailed

WELL = ("completed", "stopped", "cancelled", "paused", "running")


class Recovered(NamedTuple):
    """What became of one run.

    Attributes:
        run_id: The run.
        status: Its status; ``running`` if somebody else goes on with it; ``incompatible`` if the pipeline does not fit
            it, and ``error`` if something else kept it from going on.
        result: What it came to, if it went on.
        error: Why it failed, or did not go on; or None.
    """

    run_id: str
    status: str
    result: PipelineResult[Any, Any] | None = None
    error: str | None = None


def recover(
    context: typer.Context,
    target: Target,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only this tenant's.")] = None,
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Goes on with each run of a pipeline whose process is gone, or that has mail, or whose question's time is over."""
    found = earlier(session(context), target, store, shows=not as_json)
    done: list[Recovered] = []

    async def all_of_them() -> None:
        for run_id in await recoverable(found.store, found.flujo.pipeline.label, tenant):
            done.append(await _recovered(found, run_id))
            if not as_json:
                typer.echo("\n".join(_lines(done[-1])))

    try:
        within(found.flujo, all_of_them)
    finally:  # a plugin that does not shut down well takes nothing away
        if as_json:
            typer.echo(json.dumps([_facts(one) for one in done]))
    if not done and not as_json:
        typer.echo(f"no run of pipeline '{found.flujo.pipeline.label}' is to be recovered")
    if any(one.status not in WELL for one in done):
        raise typer.Exit(1)


async def _recovered(found: Earlier, run_id: str) -> Recovered:
    """Goes on with one; what keeps it from that keeps no other from it."""
    try:
        result = await found.flujo.resume_async(run_id)
    except RunFailed as failed:
        return Recovered(run_id, failed.result.status, failed.result, str(failed.result.error or failed))
    except RunBusy as busy:
        return Recovered(run_id, "running", error=str(busy))
    except IncompatiblePipeline as error:
        return Recovered(run_id, "incompatible", error=str(error))
    except FlujoError as error:
        return Recovered(run_id, "error", error=str(error))
    return Recovered(run_id, result.status, result)


def _lines(one: Recovered) -> list[str]:
    lines = [f"{MARKS.get(one.status, MARKS['failed'])} {one.status:<12} {one.run_id}  {one.error or ''}".rstrip()]
    if one.result is not None and one.result.status == "paused":
        lines += [line for question in one.result.questions for line in lines_of(question)]
    return lines


def _facts(one: Recovered) -> dict[str, Any]:
    """As a JSON object: what ``flujo run`` gives of a run, or as much of it as there is."""
    facts = {"run_id": one.run_id, "status": one.status} if one.result is None else summary(one.result)
    return facts | {"error": one.error}
