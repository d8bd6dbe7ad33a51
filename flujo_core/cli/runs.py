"""``flujo runs``: what is in the journal."""

from __future__ import annotations

import asyncio
import json
import sys
from time import time
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from flujo_core.cli.run import AsJson, StoreUrl
from flujo_core.cli.session import DEFAULT_STORE, Session, session
from flujo_core.cli.text import MARKS, STYLES, cost, iso, moment, tokens, usage_facts
from flujo_core.engine.history import folded
from flujo_core.engine.lease import is_dead
from flujo_core.errors import UnknownRun
from flujo_core.model.duration import span
from flujo_core.model.run import NodeResult, QuestionState, RunState, StepResult
from flujo_core.store.protocol import RunSummary

app = typer.Typer(no_args_is_help=True, help="The runs in the journal.")


@app.callback()
def runs() -> None:
    """The runs in the journal."""


@app.command("list")
def list_runs(
    context: typer.Context,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many at most.")] = 20,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only this tenant's.")] = None,
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Lists runs, the latest first."""
    found = asyncio.run(_listed(session(context), store, limit, tenant))
    if as_json:
        typer.echo(json.dumps([_summary(run) for run in found]))
        return
    console = _console()
    for run in found:
        line = Text.assemble((f"{MARKS[run.status]} {run.status:<10}", STYLES[run.status]), f" {run.run_id}  ")
        line.append(f"{moment(run.started_at)}  {span(run.updated_at - run.started_at):>10}")
        console.print(line.append("  crashed" if _is_crashed(run) else ""), soft_wrap=True)
    if not found:
        typer.echo("no runs")


@app.command("show")
def show_run(
    context: typer.Context,
    run_id: Annotated[str, typer.Argument(help="The run's id.")],
    values: Annotated[bool, typer.Option("--values", help="Show the input and the outputs too.")] = False,
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Shows a run: its steps as a tree, with timings, tokens and cost."""
    state = asyncio.run(state_of(session(context), store, run_id))
    if as_json:
        typer.echo(json.dumps(_details(state, values)))
    else:
        _console().print(_tree(state, values), soft_wrap=True)


