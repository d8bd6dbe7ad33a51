"""``flujo runs pending``: what the runs of a store wait for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Annotated

import typer

from flujo_core.cli.report import facts_of, lines_of
from flujo_core.cli.run import AsJson, StoreUrl
from flujo_core.cli.session import DEFAULT_STORE, Session, session
from flujo_core.cli.text import moment
from flujo_core.engine.pending import pending as pending_in
from flujo_core.errors import ConfigurationError
from flujo_core.model.question import Question
from flujo_core.store.protocol import Store


def pending(
    context: typer.Context,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only this tenant's.")] = None,
    run_id: Annotated[str | None, typer.Option("--run", metavar="ID", help="Only this run's.")] = None,
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Lists the questions that are open, with their texts, the oldest first."""
    found = asyncio.run(_found(session(context), store, tenant, run_id))
    if as_json:
        typer.echo(json.dumps([facts_of(one) for one in found]))
        return
    for one in found:
        typer.echo(f"run {one.run_id}, asked {moment(one.asked_at)} UTC")
        typer.echo("\n".join(lines_of(one)))
    if not found:
        typer.echo("nothing is asked")


async def _found(own: Session, url: str, tenant: str | None, run_id: str | None) -> Sequence[Question]:
    store = own.readable_store(url)
    if store is None:
        return ()
    try:
        return await pending_in(_decoding(own, store), tenant, run_id)
    finally:
        await store.close()


def _decoding(own: Session, store: Store) -> Store:
    """The store, read through its codecs; without their keys as it is, which says what headers say."""
    try:
        return own.decoding(store)
    except ConfigurationError as error:
        typer.echo(f"flujo: {error}; what is asked cannot be read", err=True)
        return store
