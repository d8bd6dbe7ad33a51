"""``flujo audit``: verify, prove, show and follow a log, with nothing but its files and a public key."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from flujo_audit_advanced.claims import Trust
from flujo_audit_advanced.cli_evidence import examine_evidence, make_evidence
from flujo_audit_advanced.cli_export import export_records
from flujo_audit_advanced.cli_options import (
    BAD,
    UNANCHORED,
    AsJson,
    Key,
    LogPath,
    Quorum,
    WitnessKeys,
    bytes_of,
    cannot,
    key_told,
)
from flujo_audit_advanced.cli_payloads import erase_payloads, show_payloads
from flujo_audit_advanced.errors import AuditError, NotSigned
from flujo_audit_advanced.keys import key_of
from flujo_audit_advanced.proof import Proof, prove
from flujo_audit_advanced.record import parse_record
from flujo_audit_advanced.report import Report
from flujo_audit_advanced.signer import LocalSigner
from flujo_audit_advanced.stamp import certificates
from flujo_audit_advanced.stored import stored_records
from flujo_audit_advanced.verify import verify_log
from flujo_audit_advanced.web import Unreachable, ask
from flujo_core import ConfigurationError

app = typer.Typer(no_args_is_help=True, help="The audit log: verify, prove, show.")


@app.callback()
def audit() -> None:
    """The audit log: verify, prove, show."""


@app.command("verify")
def verify_command(
    log: LogPath,
    key: Key,
    witness: WitnessKeys = None,
    quorum: Quorum = 1,
    authority: Annotated[
        list[Path] | None, typer.Option("--authority", help="Root certificates of a timestamp authority, as PEM.")
    ] = None,
    copy: Annotated[list[Path] | None, typer.Option("--copy", help="The folder of a write-once copy.")] = None,
    seen: Annotated[
        list[str] | None, typer.Option("--seen", help="A checkpoint that was got elsewhere: a file, or a URL.")
    ] = None,
    max_unanchored: Annotated[
        int | None, typer.Option("--max-unanchored", min=0, help="End with 3 if more records are not anchored.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Hashes every record again: ends with 0 if the log is intact, 1 if not, 2 if that cannot be told, 3 if too little
    of it is anchored."""
    try:
        trust = Trust(
            key_told(key), tuple(key_told(one) for one in witness or ()), quorum,
            tuple(one for path in authority or () for one in certificates(bytes_of(path))), tuple(copy or ()),
            tuple((one, _seen(one)) for one in seen or ()),
        )  # fmt: skip
        report = verify_log(log, trust)
    except (AuditError, ConfigurationError) as error:
        cannot(error)
    _end(report, as_json)
    if max_unanchored is not None and report.unanchored > max_unanchored:
        typer.echo(f"{report.unanchored} records are not anchored, and {max_unanchored} may be", err=True)
        raise typer.Exit(UNANCHORED)


@app.command("fsck")
def check_files(log: LogPath, as_json: AsJson = False) -> None:
    """Checks that a log's files agree with each other, without a key: finds damage, not forgery."""
    try:
        report = verify_log(log, Trust())
    except AuditError as error:
        cannot(error)
    _end(report, as_json)


@app.command("prove")
def prove_record(
    log: LogPath,
    number: Annotated[int, typer.Argument(min=0, help="The record's number.")],
    out: Annotated[Path | None, typer.Option("--out", help="Write NAME.tlog-proof and NAME.record.")] = None,
) -> None:
    """Prints a proof that a record is in the log, in the format of c2sp.org/tlog-proof."""
    try:
        proof = bytes(prove(log, number))
        record = next(stored_records(log, number))[1]
    except AuditError as error:
        cannot(error)
    if out is None:
        typer.echo(proof.decode(), nl=False)
        return
    out.with_suffix(".tlog-proof").write_bytes(proof)
    out.with_suffix(".record").write_bytes(record)