def _console() -> Console:
    """A console that cuts no line where its width is not that of a terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 1000)


async def _listed(own: Session, url: str, limit: int, tenant: str | None) -> list[RunSummary]:
    store = own.readable_store(url)
    if store is None:
        return []
    try:
        return list(await store.runs(limit=limit, tenant=tenant))
    finally:
        await store.close()


async def state_of(own: Session, url: str, run_id: str) -> RunState:
    """The state of a run that is in a store.

    Raises:
        UnknownRun: It is not.
        StoreError: Its journal cannot be read.
    """
    store = own.readable_store(url)
    if store is None:
        raise UnknownRun(f"there is no run '{run_id}': the store {url} does not exist yet")
    try:
        return await folded(own.decoding(store), run_id)
    finally:
        await store.close()


def _tree(state: RunState, values: bool) -> Tree:
    spent = None if state.ended_at is None else state.ended_at - state.started_at
    facts = [span(spent), tokens(state.usage), cost(state.usage)]
    head = Text.assemble((f"{MARKS[state.status]} {state.status}", STYLES[state.status]), f"  run {state.run_id}")
    tree = Tree(head.append("".join(f"  {fact}" for fact in facts if fact)))
    tree.add(Text(f"{state.pipeline}, begun {moment(state.started_at)} UTC"))
    for reason in (state.error, state.reason):
        if reason is not None:
            tree.add(Text(str(reason), STYLES[state.status]))
    scopes = {"": tree}
    for step in state.steps.values():
        _scope(scopes, step.address.rpartition("/")[0]).add(_line(step, values))
    for question in state.questions.values():
        tree.add(_asked(question, values))
    if values:
        tree.add(Text(f"input {_json(state.input)}"))
        tree.add(Text(f"output {_json(state.output)}"))
    return tree


def _scope(scopes: dict[str, Tree], path: str) -> Tree:
    """The branch of the tree for the steps of a scope."""
    if path not in scopes:
        above, _, name = path.rpartition("/")
        scopes[path] = _scope(scopes, above).add(Text(name))
    return scopes[path]


def _line(step: StepResult, values: bool) -> Text:
    name = step.address.rpartition("/")[2]
    tries = f"{step.attempts} attempts" if step.attempts > 1 else ""
    facts = [span(step.duration), tries, tokens(step.usage), cost(step.usage), str(step.error or "")]
    line = Text.assemble((f"{MARKS[step.status]} ", STYLES[step.status]), f"{name:<18}")
    line.append("".join(f"  {fact}" for fact in facts if fact))
    return line.append(f"\n    {_json(step.output)}") if values and step.status == "completed" else line


def _asked(one: QuestionState, values: bool) -> Text:
    """What was asked, in a line; two with its text and answer."""
    terms, answer = one.asked.terms, one.answer
    facts = [f"asked {moment(one.asked.at)} UTC"]
    if one.status == "open":
        facts += [f"until {moment(terms.expires_at)} UTC"] if terms.expires_at is not None else []
        facts += [f"{len(one.votes)} of {terms.quorum} votes"] if terms.quorum > 1 else []
    elif answer is not None:
        facts.append(f"after {span(answer.at - one.asked.at)}")
        facts += [f"by {answer.approver}"] if answer.approver else []
    line = Text(f"? {one.asked.address}  {one.status}, {', '.join(facts)}")
    if not values:
        return line
    return line.append(f"\n    {one.asked.text}" + ("" if answer is None else f"\n    {_json(answer.answer)}"))


def _summary(run: RunSummary) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "status": run.status,
        "tenant": run.tenant,
        "started_at": iso(run.started_at),
        "updated_at": iso(run.updated_at),
        "records": run.records,
        "epoch": run.epoch,
        "crashed": _is_crashed(run),
    }


def _is_crashed(run: RunSummary) -> bool:
    """Whether nobody goes on with a run that runs: its process is gone, or was of another machine, and is silent."""
    return run.status == "running" and (run.held_until <= time() or is_dead(run.holder))


def _details(state: RunState, values: bool) -> dict[str, Any]:
    details = {
        "run_id": state.run_id,
        "status": state.status,
        "tenant": state.tenant,
        "pipeline": state.pipeline,
        "started_at": iso(state.started_at),
        "ended_at": iso(state.ended_at),
        "error": None if state.error is None else str(state.error),
        "reason": state.reason,
        "usage": usage_facts(state.usage),
        "steps": [_step(step, values) for step in state.steps.values()],
        "nodes": [_node(node) for node in state.nodes.values()],
        "questions": [_question(one, values) for one in state.questions.values()],
    }
    return details | {"input": state.input, "output": state.output} if values else details


def _node(node: NodeResult) -> dict[str, Any]:
    return {
        "address": node.address,
        "node": node.node,
        "status": node.status,
        "attempts": node.attempts,
        "started_at": iso(node.started_at),
        "duration": node.duration,
        "error": None if node.error is None else str(node.error),
    }


def _question(one: QuestionState, values: bool) -> dict[str, Any]:
    answer = one.answer
    details = {
        "address": one.asked.address,
        "status": one.status,
        "asked_at": iso(one.asked.at),
        "expires_at": iso(one.asked.terms.expires_at),
        "approvers": list(one.asked.terms.approvers),
        "quorum": one.asked.terms.quorum,
        "votes": len(one.votes),
        "answered_at": None if answer is None else iso(answer.at),
        "approver": None if answer is None else answer.approver,
    }
    said = {"text": one.asked.text, "answer": None if answer is None else answer.answer}
    return details | said if values else details


def _step(step: StepResult, values: bool) -> dict[str, Any]:
    details = {
        "address": step.address,
        "status": step.status,
        "attempts": step.attempts,
        "started_at": iso(step.started_at),
        "duration": step.duration,
        "usage": None if step.usage is None else usage_facts(step.usage),
        "error": None if step.error is None else str(step.error),
    }
    return details | {"output": step.output} if values else details


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
