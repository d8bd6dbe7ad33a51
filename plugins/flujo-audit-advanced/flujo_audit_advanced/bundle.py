"""Bundle: the evidence of one run, which an auditor checks without the log, and without our code if they like."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from flujo_audit_advanced.checkpoint import Checkpoint, parse_checkpoint
from flujo_audit_advanced.errors import AuditError, NotSigned
from flujo_audit_advanced.files import LogFiles, numbered
from flujo_audit_advanced.note import ED25519, Note, VerifierKey
from flujo_audit_advanced.proof import Proof, proved
from flujo_audit_advanced.record import parse_record

MANIFEST: Final = "manifest.json"
GAPS: Final = ("audit.gap", "log.records_lost", "log.recovered")
BEGUN: Final = ("step.started", "model.requested", "tool.called")
ENDED: Final[Mapping[str, tuple[str, ...]]] = {
    "step.started": ("step.completed", "step.failed", "question.asked"),
    "model.requested": ("model.answered", "model.failed"),
    "tool.called": ("tool.returned", "tool.failed"),
}


class Numbered(NamedTuple):
    """A record of the log.

    Attributes:
        number: Its number.
        data: Its bytes.
        fields: What it says.
    """

    number: int
    data: bytes
    fields: Mapping[str, Any]


class Bundle(NamedTuple):
    """The files of a bundle, by name."""

    files: Mapping[str, bytes]

    @property
    def manifest(self) -> dict[str, Any]:
        """What the bundle says of itself.

        Raises:
            NotSigned: It says nothing that can be read.
        """
        try:
            told = json.loads(self.files[MANIFEST])
        except (KeyError, ValueError):
            raise NotSigned(f"the bundle has no '{MANIFEST}' that can be read") from None
        if not isinstance(told, dict) or not isinstance(told.get("files"), dict):
            raise NotSigned(f"the bundle's '{MANIFEST}' is not one of evidence")
        return told

    def save(self, folder: Path) -> None:
        """Writes it into a new folder.

        Raises:
            AuditError: The folder is there already, or cannot be written.
        """
        try:
            folder.mkdir(parents=True)
            for name, data in self.files.items():
                path = folder / name
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(data)
        except OSError as error:
            raise AuditError(f"the bundle cannot be written to '{folder}': {error.strerror}") from None

    @classmethod
    def load(cls, folder: Path) -> Bundle:
        """The bundle in a folder.

        Raises:
            AuditError: There is none.
        """
        if not folder.is_dir():
            raise AuditError(f"there is no bundle of evidence in '{folder}'")
        found = sorted(path for path in folder.rglob("*") if path.is_file())
        return cls({path.relative_to(folder).as_posix(): path.read_bytes() for path in found})

    def check(self, key: VerifierKey, witnesses: Sequence[VerifierKey] = (), quorum: int = 0) -> dict[str, Any]:
        """Checks every file, and that every record is in the log of a key; gives what the bundle says of itself.

        Raises:
            NotSigned: A file is another than it was, too many or missing; a record is not in the log; too few of the
                witnesses have cosigned.
        """
        told = self.manifest
        said = {**told["files"], MANIFEST: None}
        for name in sorted(said.keys() ^ self.files.keys()):
            raise NotSigned(f"the bundle {'lacks' if name in said else 'has'} the file '{name}'; it was changed")
        for name, digest in told["files"].items():
            if sha256(self.files[name]).hexdigest() != digest:
                raise NotSigned(f"the file '{name}' of the bundle is not the one that its manifest names")
        for name in sorted(told["files"]):
            if name.endswith(".record"):
                proof = Proof.parse(self.files[name.removesuffix(".record") + ".tlog-proof"])
                proof.check(self.files[name], key, witnesses, quorum)
                if f"records/{proof.number:09}.record" != name:
                    raise NotSigned(f"the file '{name}' of the bundle has the proof of record {proof.number}")
        return told


def evidence(log: Path, run: str) -> Bundle:
    """The evidence of a run: its records with proofs, the checkpoint, who was started up then, and how to check it all.

    Args:
        log: The log's folder.
        run: The run's id.

    Raises:
        AuditError: There is no log, or nothing of the run is on record.
        LogDamaged: A tile or bundle is missing.
    """
    files = LogFiles(log)
    checkpoint, note = _sealed(files)
    records = list(_concerning(files, checkpoint.size, run))
    of_run = [one for one in records if one.fields.get("run") == run]
    if not of_run:
        raise AuditError(f"nothing of the run '{run}' is on record and sealed in '{log}'")
    chosen, seal = _anchored(files, of_run[-1].number) or (checkpoint, note)
    around = list(_around(records, of_run))
    found: dict[str, bytes] = {}
    for number, data in {one.number: one.data for one in (*of_run, *around) if one.number < chosen.size}.items():
        found[f"records/{number:09}.record"] = data
        found[f"records/{number:09}.tlog-proof"] = bytes(proved(files, number, chosen, seal))
    found |= _by_hand(records, seal, checkpoint.origin)
    manifest = _manifest(run, chosen, of_run, around)
    manifest["files"] = {name: sha256(data).hexdigest() for name, data in sorted(found.items())}
    return Bundle(found | {MANIFEST: json.dumps(manifest, indent=1).encode() + b"\n"})


def _concerning(files: LogFiles, size: int, run: str) -> Iterator[Numbered]:
    """The records that may be of a run, or beside it; others are not even parsed."""
    marks = (json.dumps(run, ensure_ascii=False).encode(), b'"app.started"', b'"audit.gap"', b'"log.', b'"payload.')
    for number, data in numbered(files, 0, size):
        if any(mark in data for mark in marks):
            yield Numbered(number, data, parse_record(data))


def _sealed(files: LogFiles) -> tuple[Checkpoint, Note]:
    data = files.checkpoint()
    if data is None:
        raise AuditError(f"there is no sealed audit log in '{files.path}'")
    return parse_checkpoint(data)


def _anchored(files: LogFiles, last: int) -> tuple[Checkpoint, Note] | None:
    """The newest checkpoint with cosignatures that covers a record."""
    for folder in reversed(files.anchors()):
        data = files.read(f"anchors/{folder.name}/checkpoint")
        if data is not None and (found := parse_checkpoint(data))[0].size > last:
            return found
    return None


def _around(records: Sequence[Numbered], of_run: Sequence[Numbered]) -> Iterator[Numbered]:
    """What was on record beside the run: who was started up when it began, the log's key, what was lost meanwhile."""
    first, last = of_run[0].number, of_run[-1].number
    for kind in ("app.started", "log.opened"):
        yield from [one for one in records if one.number < first and one.fields["kind"] == kind][-1:]
    meanwhile = (one for one in records if first < one.number < last)
    yield from (one for one in meanwhile if one.fields["kind"] in (*GAPS, "log.key_rotated", "log.opened"))
    groups = {
        value["payload"]["group"]
        for one in of_run
        for value in one.fields.values()
        if isinstance(value, dict) and isinstance(value.get("payload"), dict)
    }
    yield from (one for one in records if one.fields.get("group") in groups)


