"""``flujo diagram``."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from flujo_core.cli.run import StoreUrl, Target, checked
from flujo_core.cli.runs import state_of
from flujo_core.cli.session import DEFAULT_STORE, session
from flujo_core.model.diagram import diagram as drawn


def diagram(
    context: typer.Context,
    target: Target,
    text: Annotated[
        bool, typer.Option("--text", help="Draw a tree for the terminal, not a mermaid flowchart.")
    ] = False,
    run_id: Annotated[str | None, typer.Option("--run", metavar="ID", help="Show what became of it in a run.")] = None,
    store: StoreUrl = DEFAULT_STORE,
) -> None:
    """Draws a pipeline as a mermaid flowchart, or as text."""
    pipeline = checked(context, target)
    state = None if run_id is None else asyncio.run(state_of(session(context), store, run_id))
    typer.echo(drawn(pipeline, style="text" if text else "mermaid", run=state))
