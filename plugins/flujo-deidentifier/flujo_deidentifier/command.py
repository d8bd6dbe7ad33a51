"""``flujo deid``: the de-identifier on the command line. What it takes out, it takes out for good."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from flujo_core import ConfigurationError
from flujo_deidentifier.bench import joined, measured, plain_seconds, rows, texts_of
from flujo_deidentifier.errors import DeidentificationError
from flujo_deidentifier.finder import Finder
from flujo_deidentifier.marking import Marker

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Takes out of texts what identifies somebody.")

ProfileName = Annotated[str, typer.Option("--profile", metavar="NAME", help="hipaa-safe-harbor, gdpr or secrets.")]
DetectorNames = Annotated[
    str | None,
    typer.Option(
        "--detectors", metavar="NAMES", help="Only these, with commas: patterns, lists, structure, rampart, ..."
    ),
]
Subject = Annotated[str, typer.Option("--subject", help="Whom the texts are about; moves the dates.")]
KeyFile = Annotated[
    Path | None,
    typer.Option("--key-file", metavar="FILE", help="The key of surrogates and moved dates; by default a new one."),
]
Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Where to; by default to the screen.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
T = TypeVar("T")


@app.command()
def text(
    texts: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...", help="By default what comes in.")] = None,
    profile: ProfileName = "hipaa-safe-harbor",
    detectors: DetectorNames = None,
    subject: Subject = "",
    key_file: KeyFile = None,
) -> None:
    """Marks texts: [PERSON-1] takes the place of a name."""
    marker = _marker(profile, detectors, subject, key_file)
    for one in texts or [sys.stdin.read()]:
        typer.echo(marker.marked(one), nl=not one.endswith("\n"))
    _warn(marker)


@app.command()
def file(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A text in UTF-8.")],
    out: Out = None,
    profile: ProfileName = "hipaa-safe-harbor",
    detectors: DetectorNames = None,
    subject: Subject = "",
    key_file: KeyFile = None,
) -> None:
    """Marks a file as one text."""
    marker = _marker(profile, detectors, subject, key_file)
    _write(out, [marker.marked(_read(path))])
    _warn(marker)


@app.command()
def jsonl(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A JSON value a line.")],
    out: Out = None,
    field: Annotated[str | None, typer.Option("--field", help="Only this member; by default all texts.")] = None,
    profile: ProfileName = "hipaa-safe-harbor",
    detectors: DetectorNames = None,
    subject: Subject = "",
    key_file: KeyFile = None,
) -> None:
    """Marks the texts of a file of JSON lines."""
    marker = _marker(profile, detectors, subject, key_file)
    lines = [line for line in _read(path).split("\n") if line.strip()]
    values = (_value(line, path, number) for number, line in enumerate(lines, start=1))
    marked = (json.dumps(marker.marked_within(value, field), ensure_ascii=False) + "\n" for value in values)
    _write(out, _tracked(marked, "marking", len(lines)))
    _warn(marker)


@app.command()
def explain(
    text: Annotated[str | None, typer.Argument(metavar="[TEXT]", help="By default what comes in.")] = None,
    profile: ProfileName = "hipaa-safe-harbor",
    detectors: DetectorNames = None,
    as_json: AsJson = False,
) -> None:
    """Lists what was found in a text, what is done with it, and why; never the value itself."""
    finder = Finder(profile, detectors=_names(detectors))
    decisions = finder.explain(sys.stdin.read() if text is None else text)
    found: list[dict[str, str | float]] = [
        {**one.span._asdict(), "action": one.action.value, "reason": one.reason} for one in decisions
    ]
    _show(found, as_json, "nothing was found")


@app.command()
def bench(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Marked texts, a JSON object a line.")],
    profile: ProfileName = "hipaa-safe-harbor",
    detectors: DetectorNames = None,
    as_json: AsJson = False,
) -> None:
    """Measures what is found in marked texts, and how fast; the last line compares with ten plain patterns."""
    finder = Finder(profile, detectors=_names(detectors))
    files = [(path.stem, texts_of(path)) for path in paths]
    finder.find("Ann Lee was here.")  # what is loaded on first use is no part of the time
    lines = [measured(finder, name, _tracked(texts, name, len(texts))) for name, texts in files]
    plain = plain_seconds(text.text for _, texts in files for text in texts)
    total = joined(lines)
    _show(list(rows([*lines, *([total] if len(lines) > 1 else [])])), as_json, "no texts")
    if total.seconds and not as_json:
        typer.echo(f"{plain / total.seconds:.2f}x the speed of ten plain patterns")


def _marker(profile: str, detectors: str | None, subject: str, key_file: Path | None) -> Marker:
    key = None if key_file is None else key_file.read_bytes()
    if key is not None and len(key) < 16:
        raise ConfigurationError(f"file '{key_file}' has a key of {len(key)} bytes; give one of 16 or more")
    return Marker(Finder(profile, detectors=_names(detectors)), key=key, subject=subject)


def _names(detectors: str | None) -> list[str] | None:
    return None if detectors is None else [name.strip() for name in detectors.split(",") if name.strip()]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"file '{path}' cannot be read ({type(error).__name__}); name a text in UTF-8"
        ) from None


def _value(line: str, path: Path, number: int) -> object:
    try:
        value: object = json.loads(line)
    except ValueError:
        raise DeidentificationError(
            f"line {number} of file '{path}' is not JSON; mend it, or use 'flujo deid file'"
        ) from None
    return value


def _write(out: Path | None, parts: Iterable[str]) -> None:
    """Writes the parts; a file is there as a whole, or not at all."""
    if out is None:
        for part in parts:
            typer.echo(part, nl=False)
        return
    whole = "".join(parts)
    out.write_text(whole, encoding="utf8")


def _tracked(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    console = Console(stderr=True)
    yield from track(items, what, total=total, console=console, transient=True, disable=not console.is_terminal)


def _show(found: list[dict[str, str | float]], as_json: bool, nothing: str) -> None:
    if as_json:
        typer.echo(json.dumps(found))
    elif not found:
        typer.echo(nothing)
    else:
        table = Table(*found[0], box=None, pad_edge=False)
        for row in found:
            table.add_row(*(f"{value:g}" if isinstance(value, float) else str(value) for value in row.values()))
        Console(width=None if sys.stdout.isatty() else 200).print(table)


def _warn(marker: Marker) -> None:
    if marker.weak:
        typer.echo(f"flujo: {marker.weak} texts seem to be in languages in which much may be left", err=True)
