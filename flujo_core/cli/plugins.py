"""``flujo plugins``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from flujo_core.builtin import Builtin
from flujo_core.cli.run import AsJson
from flujo_core.cli.session import Session, session
from flujo_core.config import Settings
from flujo_core.errors import ConfigurationError, did_you_mean
from flujo_core.hooks.host import Host
from flujo_core.hooks.integrity import lock_of
from flujo_core.hooks.load import Report
from flujo_core.hooks.scan import Installed, scan
from flujo_core.hooks.spec import HOOKS

LOCK = "plugins.lock"
FINE = ("loaded", "denied")

app = typer.Typer(no_args_is_help=True, help="The installed plugins.")


@app.callback()
def plugins() -> None:
    """The installed plugins."""


@app.command("list")
def list_plugins(context: typer.Context, as_json: AsJson = False) -> None:
    """Lists the installed plugins, and whether the configuration allows them; imports none of them."""
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


@app.command("doctor")
def doctor(context: typer.Context, as_json: AsJson = False) -> None:
    """Loads the installed plugins, and says what became of each, and what would mend it; exits with 2 if any cannot."""
    reports = _look(session(context)).reports
    if as_json:
        typer.echo(json.dumps([_row(report) for report in reports]))
    else:
        for report in reports:
            typer.echo(_line(report))
        if not reports:
            typer.echo("no plugin is installed")
    if any(report.state not in FINE for report in reports):
        raise typer.Exit(2)


@app.command("inspect")
def inspect(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A plugin, its entry point, or its distribution.")],
    as_json: AsJson = False,
) -> None:
    """Shows a plugin: where it is from, what it contributes, and its place in the order of each hook."""
    own = session(context)
    host = _look(own)
    report = _report(host, name)
    facts: dict[str, Any] = _row(report) | {"target": _target(report)} | _part(host, report.plugin, own.settings())
    if as_json:
        typer.echo(json.dumps(facts))
        return
    typer.echo(_line(report))
    for key in ("target", "api", "policy"):
        typer.echo(f"  {key:<14} {facts[key] or '-'}")
    for hook in facts["hooks"]:
        typer.echo(f"  {hook['hook']:<20} {' -> '.join(hook['order'])}")
    for one in facts["contributions"]:
        typer.echo(f"  {one['kind']:<14} {one['name']}  {one['target']}")


@app.command("lock")
def lock(context: typer.Context, as_json: AsJson = False) -> None:
    """Writes down the versions and the files of the allowed plugins: from then on, only these are loaded."""
    settings = session(context).settings()
    file = settings.plugins.lock or (settings.source.parent if settings.source else Path()) / LOCK
    found: list[Installed] = [one for one in scan() if settings.plugins.allows(one.distribution)]
    text = lock_of(found)
    try:
        file.write_text(text, "utf-8")
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the lock '{file}' cannot be written ({type(error).__name__})") from error
    if as_json:
        locked = {one.distribution: one.version for one in found}
        typer.echo(json.dumps({"lock": str(file), "in_force": settings.plugins.lock is not None, "plugins": locked}))
        return
    typer.echo(str(file))
    if settings.plugins.lock is None:
        typer.echo(f"it is in force once the configuration says so: '[plugins] lock = \"{file.name}\"' in flujo.toml")


def _look(own: Session) -> Host:
    return Host(own.settings().plugins, kernel=Builtin(), lenient=True)


def _row(report: Report) -> dict[str, Any]:
    row = report._asdict()
    del row["entry"]  # a name to ask for the plugin by, and no part of what became of it
    return row


def _line(report: Report) -> str:
    origin = f"{report.distribution} {report.version or ''}".strip() if report.distribution else ""
    first = f"{report.plugin:<20} {report.state:<12} {origin}".rstrip()
    if report.state in FINE:
        return first
    return f"{first}\n    it {report.reason}\n    {report.remedy}"


def _report(host: Host, name: str) -> Report:
    for report in host.reports:
        if name in (report.plugin, report.distribution, report.entry):
            return report
    known = [name for report in host.reports for name in (report.plugin, report.distribution or report.plugin)]
    raise ConfigurationError(f"there is no plugin '{name}'{did_you_mean(name, known)}")


def _target(report: Report) -> str | None:
    place = (report.distribution, report.entry)
    return next((one.target for one in scan() if (one.distribution, one.entry) == place), None)


def _part(host: Host, name: str, settings: Settings) -> dict[str, Any]:
    """The part that a plugin takes; what there is to know of one that takes none."""
    one = host.plugins.get(name)
    if one is None:
        return {"api": None, "policy": None, "hooks": [], "contributions": []}
    orders = {hook: [each.plugin for each in host.chain(hook)] for hook in HOOKS}
    entries = [(registry.what, entry) for registry in host.registries for entry in registry.entries()]
    return {
        "api": one.loaded.api,
        "policy": settings.plugins.policy(one.known_as),
        "hooks": [{"hook": hook, "order": order} for hook, order in orders.items() if name in order],
        "contributions": [
            {"kind": kind, "name": entry.name, "target": _told(entry.target)}
            for kind, entry in entries
            if entry.plugin == name
        ],
    }


def _told(target: object) -> str:
    """What a contribution is, without showing what is in it."""
    return target if isinstance(target, str) else f"<{type(target).__name__}>"
