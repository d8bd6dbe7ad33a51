"""``flujo runs export`` and ``verify``: one run as a file that can be kept, moved and checked."""

from __future__ import annotations

import asyncio
import json
from io import BytesIO
from pathlib import Path
from typing import Annotated

import typer

from flujo_core.cli.resume import RunId
from flujo_core.cli.run import AsJson, StoreUrl
from flujo_core.cli.session import DEFAULT_STORE, Session, session
from flujo_core.cli.store import bundle_in, existing
from flujo_core.store.portable import PortableWriter, copies
from flujo_core.store.url import sqlite_path


def export_run(context: typer.Context, run_id: RunId, store: StoreUrl = DEFAULT_STORE) -> None:
    """Writes a run, with all its values, to the standard output; 'flujo runs import' reads it."""
    written = asyncio.run(_exported(session(context), store, run_id))
    typer.echo(written, nl=False)


def verify(
    file: Annotated[Path, typer.Argument(help="A file that 'flujo runs export' or 'flujo store export' wrote.")],
    digest: Annotated[
        str | None, typer.Option("--digest", metavar="SHA256", help="What this command said of the file before.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Checks that a file is what was exported: every line, their order, their number; says its digest."""
    found = bundle_in(file)
    if digest is not None and digest != found.digest:
        typer.echo(f"flujo: {file} is whole, and another file than the one of that digest", err=True)
        raise typer.Exit(1)
    records, mail = sum(len(run.records) for run in found.runs), sum(len(run.mail) for run in found.runs)
    if as_json:
        facts = {"runs": [run.run_id for run in found.runs], "records": records, "mail": mail}
        typer.echo(json.dumps({"file": str(file), **facts, "digest": found.digest}))
    else:
        names = ", ".join(f"'{run.run_id}'" for run in found.runs)
        typer.echo(f"{file} is whole: {records} records and {mail} mail of {names or 'no run'}")
        typer.echo(f"digest {found.digest}")


async def _exported(own: Session, url: str, run_id: str) -> bytes:
    """All of it, before a byte is written: a file that is torn is no file."""
    if sqlite_path(url):
        existing(url)
    store, made = own.store_at(url), BytesIO()
    try:
        writer = PortableWriter(made)
        async for run in copies(store, [run_id]):
            writer.write(run)
        writer.end()
    finally:
        await store.close()
    return made.getvalue()