@app.command("check")
def check_proof(
    proof: Annotated[Path, typer.Argument(help="A file that 'flujo audit prove' wrote.")],
    record: Annotated[Path, typer.Argument(help="The record's bytes.")],
    key: Key,
    witness: WitnessKeys = None,
    quorum: Annotated[int, typer.Option("--quorum", min=0, help="How many witnesses have to have cosigned.")] = 0,
) -> None:
    """Checks a proof, without the log: ends with 0 if the record is in it, and 1 if not."""
    try:
        log_key, witnesses = key_told(key), [key_told(one) for one in witness or ()]
        data, said = bytes_of(record), bytes_of(proof)
    except (AuditError, ConfigurationError) as error:
        cannot(error)
    try:
        found = Proof.parse(said)
        found.check(data, log_key, witnesses, quorum)
    except NotSigned as error:
        typer.echo(f"flujo: {error}", err=True)
        raise typer.Exit(BAD) from None
    typer.echo(f"record {found.number} of {found.checkpoint.size} in '{found.checkpoint.origin}'")


@app.command("show")
def show_records(
    log: LogPath,
    number: Annotated[int, typer.Argument(min=0, help="The first record.")] = 0,
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="How many at most.")] = None,
    run: Annotated[str | None, typer.Option("--run", help="Only of this run.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="Only of kinds that begin so.")] = None,
) -> None:
    """Prints records, a line of JSON each; they are not verified."""
    try:
        for index, data in stored_records(log, number):
            if _wanted(data, run, kind):
                typer.echo(_line(index, data))
                count = None if count is None else count - 1
            if count == 0:
                return
    except AuditError as error:
        cannot(error)


@app.command("tail")
def tail_records(
    log: LogPath,
    count: Annotated[int, typer.Option("--count", "-n", min=0, help="How many.")] = 10,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
) -> None:
    """Prints the last records, and those that come."""
    try:
        following = 0
        for index, data in stored_records(log, -max(count, 1)):
            following = index + 1
            if count:
                typer.echo(_line(index, data))
        for index, data in _coming(log, following) if follow else ():
            typer.echo(_line(index, data))
    except AuditError as error:
        cannot(error)


@app.command("key")
def makekey_told(
    file: Annotated[Path, typer.Argument(help="The file for the private key; there must be none.")],
    origin: Annotated[str, typer.Option("--origin", help="The log's name.")] = "flujo.local/audit",
) -> None:
    """Makes a key that signs a log, and prints its public half, for 'flujo audit verify'."""
    signer = LocalSigner.generate()
    try:
        signer.save(file)
    except OSError as error:
        raise ConfigurationError(f"'{file}' cannot be written: {error.strerror}") from error
    typer.echo(str(key_of(origin, signer)))


app.command("evidence")(make_evidence)
app.command("examine")(examine_evidence)
app.command("payloads")(show_payloads)
app.command("erase")(erase_payloads)
app.command("export")(export_records)


def _coming(log: Path, following: int) -> Iterator[tuple[int, bytes]]:
    while True:
        for index, data in stored_records(log, following):
            yield index, data
            following = index + 1
        time.sleep(0.5)


def _end(report: Report, as_json: bool) -> None:
    typer.echo(json.dumps(report.as_json()) if as_json else "\n".join(report.lines()))
    if not report.intact:
        raise typer.Exit(BAD)


def _seen(place: str) -> bytes:
    if not place.startswith(("http://", "https://")):
        return bytes_of(Path(place))
    try:
        answer = ask(place, None, {}, 10.0)
    except Unreachable as error:
        raise ConfigurationError(f"'{place}' did not answer ({error})") from None
    if answer.status != 200:
        raise ConfigurationError(f"'{place}' answered HTTP {answer.status}")
    return answer.body


def _wanted(data: bytes, run: str | None, kind: str | None) -> bool:
    if run is None and kind is None:
        return True
    record = parse_record(data)
    return run in (None, record.get("run")) and str(record["kind"]).startswith(kind or "")


def _line(index: int, data: bytes) -> str:
    return f'{{"number":{index},"record":{data.decode()}}}'
