"""``flujo resume`` and ``flujo cancel``: what is done with a run that was begun earlier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import typer

from flujo_core.cli.answer import Form, Schema, WrongAnswer
from flujo_core.cli.conversation import Conversation, is_terminal
from flujo_core.cli.interrupt import within
from flujo_core.cli.progress import Shown
from flujo_core.cli.report import Report
from flujo_core.cli.run import AsJson, StoreUrl, Target
from flujo_core.cli.session import DEFAULT_STORE, Session, session
from flujo_core.cli.target import load_target
from flujo_core.errors import RunBusy, UnknownQuestion, UnknownRun
from flujo_core.flujo import Flujo
from flujo_core.model.question import Question
from flujo_core.model.result import PipelineResult, RunFailed
from flujo_core.model.surroundings import context_of
from flujo_core.store.protocol import Store

WAITS = 4
"""The exit code of a command that cannot go on, as the run waits for somebody, and nobody is there to ask."""

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]


class Earlier(NamedTuple):
    """What goes on with runs that are in a store already.

    Attributes:
        flujo: Has the pipeline that they go on with.
        store: Where they are.
    """

    flujo: Flujo[Any, Any, Any]
    store: Store


class Said(NamedTuple):
    """What the command line says of an answer.

    Attributes:
        token: The token of the question, or None.
        address: The address of the question, or None.
        approver: Who answers, or None.
    """

    token: str | None
    address: str | None
    approver: str | None


def resume(
    context: typer.Context,
    run_id: RunId,
    target: Target,
    answer: Annotated[
        str | None,
        typer.Option("--answer", metavar="JSON", help="The answer, as JSON; text needs no quotes. Else you are asked."),
    ] = None,
    token: Annotated[str | None, typer.Option("--token", help="Answer the question of this token.")] = None,
    address: Annotated[
        str | None, typer.Option("--address", help="Answer the question of this address; its token is void then.")
    ] = None,
    approver: Annotated[str | None, typer.Option("--approver", metavar="NAME", help="Who answers.")] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what has failed, in a run that has.")
    ] = False,
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Goes on with a run: with an answer to what it waits for, or where it was when its process died."""
    flujo = earlier(session(context), target, store, run_id, shows=not as_json).flujo
    report = Report(store, as_json, target)
    conversation = Conversation(flujo, report, approver)
    try:
        if answer is not None:
            _answer(flujo, report, conversation, run_id, answer, Said(token, address, approver))
        else:
            _go_on(flujo, report, conversation, run_id, address, retry_failed)
    except KeyboardInterrupt:
        report.say(f"see what became of it: {report.see(run_id)}")
        raise
    except RunFailed as error:
        report.print(error.result)
        raise


def cancel(
    context: typer.Context, run_id: RunId, target: Target, store: StoreUrl = DEFAULT_STORE, as_json: AsJson = False
) -> None:
    """Cancels a run, wherever it goes on; one that has ended stays as it is."""
    flujo = earlier(session(context), target, store, run_id, shows=not as_json).flujo
    report = Report(store, as_json, target)

    async def cancelled() -> None:
        report.print(await flujo.cancel_async(run_id))

    within(flujo, cancelled)


def earlier(own: Session, target: str, url: str, run_id: str | None = None, *, shows: bool = False) -> Earlier:
    """What goes on with runs that are in a store already.

    Args:
        own: The command's session.
        target: The pipeline.
        url: The store's URL.
        run_id: The run that it is made for, if it is for one.
        shows: Whether the steps that end are shown, on stderr.

    Raises:
        UnknownRun: There is no such store.
    """
    pipeline, store = load_target(target), own.readable_store(url)
    if store is None:
        what = "there is no run" if run_id is None else f"there is no run '{run_id}'"
        raise UnknownRun(f"{what}: the store {url} does not exist yet")
    plugins = [Shown()] if shows else []
    flujo: Flujo[Any, Any, Any] = Flujo(
        pipeline, context=context_of(pipeline), store=store, settings=own.settings(), plugins=plugins
    )
    return Earlier(flujo, own.decoding(store))


def _answer(
    flujo: Flujo[Any, Any, Any], report: Report, conversation: Conversation, run_id: str, text: str, said: Said
) -> None:
    """Answers with what the command line has."""
    found = _open(flujo, run_id)
    meant = [one for one in found if said.address in (None, one.address)]
    if said.address is not None and not meant:
        raise UnknownQuestion(f"run '{run_id}' has no open question at '{said.address}'{_places(found)}")
    value = _value(meant[0].json_schema if len(meant) == 1 else {}, text)
    if said.token is None and meant and (said.address is not None or value is None):
        result = conversation.give(meant[0], value, said.approver)
        if result.status == "paused":
            report.print(result)
        return

    async def answered() -> None:
        report.print(await flujo.resume_async(run_id, value, token=said.token, approver=said.approver))

    within(flujo, answered)


def _go_on(
    flujo: Flujo[Any, Any, Any],
    report: Report,
    conversation: Conversation,
    run_id: str,
    address: str | None,
    retry_failed: bool,
) -> None:
    """Goes on where the run was, and asks whoever is at the terminal what it waits for."""
    can_ask = is_terminal() and not report.as_json

    async def resumed() -> PipelineResult[Any, Any]:
        result = await flujo.resume_async(run_id, retry_failed=retry_failed)
        if result.status != "paused" or not can_ask:
            report.print(result)
        return result

    result: PipelineResult[Any, Any] | None = None
    try:
        result = within(flujo, resumed)
    except RunBusy:
        if not can_ask or not _open(flujo, run_id):
            raise
    if result is not None and result.status != "paused":
        return
    if not can_ask:
        places = _places(_open(flujo, run_id))
        typer.echo(f"flujo: run '{run_id}' cannot go on{places}; give one by '--answer'", err=True)
        raise typer.Exit(WAITS)
    conversation.hold(run_id, result, address)


def _open(flujo: Flujo[Any, Any, Any], run_id: str) -> Sequence[Question]:
    return within(flujo, lambda: flujo.pending_async(run_id=run_id))


def _value(schema: Schema, text: str) -> Any:
    """An answer from the command line; whether it fits is judged where it is taken."""
    try:
        return Form(schema).read(text)
    except WrongAnswer:
        return Form({}).read(text)


def _places(questions: Sequence[Question]) -> str:
    """Where questions are open, for messages."""
    named = ", ".join(f"'{one.address}'" for one in questions)
    return f"; it waits for an answer at {named}" if named else "; it waits for nobody"
