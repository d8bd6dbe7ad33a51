"""Commands that plugins contribute. Plugins are loaded only for a command that the kernel does not have."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from flujo_core.cli.session import Session, session
from flujo_core.errors import ConfigurationError
from flujo_core.hooks.host import Host

LISTING = "flujo.listing"
HOST = "flujo.host"


class PluginCommands(TyperGroup):
    """The kernel's commands, and those of plugins by their short or full names; the kernel's come first."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found = super().get_command(ctx, cmd_name)
        if found is not None:
            return found
        commands = _host(ctx).commands
        entry = commands.find(cmd_name)
        if entry is None:
            return None
        if ctx.meta.get(LISTING):
            return TyperCommand(cmd_name, help=f"Contributed by plugin '{entry.plugin}'.")
        return _command(cmd_name, commands.get(cmd_name))

    def list_commands(self, ctx: Any) -> list[str]:
        names = super().list_commands(ctx)
        ctx.meta[LISTING] = True  # a command that is only listed is not imported
        try:
            entries = _host(ctx).commands.entries()
        except ConfigurationError as error:
            print(f"flujo: the commands of plugins are left out: {error}", file=sys.stderr)
            return names
        short = Counter([*names, *(entry.short for entry in entries)])
        return [*names, *(entry.short if short[entry.short] == 1 else entry.name for entry in entries)]


def _host(ctx: Any) -> Host:
    """The plugins, as the command line asks for them: it is parsed, and no command has been called yet."""
    if HOST not in ctx.meta:
        own = session(cast(typer.Context, ctx))
        ctx.meta[HOST] = Session(own.debug, ctx.params.get("plugin") or own.without).host()
    host: Host = ctx.meta[HOST]
    return host


def _command(name: str, target: Any) -> Any:
    if not isinstance(target, typer.Typer):
        app = typer.Typer(add_completion=False)
        app.command(name)(target)
        target = app
    command = get_command(target)
    command.name = name
    return command
