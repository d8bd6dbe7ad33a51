"""``flujo audit payloads`` and ``erase``: the values beside a log."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer

from flujo_audit_advanced.cli_options import BAD, LogPath, cannot
from flujo_audit_advanced.digest import KEY_VARIABLE, PAYLOAD_VARIABLE, Digester, key_in
from flujo_audit_advanced.erasure import counted, erase, standings
from flujo_audit_advanced.errors import AuditError
from flujo_audit_advanced.log import AuditLog
from flujo_audit_advanced.payloads import Payloads
from flujo_audit_advanced.signer import LocalSigner
from flujo_core import ConfigurationError


def show_payloads(
    log: LogPath,
    values: Annotated[bool, typer.Option("--values", help="Print the values, a line of JSON each.")] = False,
) -> None:
    """Says which payloads are kept, erased, missing or altered: ends with 1 if one is missing or altered.

    The keys are in FLUJO_AUDIT_DIGEST_KEY and FLUJO_AUDIT_PAYLOAD_KEY.
    """
    try:
        found = list(standings(log, _payloads(log, key_in(PAYLOAD_VARIABLE)[:32])))
    except AuditError as error:
        cannot(error)
    for one in found if values else ():
        if one.data is not None:
            typer.echo(f'{{"number":{one.number},"name":{json.dumps(one.name)},"value":{one.data.decode()}}}')
    typer.echo(json.dumps(counted(found)), err=values)
    if any(one.fate in ("missing", "altered") for one in found):
        raise typer.Exit(BAD)


def erase_payloads(
    log: LogPath,
    key: Annotated[Path, typer.Option("--key", help="The private key that signs the log.")],
    run: Annotated[str | None, typer.Option("--run", help="Of this run, which is about nobody.")] = None,
    subject: Annotated[str | None, typer.Option("--subject", help="Of all runs about somebody.")] = None,
    origin: Annotated[str, typer.Option("--origin", help="The log's name.")] = "flujo.local/audit",
) -> None:
    """Destroys the keys of payloads, so that nobody can read them; the records stay, and can be proved.

    The log must not be open elsewhere: a process that writes it erases with AuditPlugin.erase. The key of digests is in
    FLUJO_AUDIT_DIGEST_KEY.
    """
    if (run is None) == (subject is None):
        raise ConfigurationError("name either '--run' or '--subject'")

    async def erased() -> int:
        async with await AuditLog.open(log, LocalSigner.from_file(key), origin=origin) as opened:
            return await erase(opened, _payloads(log, None), run=run, subject=subject)

    try:
        if not log.is_dir():
            raise AuditError(f"there is no audit log in '{log}'")
        count = asyncio.run(erased())
    except AuditError as error:
        cannot(error)
    typer.echo("the payloads are erased" if count else "there are no such payloads")


def _payloads(log: Path, key: bytes | None) -> Payloads:
    return Payloads(log, key, Digester(key_in(KEY_VARIABLE)))
