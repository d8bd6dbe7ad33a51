"""``flujo run`` and ``flujo check``."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError
from rich.console import Console

from flujo_core.cli.progress import Progress
from flujo_core.cli.session import DEFAULT_STORE, session
from flujo_core.cli.target import load_target
from flujo_core.cli.text import cost, tokens, usage_facts
from flujo_core.errors import ConfigurationError, InvalidValue
from flujo_core.flujo import Flujo, new_run_id
from flujo_core.model.check import type_name
from flujo_core.model.duration import span
from flujo_core.model.flow import Node, walk
from flujo_core.model.result import PipelineResult, RunFailed
from flujo_core.model.surroundings import context_of
from flujo_core.model.value import adapter, flaws
from flujo_core.model.wiring import wire

T = TypeVar("T")

PATIENCE = 5.0
"""Seconds after an interrupt during which another one is ignored."""

Target = Annotated[str, typer.Argument(help="The pipeline: 'module:attr' or 'path/to/file.py:attr'.")]
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
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Runs a pipeline, journals the run, and prints its output."""
    pipeline = load_target(target)
    own = session(context)
    settings = own.settings()
    flujo = Flujo(pipeline, context=context_of(pipeline), store=own.writable_store(store), settings=settings)
    value = _parsed(_given(input, input_file), flujo.takes)
    run_and_report(flujo, value, store, as_json, run_id=run_id, tenant=tenant)


def check(context: typer.Context, target: Target) -> None:
    """Checks a pipeline without running it: names, types, prompts, agents, plugins."""
    pipeline = checked(context, target)
    takes = wire(pipeline).takes(pipeline)
    typer.echo(f"{target} is sound: it takes '{type_name(takes)}' and gives '{type_name(pipeline.gives)}'")
    for address, step in walk(pipeline):
        typer.echo(f"  {address:<20} {type_name(step.takes)} -> {type_name(step.gives)}")


def checked(context: typer.Context, target: str) -> Node[Any, Any]:
    """The pipeline that a target names, checked, with registered steps and agents in the places of their names."""
    pipeline = load_target(target)
    # a store, as the command line journals its runs
    kind, settings = context_of(pipeline), session(context).settings()
    return Flujo(pipeline, context=kind, store="memory://", settings=settings).pipeline


def run_and_report(flujo: Flujo[Any, Any, Any], value: Any, store: str, as_json: bool, **keywords: Any) -> None:
    """Runs a pipeline and prints what came of it: the output on stdout, the rest on stderr.

    Args:
        flujo: What to run.
        value: The input.
        store: The URL of its store, to say how to see the run again.
        as_json: Print one JSON object instead, and no progress.
        keywords: The run's id and tenant.

    Raises:
        RunFailed: The run failed; what it came to was printed.
    """
    keywords["run_id"] = run_id = keywords.get("run_id") or new_run_id()
    try:
        asyncio.run(_interruptible(_run_and_show(flujo, value, store, as_json, **keywords)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        typer.echo(f"run {run_id} is cancelled; see it again: flujo runs show {run_id}{_store_option(store)}", err=True)
        raise KeyboardInterrupt from None
    except RunFailed as error:
        _report(error.result, store, as_json)
        raise


async def _interruptible(work: Coroutine[Any, Any, T]) -> T:
    """Does ``work``; the first interrupt cancels it, and further ones are ignored while its end is being recorded."""
    task, loop = asyncio.ensure_future(work), asyncio.get_running_loop()

    def interrupt() -> None:
        task.cancel()
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        loop.call_later(PATIENCE, signal.signal, signal.SIGINT, signal.default_int_handler)

    with suppress(NotImplementedError):  # this platform has asyncio's own answer to an interrupt
        loop.add_signal_handler(signal.SIGINT, interrupt)
    return await task


async def _run_and_show(flujo: Flujo[Any, Any, Any], value: Any, store: str, as_json: bool, **keywords: Any) -> None:
    async with flujo:  # a plugin that does not shut down well takes nothing away from what is printed within
        if as_json:
            result = await flujo.run_async(value, **keywords)
        else:
            result = await _run_with_progress(flujo, value, **keywords)
        _report(result, store, as_json)


async def _run_with_progress(flujo: Flujo[Any, Any, Any], value: Any, **keywords: Any) -> PipelineResult[Any, Any]:
    with Progress(Console(stderr=True, highlight=False)) as progress:
        async with flujo.stream(value, **keywords) as events:
            async for event in events:
                progress.show(event)
        return events.result


def _report(result: PipelineResult[Any, Any], store: str, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(_summary(result)))
        return
    if result.status == "completed":
        typer.echo(_shown(result.output))
    usage = result.usage
    took = span(result.end.at - result.steps[0].started_at) if result.steps else ""
    facts = [f"run {result.run_id}", result.status, result.reason or "", took, tokens(usage), cost(usage)]
    typer.echo(", ".join(fact for fact in facts if fact), err=True)
    typer.echo(f"see it again: flujo runs show {result.run_id}{_store_option(store)}", err=True)


def _summary(result: PipelineResult[Any, Any]) -> dict[str, Any]:
    """A result as a JSON object."""
    return {
        "run_id": result.run_id,
        "status": result.status,
        "output": _plain(result.output) if result.status == "completed" else None,
        "reason": result.reason,
        "error": None if result.error is None else str(result.error),
        "usage": usage_facts(result.usage),
    }


def _store_option(store: str) -> str:
    """What a command needs to find that store: nothing for the default one."""
    return "" if store == DEFAULT_STORE else f" --store {store}"


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
        ) from error


def _shown(output: Any) -> str:
    return output if isinstance(output, str) else json.dumps(_plain(output), indent=2, ensure_ascii=False)


def _plain(output: Any) -> Any:
    try:
        return TypeAdapter(type(output)).dump_python(output, mode="json")
    except PydanticSerializationError:
        return f"<{type(output).__name__}>"
