"""``flujo audit evidence`` and ``examine``: bundles about one run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from flujo_audit_advanced.bundle import Bundle, evidence
from flujo_audit_advanced.cli_options import BAD, Key, LogPath, WitnessKeys, cannot, key_told
from flujo_audit_advanced.errors import AuditError, NotSigned
from flujo_core import ConfigurationError


def make_evidence(
    log: LogPath,
    run: Annotated[str, typer.Argument(help="The run's id.")],
    out: Annotated[Path, typer.Option("--out", help="The folder for the bundle; there must be none.")],
) -> None:
    """Makes one bundle about one run for an auditor: records, proofs, checkpoint, plugins, and how to check it all."""
    try:
        bundle = evidence(log, run)
        bundle.save(out)
    except AuditError as error:
        cannot(error)
    _tell_evidence(bundle.manifest)


def examine_evidence(
    bundle: Annotated[Path, typer.Argument(help="The folder of a bundle.")],
    key: Key,
    witness: WitnessKeys = None,
    quorum: Annotated[int, typer.Option("--quorum", min=0, help="How many witnesses have to have cosigned.")] = 0,
) -> None:
    """Checks a bundle of evidence, without the log: ends with 0 if it is whole and in the log, and 1 if not."""
    try:
        log_key, witnesses, found = key_told(key), [key_told(one) for one in witness or ()], Bundle.load(bundle)
    except (AuditError, ConfigurationError) as error:
        cannot(error)
    try:
        told = found.check(log_key, witnesses, quorum)
    except NotSigned as error:
        typer.echo(f"flujo: {error}", err=True)
        raise typer.Exit(BAD) from None
    _tell_evidence(told)


def _tell_evidence(told: Mapping[str, Any]) -> None:
    typer.echo(f"run '{told['run']}': {len(told['records'])} records of '{told['origin']}', status {told['status']}")
    if told["without_outcome"]:
        typer.echo(f"begun, and without an outcome: records {', '.join(map(str, told['without_outcome']))}")
    if told["gaps"]:
        typer.echo(f"records were lost meanwhile: see records {', '.join(map(str, told['gaps']))}")
