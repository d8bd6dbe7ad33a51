"""``flujo spec``: pipelines as YAML and JSON."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from flujo_core.cli.run import Target
from flujo_core.cli.target import LOADED_FILE, load_target
from flujo_core.errors import ConfigurationError

app = typer.Typer(name="spec", no_args_is_help=True, help="Pipelines as YAML and JSON.")


@app.command("show")
def show(
    target: Target, as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of YAML.")] = False
) -> None:
    """Prints a pipeline as a spec, which 'flujo run' takes in its place."""
    from flujo_core.agents.pipelines import pipeline_to_spec  # noqa: PLC0415 - only who uses it imports it

    spec = pipeline_to_spec(load_target(target))
    text = json.dumps(spec, indent=2, ensure_ascii=False)
    if LOADED_FILE in text:
        raise ConfigurationError(
            f"'{target}' names functions or types of a file, which a spec can name only by their module; give the"
            " target as 'module:attr'"
        )
    typer.echo(text if as_json else _yaml(spec), nl=as_json)


@app.command("schema")
def schema() -> None:
    """Prints the JSON Schema of specs, for editors."""
    from flujo_core.agents.pipelines import pipeline_spec_schema  # noqa: PLC0415 - it imports pydantic-ai

    typer.echo(json.dumps(pipeline_spec_schema(), indent=2))


def _yaml(spec: dict[str, object]) -> str:
    try:
        from flujo_core.agents.yaml_text import written  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigurationError("YAML is written with PyYAML; pip install 'flujo-core[yaml]', or '--json'") from error
    return written(spec)
