"""``flujo demo``: a pipeline of agents over a real document, with a real model that runs on this machine."""

from __future__ import annotations

from importlib.resources import files
from typing import Annotated, Any

import typer

from flujo_core.cli.report import Report
from flujo_core.cli.run import AsJson, StoreUrl, read_text, run_and_report
from flujo_core.cli.session import DEFAULT_STORE, session
from flujo_core.demo import LOCAL_MODEL
from flujo_core.errors import ConfigurationError
from flujo_core.flujo import Flujo
from flujo_core.hooks.host import Host


def demo(
    context: typer.Context,
    input: Annotated[
        str | None, typer.Option("--input", "-i", help="A text file to work on, '-' for stdin; else a letter we ship.")
    ] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="Any model name, such as 'openai:gpt-5'.")] = LOCAL_MODEL,
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Runs a pipeline of four agents over a document: record, classify, answer, check."""
    document = files("flujo_core.demo").joinpath("letter.txt").read_text("utf-8") if input is None else read_text(input)
    own = session(context)
    settings = own.settings()
    _check_model(model, own.host())
    from flujo_core.demo.pipeline import FITS, Case, build  # noqa: PLC0415 - imports pydantic_ai

    flujo: Flujo[str, Any, Case] = Flujo(build(model), context=Case, store=own.writable_store(store), settings=settings)
    if not as_json:
        _announce(document, model, FITS)
    run_and_report(flujo, document, Report(store, as_json))


def _announce(document: str, model: str, fits: int) -> None:
    where = f"the first {fits} or fewer of its {len(document)} characters" if len(document) > fits else "all of it"
    typer.echo(f"model {model}; the document has {len(document)} characters, and {where} will be read", err=True)
    if model == LOCAL_MODEL:
        typer.echo(
            "SmolLM2-135M runs on this machine, and is very small: expect the right form, and weak content;"
            " '--model openai:gpt-5' or another takes its place",
            err=True,
        )


def _check_model(model: str, host: Host) -> None:
    """Finds out now, rather than in the middle of a run, that the local model's plugin is not there."""
    if model == LOCAL_MODEL and "local" not in host.model_prefixes():
        raise ConfigurationError(
            f"the model '{model}' comes with the plugin 'flujo-local-model', which is not installed or not allowed;"
            " install it, or give another model by '--model'"
        )