def _manifest(
    run: str, checkpoint: Checkpoint, of_run: Sequence[Numbered], around: Sequence[Numbered]
) -> dict[str, Any]:
    app = next((one.fields for one in around if one.fields["kind"] == "app.started"), {})
    ended = [one.fields for one in of_run if one.fields["kind"] == "run.ended"]
    return {
        "evidence": 1,
        "run": run,
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "status": ended[-1]["status"] if ended else None,
        "records": [one.number for one in of_run],
        "without_outcome": [one.number for one in _without_outcome(of_run)],
        "gaps": [one.number for one in around if one.fields["kind"] in GAPS],
        "approvers": sorted({one.fields["approver"] for one in of_run if one.fields.get("approver")}),
        "configuration_sha256": app.get("configuration_sha256"),
        "plugins": app.get("plugins", []),
    }


def _without_outcome(of_run: Sequence[Numbered]) -> Iterator[Numbered]:
    """What was begun, and nothing is on record of how it ended."""
    for place, one in enumerate(of_run):
        kind, address = one.fields["kind"], one.fields.get("address")
        if kind not in BEGUN:
            continue
        call = one.fields.get("call")
        behind = (other.fields for other in of_run[place + 1 :] if other.fields.get("address", "").startswith(address))
        if not any(other["kind"] in ENDED[kind] and other.get("call") == call for other in behind):
            yield one


def _by_hand(records: Sequence[Numbered], note: Note, origin: str) -> dict[str, bytes]:
    """What one needs who checks without our code."""
    opened = [one.fields["key"] for one in records if one.fields["kind"] == "log.opened"]
    signers = {(one.name, one.id): one.data for one in note.signatures}
    mine = next((key for key in map(VerifierKey.parse, reversed(opened)) if (key.name, key.id) in signers), None)
    found = {
        "checkpoint": bytes(note),
        "HOW-TO-VERIFY.txt": (package_files("flujo_audit_advanced") / "how_to_verify.txt").read_bytes(),
        "check_by_hand.py": (package_files("flujo_audit_advanced") / "check_by_hand.txt").read_bytes(),
    }
    if mine is not None and mine.kind == ED25519:
        public = Ed25519PublicKey.from_public_bytes(mine.key)
        found["log-key.pem"] = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        found["checkpoint.txt"] = note.text.encode()
        found["checkpoint.sig"] = signers[mine.name, mine.id]
    return found
