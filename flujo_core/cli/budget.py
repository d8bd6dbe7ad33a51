"""``flujo budget show``: what the configuration allows, and what a run or a tenant has spent and holds of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from flujo_core.cli.run import AsJson, StoreUrl
from flujo_core.cli.session import DEFAULT_STORE, session
from flujo_core.errors import ConfigurationError, UnknownRun
from flujo_core.model.run import fold
from flujo_core.model.spend import Spend, Standing
from flujo_core.store.codec import decode
from flujo_core.store.protocol import Store

if TYPE_CHECKING:
    from flujo_core.model.budget import Budget

app = typer.Typer(no_args_is_help=True, help="What runs and tenants may spend, and have spent.")


class Line(NamedTuple):
    """What is spent and held of something.

    Attributes:
        what: Of what: a budget, a step's address; or the whole.
        standing: What.
    """

    what: str
    standing: Standing


@app.callback()
def budget() -> None:
    """Budgets; only here so that ``show`` is a command of its own."""


@app.command("show")
def show(
    context: typer.Context,
    run: Annotated[str | None, typer.Option("--run", help="What this run has spent, and each of its steps.")] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="What the runs of this tenant have spent.")] = None,
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Shows the budgets of the configuration, and what a run or a tenant has spent."""
    if run is not None and tenant is not None:
        raise ConfigurationError("'flujo budget show' tells of a run or of a tenant; give '--run' or '--tenant'")
    own = session(context)
    budgets = own.settings().budgets
    lines: Sequence[Line] = ()
    if run is not None:
        lines = own.in_store(store, lambda kept: _of_run(kept, run))
    elif tenant is not None:
        lines = own.in_store(store, lambda kept: _of_tenant(kept, tenant, budgets))
    _tell(budgets, lines, as_json)


async def _of_run(store: Store, run_id: str) -> list[Line]:
    records = await store.read(run_id)
    if not records:
        raise UnknownRun(f"there is no run '{run_id}' in the store")
    spending = fold(map(decode, records)).spending
    steps = sorted({*spending.spent, *(one.step for one in spending.held.values())} - {""})
    return [Line(f"run {run_id}", spending.standing()), *(Line(one, spending.standing(one)) for one in steps)]


async def _of_tenant(store: Store, tenant: str, budgets: Sequence[Budget]) -> list[Line]:
    lines = [Line(f"tenant {tenant}, ever", await store.standing(tenant))]
    for one in budgets:
        if one.per == "tenant" and one.window is not None:
            seconds = one.window.total_seconds()
            lines.append(Line(f"tenant {tenant}, last {one.window}", await store.standing(tenant, seconds)))
    return lines


def _tell(budgets: Sequence[Budget], lines: Sequence[Line], as_json: bool) -> None:
    if as_json:
        facts = [
            {"what": one.what, "spent": _plain(one.standing.spent), "held": _plain(one.standing.held)} for one in lines
        ]
        given = [one.model_dump(mode="json", exclude_none=True) for one in budgets]
        typer.echo(json.dumps({"budgets": given, "ledger": facts}))
        return
    for budget in budgets:
        typer.echo(f"budget  {budget}")
    if not budgets:
        typer.echo("the configuration has no budgets; a program may have some of its own", err=True)
    for line in lines:
        held = "" if line.standing.held == Spend() else f"; held: {_said(line.standing.held)}"
        typer.echo(f"{line.what}: {_said(line.standing.spent)}{held}")


def _said(spend: Spend) -> str:
    tools = f", {spend.tool_calls} tool calls" if spend.tool_calls else ""
    return f"{spend.cost_usd} USD, {spend.tokens} tokens, {spend.requests} requests{tools}"


def _plain(spend: Spend) -> dict[str, Any]:
    return spend._asdict() | {"cost_usd": str(spend.cost_usd)}
