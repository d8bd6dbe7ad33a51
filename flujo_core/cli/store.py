"""``flujo store``: the upkeep of the journal's file: check, vacuum, export, import."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from flujo_core.cli.run import AsJson, StoreUrl
from flujo_core.cli.session import DEFAULT_STORE, Session, session
from flujo_core.errors import ConfigurationError
from flujo_core.store.portable import Bundle, PortableWriter, copies, read_portable
from flujo_core.store.protocol import Store
from flujo_core.store.url import sqlite_path

app = typer.Typer(no_args_is_help=True, help="The upkeep of the journal's file.")


@app.callback()
def store() -> None:
    """The upkeep of the journal's file."""


@app.command("check")
def check_store(store: StoreUrl = DEFAULT_STORE, as_json: AsJson = False) -> None:
    """Says what is wrong with a SQLite store: damage, gaps, records that cannot be read, runs that contradict them."""
    from flujo_core.store.sqlite_upkeep import problems  # noqa: PLC0415 - only who uses it imports sqlite3

    found = problems(existing(store))
    if as_json:
        typer.echo(json.dumps({"store": store, "problems": found}))
    else:
        typer.echo("\n".join(found) or f"{store}: nothing is wrong")
    if found:
        raise typer.Exit(1)


@app.command("vacuum")
def vacuum_store(store: StoreUrl = DEFAULT_STORE, as_json: AsJson = False) -> None:
    """Makes the file of a SQLite store as small as it can be; runs that go on meanwhile wait for that."""
    from flujo_core.store.sqlite_upkeep import vacuum  # noqa: PLC0415 - only who uses it imports sqlite3

    before, after = vacuum(existing(store))
    if as_json:
        typer.echo(json.dumps({"store": store, "bytes_before": before, "bytes_after": after}))
    else:
        typer.echo(f"{store}: {before:,} bytes before, {after:,} now")


@app.command("export")
def export_runs(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The file that is written; there must be none of that name.")],
    run: Annotated[list[str] | None, typer.Option("--run", help="Only this run; may be given several times.")] = None,
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Writes runs, with all their values, into a file that 'flujo store import' reads."""
    if file.exists():
        raise ConfigurationError(f"{file} is there already; name a new file")
    count = asyncio.run(_exported(session(context), store, file, run or ()))
    _tell(count, "exported to", file, as_json)


@app.command("import")
def import_runs(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A file that 'flujo store export' or 'flujo runs export' wrote.")],
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Puts the runs of a file into a SQLite store, all or none; none of them may be there already."""
    from flujo_core.store.sqlite_upkeep import restore  # noqa: PLC0415 - only who uses it imports sqlite3

    path = sqlite_file(store)
    found = bundle_in(file).runs
    session(context).writable_store(store)  # makes the folder of the default store
    restore(path, found)
    _tell(len(found), "imported from", file, as_json)


def bundle_in(file: Path) -> Bundle:
    """What a file of exported runs holds.

    Raises:
        StoreRefused: It was changed.
        ConfigurationError: It cannot be opened.
    """
    try:
        with file.open("rb") as lines:
            return read_portable(lines, str(file))
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error


def _tell(count: int, what: str, file: Path, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"file": str(file), "runs": count}))
    else:
        typer.echo(f"{count} run{'' if count == 1 else 's'} {what} {file}")


async def _exported(own: Session, url: str, file: Path, run_ids: Sequence[str]) -> int:
    if sqlite_path(url):
        existing(url)
    store = own.store_at(url)
    try:
        return await _written(store, file, run_ids)
    finally:
        await store.close()


async def _written(store: Store, file: Path, run_ids: Sequence[str]) -> int:
    """Writes the file, whole or not at all, for its owner only; how many runs it has."""
    draft = file.with_name(f"{file.name}.part")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as opened:
            writer, count = PortableWriter(opened), 0
            async for run in copies(store, run_ids):
                writer.write(run)
                count += 1
            writer.end()
            opened.flush()
            os.fsync(opened.fileno())
        draft.replace(file)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):  # it has got its name, or was not made
            draft.unlink(missing_ok=True)
    return count


def existing(url: str) -> Path:
    """The file of a SQLite store that there is."""
    path = sqlite_file(url)
    if not os.path.isfile(path):
        raise ConfigurationError(f"there is no store at {url}; '--store' names another")
    return path


def sqlite_file(url: str) -> Path:
    path = sqlite_path(url)
    if not path:
        raise ConfigurationError(f"'{url}' is no SQLite store; this command works on 'sqlite:///runs.db' and the like")
    return Path(path).absolute()
