"""``flujo run``; and how commands get a pipeline that is checked."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console

from flujo_core.cli.conversation import Conversation, agrees, is_terminal
from flujo_core.cli.interrupt import within
from flujo_core.cli.progress import Progress
from flujo_core.cli.report import Report
from flujo_core.cli.session import DEFAULT_STORE, session
from flujo_core.cli.target import load_target
from flujo_core.config import Settings
from flujo_core.errors import ConfigurationError, InvalidValue
from flujo_core.flujo import Flujo, new_run_id
from flujo_core.model.check import type_name
from flujo_core.model.flow import Node
from flujo_core.model.result import PipelineResult, RunFailed
from flujo_core.model.surroundings import context_of
from flujo_core.model.value import adapter, flaws

Target = Annotated[str, typer.Argument(help="The pipeline: 'module:attr', 'path/to/file.py:attr' or 'pipeline.yaml'.")]
Input = Annotated[
    str | None,
    typer.Option("--input", "-i", help="The input: text for a pipeline that takes 'str', else JSON; '-' reads stdin."),
]
InputFile = Annotated[
    str | None, typer.Option("--input-file", "-f", help="A file that holds the input; '-' reads stdin.")
]
StoreUrl = Annotated[str, typer.Option("--store", help="Where the run is journaled, such as 'sqlite:///runs.db'.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")]


def run(
    context: typer.Context,
    target: Target,
    input: Input = None,
    input_file: InputFile = None,
    run_id: Annotated[str | None, typer.Option("--run-id", help="The run's id; made up, unless given.")] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Whose run it is.")] = None,
    subject: Annotated[str | None, typer.Option("--subject", help="Whom its data is about, for its erasure.")] = None,
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Runs a pipeline, journals the run, and prints its output; if it waits for a person, what it asks."""
    pipeline = load_target(target)
    own = session(context)
    settings = own.settings()
    flujo = Flujo(pipeline, context=context_of(pipeline), store=own.writable_store(store), settings=settings)
    value = _parsed(_given(input, input_file), flujo.takes)
    report = Report(store, as_json, target)
    result = run_and_report(flujo, value, report, run_id=run_id, tenant=tenant, subject=subject)
    if result.status == "paused" and is_terminal() and not as_json and agrees("answer now?"):
        converse(flujo, report, result)


def converse(flujo: Flujo[Any, Any, Any], report: Report, result: PipelineResult[Any, Any]) -> None:
    """Asks whoever is at the terminal what a run waits for.

    Raises:
        RunFailed: The run failed; what it came to was printed.
    """
    try:
        Conversation(flujo, report).hold(result.run_id, result)
    except RunFailed as error:
        report.print(error.result)
        raise


def checked(context: typer.Context, target: str) -> Node[Any, Any]:
    """The pipeline that a target names, checked, with registered steps and agents in the places of their names."""
    return assembled(context, target).pipeline


def assembled(context: typer.Context, target: str) -> Flujo[Any, Any, Any]:
    """A ``Flujo`` of the pipeline that a target names."""
    return assembled_with(session(context).settings(), target)


def assembled_with(settings: Settings, target: str) -> Flujo[Any, Any, Any]:
    """A ``Flujo`` of the pipeline that a target names, under a configuration."""
    pipeline = load_target(target)
    # a store, as the command line journals its runs
    return Flujo(pipeline, context=context_of(pipeline), store="memory://", settings=settings)


def run_and_report(
    flujo: Flujo[Any, Any, Any], value: Any, report: Report, **keywords: Any
) -> PipelineResult[Any, Any]:
    """Runs a pipeline and prints what came of it.

    Args:
        flujo: What to run.
        value: The input.
        report: Prints the result.
        keywords: The run's id, tenant and subject.

    Raises:
        RunFailed: The run failed; what it came to was printed.
    """
    keywords["run_id"] = run_id = keywords.get("run_id") or new_run_id()

    async def shown() -> PipelineResult[Any, Any]:
        if report.as_json:
            result = await flujo.run_async(value, **keywords)
        else:
            result = await _run_with_progress(flujo, value, **keywords)
        report.print(result)
        return result

    try:
        return within(flujo, shown)
    except KeyboardInterrupt:
        report.say(f"run {run_id} is cancelled; see it again: {report.see(run_id)}")
        raise
    except RunFailed as error:
        report.print(error.result)
        raise


async def _run_with_progress(flujo: Flujo[Any, Any, Any], value: Any, **keywords: Any) -> PipelineResult[Any, Any]:
    with Progress(Console(stderr=True, highlight=False)) as progress:
        async with flujo.stream(value, **keywords) as events:
            async for event in events:
                progress.show(event)
        return events.result


def read_text(file: str) -> str:
    """The text of a file, or of stdin for ``-``.

    Raises:
        ConfigurationError: There is no such file, or it is not UTF-8 text.
    """
    try:
        if file == "-":
            return sys.stdin.buffer.read().decode("utf-8")
        return Path(file).read_text("utf-8")
    except UnicodeDecodeError as error:
        name = "stdin" if file == "-" else f"'{file}'"
        raise ConfigurationError(f"{name} is not UTF-8 text; convert it first") from error
    except OSError as error:
        raise ConfigurationError(f"'{file}' cannot be read: {error.strerror}") from error


def _given(input: str | None, input_file: str | None) -> str | None:
    if input is not None and input_file is not None:
        raise ConfigurationError("give '--input' or '--input-file', not both")
    if input_file is not None:
        return read_text(input_file)
    return read_text("-") if input == "-" else input


def _parsed(text: str | None, takes: Any) -> Any:
    if text is None:
        if takes in (None, type(None), object):
            return None
        raise ConfigurationError(f"the pipeline takes a '{type_name(takes)}'; give it by '--input' or '--input-file'")
    if takes is str:
        return text
    kind = adapter(takes)
    try:
        return kind.validate_json(text)
    except ValidationError as error:
        with suppress(ValidationError):  # text that needs no quotes, for a type that takes text
            return kind.validate_python(text)
        raise InvalidValue(
            f"the input is not JSON of a '{type_name(takes)}', which the pipeline takes: {flaws(error, takes)}"
        ) from None
