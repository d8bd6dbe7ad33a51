"""``flujo audit export``: sealed records go to a sink, from the log's files alone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from flujo_audit_advanced.cli_options import BAD, LogPath
from flujo_audit_advanced.errors import AuditError
from flujo_audit_advanced.export.running import exports_of
from flujo_core import ConfigurationError


def export_records(
    log: LogPath,
    to: Annotated[str, typer.Option("--to", help="The kind of sink: jsonl, syslog, cloudevents, splunk, ...")],
    option: Annotated[
        list[str] | None, typer.Option("--set", help="An option of the sink, as NAME=VALUE; may be repeated.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="What the export is called; else its kind.")] = None,
    cursor: Annotated[Path | None, typer.Option("--cursor", help="Where it keeps how far it has come.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
) -> None:
    """Carries sealed records to a sink, from where the last export of that name has come to; no server need run."""
    table = {"kind": to} | dict(setting(one) for one in option or ())
    try:
        (export,) = exports_of([table | {"name": name or to}])
        reached = asyncio.run(export.exporter(log, cursor).run(follow=follow))
    except KeyboardInterrupt:
        return
    except AuditError as error:
        typer.echo(f"flujo: {error}", err=True)
        raise typer.Exit(BAD) from None
    typer.echo(f"exported up to record {reached - 1}" if reached else "there is nothing to export")


def setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ConfigurationError(f"'--set {name}' is no option of a sink; write NAME=VALUE")
    return name, value
