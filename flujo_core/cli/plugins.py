"""``flujo plugins``."""

from __future__ import annotations

import json

import typer

from flujo_core.cli.run import AsJson
from flujo_core.cli.session import session
from flujo_core.hooks.host import scan

app = typer.Typer(no_args_is_help=True, help="The installed plugins.")


@app.callback()
def plugins() -> None:
    """The installed plugins."""


@app.command("list")
def list_plugins(context: typer.Context, as_json: AsJson = False) -> None:
    """Lists the installed plugins, and whether the configuration allows them."""
    settings = session(context).settings().plugins
    rows = [
        {
            "distribution": found.distribution,
            "version": found.version,
            "plugin": found.entry,
            "target": found.target,
            "state": "allowed" if settings.allows(found.distribution) else "denied",
        }
        for found in scan()
    ]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        typer.echo(f"{row['plugin']:<20} {row['state']:<8} {row['distribution']} {row['version']}  {row['target']}")
    if not rows:
        typer.echo("no plugin is installed")
