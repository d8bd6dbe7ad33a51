"""Options and endings that the commands of ``flujo audit`` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from flujo_audit_advanced.note import VerifierKey
from flujo_core import ConfigurationError

BAD, UNVERIFIED, UNANCHORED = 1, 2, 3
"""How a command ends that finds something wrong, cannot tell, or finds too little anchored."""

LogPath = Annotated[Path, typer.Argument(metavar="LOG", help="The log's folder.")]
Key = Annotated[str, typer.Option("--key", help="A public key of the log, or a file that has it.")]
WitnessKeys = Annotated[
    list[str] | None, typer.Option("--witness", help="The key of a witness, or a file that has it; may be repeated.")
]
Quorum = Annotated[int, typer.Option("--quorum", min=1, help="How many witnesses have to have cosigned.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def cannot(error: Exception) -> NoReturn:
    typer.echo(f"flujo: {error}", err=True)
    raise typer.Exit(UNVERIFIED) from None


def key_told(text: str) -> VerifierKey:
    return VerifierKey.parse(text if "+" in text else bytes_of(Path(text)).decode(errors="replace"))


def bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"'{path}' cannot be read: {error.strerror}") from error
