"""``flujo runs delete``, ``prune`` and ``erase``: runs are taken out of the store, and nothing of them stays in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from flujo_core.cli.resume import RunId
from flujo_core.cli.run import AsJson, StoreUrl
from flujo_core.cli.session import DEFAULT_STORE, session
from flujo_core.engine.removal import about, delete, erase, prunable, prune, subject_digest
from flujo_core.errors import ConfigurationError
from flujo_core.model.event import RunStatus
from flujo_core.model.retention import Retention, ages_of, seconds_of
from flujo_core.store.protocol import Store


def delete_run(
    context: typer.Context,
    run_id: RunId,
    force: Annotated[bool, typer.Option("--force", help="Delete it though it waits, or has crashed.")] = False,
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Deletes a run that has ended; its bytes are written over."""
    own = session(context)
    own.in_store(store, lambda kept: delete(own.forgetting(kept), run_id, force=force), decoded=False)
    typer.echo(json.dumps({"deleted": [run_id]}) if as_json else f"run {run_id} is deleted")


def prune_runs(
    context: typer.Context,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            metavar="AGE",
            help="How long ago they ended, at least: 30d, 12h, 45m, 2w; as '[retention]' of the configuration says.",
        ),
    ] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only this tenant's.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which.")] = False,
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Deletes the runs that ended long ago; those that have not ended stay."""
    own = session(context)
    ages = _ages(own.settings().retention, older_than)

    async def pruned(kept: Store) -> Sequence[str]:
        found = await prunable(kept, ages, tenant=tenant)
        return [run.run_id for run in found] if dry_run else await prune(own.forgetting(kept), found)

    _tell(own.in_store(store, pruned, decoded=False), dry_run, as_json)


def erase_runs(
    context: typer.Context,
    subject: Annotated[str, typer.Argument(help="Whom the data is about, as '--subject' of 'flujo run' said.")],
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only this tenant's.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which.")] = False,
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Deletes all runs whose data is about somebody, ended or not."""

    async def erased(kept: Store) -> Sequence[str]:
        digest = subject_digest(subject)
        found = await about(kept, digest, tenant=tenant)
        return [run.run_id for run in found] if dry_run else await erase(kept, found, digest, tenant=tenant)

    _tell(session(context).in_store(store, erased), dry_run, as_json)


def _tell(run_ids: Sequence[str], dry_run: bool, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"would_delete" if dry_run else "deleted": list(run_ids)}))
        return
    for run_id in run_ids:
        typer.echo(run_id)
    runs = f"{len(run_ids)} run{'' if len(run_ids) == 1 else 's'}"
    typer.echo(f"{runs} would be deleted" if dry_run else f"{runs} deleted", err=True)


def _ages(retention: Retention | None, older_than: str | None) -> Mapping[RunStatus, float]:
    """How long ago runs have ended that are pruned, by what they ended as.

    Raises:
        BadParameter: What was given is no age, or less than the configuration lets.
        ConfigurationError: Nothing says it.
    """
    if older_than is None:
        return ages_of(retention, None)
    try:
        return ages_of(retention, seconds_of(older_than))
    except ConfigurationError as error:
        raise typer.BadParameter(str(error), param_hint="'--older-than'") from None
