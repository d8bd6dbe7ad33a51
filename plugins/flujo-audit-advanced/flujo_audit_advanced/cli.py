"""``flujo audit``: verify, prove, show and follow a log, with nothing but its files and a public key."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from flujo_audit_advanced.bundle import Bundle, evidence
from flujo_audit_advanced.claims import Trust
from flujo_audit_advanced.digest import KEY_VARIABLE, PAYLOAD_VARIABLE, Digester, key_in
from flujo_audit_advanced.erasure import counted, erase, standings
from flujo_audit_advanced.errors import AuditError, NotSigned
from flujo_audit_advanced.export.running import exports_of
from flujo_audit_advanced.keys import key_of
from flujo_audit_advanced.log import AuditLog
from flujo_audit_advanced.note import VerifierKey
from flujo_audit_advanced.payloads import Payloads
from flujo_audit_advanced.proof import Proof, prove
from flujo_audit_advanced.record import parse_record
from flujo_audit_advanced.report import Report
from flujo_audit_advanced.signer import LocalSigner
from flujo_audit_advanced.stamp import certificates
from flujo_audit_advanced.stored import stored_records
from flujo_audit_advanced.verify import verify_log
from flujo_audit_advanced.web import Unreachable, ask
from flujo_core import ConfigurationError

BAD, UNVERIFIED, UNANCHORED = 1, 2, 3

app = typer.Typer(no_args_is_help=True, help="The audit log: verify, prove, show.")

LogPath = Annotated[Path, typer.Argument(metavar="LOG", help="The log's folder.")]
Key = Annotated[str, typer.Option("--key", help="A public key of the log, or a file that has it.")]
WitnessKeys = Annotated[
    list[str] | None, typer.Option("--witness", help="The key of a witness, or a file that has it; may be repeated.")
]
Quorum = Annotated[int, typer.Option("--quorum", min=1, help="How many witnesses have to have cosigned.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


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
            _key(key), tuple(_key(one) for one in witness or ()), quorum,
            tuple(one for path in authority or () for one in certificates(_bytes(path))), tuple(copy or ()),
            tuple((one, _seen(one)) for one in seen or ()),
        )  # fmt: skip
        report = verify_log(log, trust)
    except (AuditError, ConfigurationError) as error:
        _cannot(error)
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
        _cannot(error)
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
        _cannot(error)
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
        log_key, witnesses = _key(key), [_key(one) for one in witness or ()]
        data, said = _bytes(record), _bytes(proof)
    except (AuditError, ConfigurationError) as error:
        _cannot(error)
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
        _cannot(error)


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
        _cannot(error)


@app.command("export")
def export_records(
    log: LogPath,
    to: Annotated[str, typer.Option("--to", help="The kind of sink: jsonl, syslog, cloudevents, splunk, ...")],
    option: Annotated[
        list[str] | None, typer.Option("--set", help="An option of the sink, as NAME=VALUE; may be repeated.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="What the export is called; else its kind.")] = None,
    cursor: Annotated[Path | None, typer.Option("--cursor", help="Where it keeps how far it has come.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
) -> None:
    """Carries sealed records to a sink, from where the last export of that name has come to; no server need run."""
    table = {"kind": to} | dict(_setting(one) for one in option or ())
    try:
        (export,) = exports_of([table | {"name": name or to}])
        reached = asyncio.run(export.exporter(log, cursor).run(follow=follow))
    except KeyboardInterrupt:
        return
    except AuditError as error:
        typer.echo(f"flujo: {error}", err=True)
        raise typer.Exit(BAD) from None
    typer.echo(f"exported up to record {reached - 1}" if reached else "there is nothing to export")


@app.command("evidence")
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
        _cannot(error)
    _tell_evidence(bundle.manifest)


@app.command("examine")
def examine_evidence(
    bundle: Annotated[Path, typer.Argument(help="The folder of a bundle.")],
    key: Key,
    witness: WitnessKeys = None,
    quorum: Annotated[int, typer.Option("--quorum", min=0, help="How many witnesses have to have cosigned.")] = 0,
) -> None:
    """Checks a bundle of evidence, without the log: ends with 0 if it is whole and in the log, and 1 if not."""
    try:
        log_key, witnesses, found = _key(key), [_key(one) for one in witness or ()], Bundle.load(bundle)
    except (AuditError, ConfigurationError) as error:
        _cannot(error)
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


@app.command("payloads")
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
        _cannot(error)
    for one in found if values else ():
        if one.data is not None:
            typer.echo(f'{{"number":{one.number},"name":{json.dumps(one.name)},"value":{one.data.decode()}}}')
    typer.echo(json.dumps(counted(found)), err=values)
    if any(one.fate in ("missing", "altered") for one in found):
        raise typer.Exit(BAD)


@app.command("erase")
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
        _cannot(error)
    typer.echo("the payloads are erased" if count else "there are no such payloads")


def _payloads(log: Path, key: bytes | None) -> Payloads:
    return Payloads(log, key, Digester(key_in(KEY_VARIABLE)))


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ConfigurationError(f"'--set {name}' is no option of a sink; write NAME=VALUE")
    return name, value


@app.command("key")
def make_key(
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


def _cannot(error: Exception) -> NoReturn:
    typer.echo(f"flujo: {error}", err=True)
    raise typer.Exit(UNVERIFIED) from None


def _key(text: str) -> VerifierKey:
    return VerifierKey.parse(text if "+" in text else _bytes(Path(text)).decode(errors="replace"))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"'{path}' cannot be read: {error.strerror}") from error


def _seen(place: str) -> bytes:
    if not place.startswith(("http://", "https://")):
        return _bytes(Path(place))
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
