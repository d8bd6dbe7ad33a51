"""Proofs that one record is in a log, to be verified without the log (C2SP tlog-proof v1)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from flujo_audit_advanced.checkpoint import Checkpoint, parse_checkpoint
from flujo_audit_advanced.errors import AuditError, NotSigned
from flujo_audit_advanced.files import LogFiles, TileHashes
from flujo_audit_advanced.merkle import inclusion_proof, leaf_hash, verify_inclusion
from flujo_audit_advanced.note import Note, VerifierKey, base64_bytes

TITLE: Final = "c2sp.org/tlog-proof@v1"


class Proof(NamedTuple):
    """A proof.

    Attributes:
        number: The number of the record.
        hashes: The hashes from the record's sibling to the root's child.
        checkpoint: The tree.
        note: The signed checkpoint.
    """

    number: int
    hashes: list[bytes]
    checkpoint: Checkpoint
    note: Note

    @classmethod
    def parse(cls, data: bytes) -> Proof:
        """The proof that a file has.

        Raises:
            NotSigned: It has none.
        """
        head, blank, rest = data.partition(b"\n\n")
        lines = head.decode("ascii", "replace").split("\n")
        if not blank or lines[0] != TITLE or len(lines) < 2:
            raise NotSigned(f"a proof begins with the line '{TITLE}'; this file does not")
        lines = lines[1:] if not lines[1].startswith("extra ") else lines[2:]
        word, _, number = lines[0].partition(" ") if lines else ("", "", "")
        if word != "index" or not number.isdecimal() or str(int(number)) != number:
            raise NotSigned("a proof has a line with the record's number; this has not")
        return cls(int(number), [base64_bytes(one) for one in lines[1:]], *parse_checkpoint(rest))

    def __bytes__(self) -> bytes:
        lines = [TITLE, f"index {self.number}", *(b64encode(one).decode() for one in self.hashes), "", ""]
        return "\n".join(lines).encode() + bytes(self.note)

    def check(self, record: bytes, key: VerifierKey, witnesses: Sequence[VerifierKey] = (), quorum: int = 0) -> None:
        """Checks that a record is in the log of a key, at the proof's number.

        Raises:
            NotSigned: It is not, or the key did not sign, or too few of the witnesses did.
        """
        self.note.check(key)
        if key.name != self.checkpoint.origin:
            raise NotSigned(f"the proof is of the log '{self.checkpoint.origin}', and the key of '{key.name}'")
        signed = sum((one.name, one.id) in {(s.name, s.id) for s in self.note.signatures} for one in witnesses)
        for one in witnesses:
            if (one.name, one.id) in {(s.name, s.id) for s in self.note.signatures}:
                self.note.check(one)
        if signed < quorum:
            raise NotSigned(f"{signed} of the witnesses have cosigned the proof, and {quorum} have to")
        found = verify_inclusion(
            self.number, self.checkpoint.size, leaf_hash(record), self.hashes, self.checkpoint.root
        )
        if not found:
            raise NotSigned(f"the record is not number {self.number} of the log: it is another, or it was changed")


def prove(log: Path, index: int) -> Proof:
    """The proof of a record, against the newest checkpoint.

    Args:
        log: The log's folder.
        index: The number of the record.

    Raises:
        AuditError: The newest checkpoint does not cover it.
        LogDamaged: A tile is missing.
    """
    files = LogFiles(log)
    data = files.checkpoint()
    if data is None:
        raise AuditError(f"'{log}' has no checkpoint: it is no log, or nothing of it is sealed")
    checkpoint, note = parse_checkpoint(data)
    if not 0 <= index < checkpoint.size:
        raise AuditError(f"the newest checkpoint covers records 0 to {checkpoint.size - 1}, and not {index}")
    return proved(files, index, checkpoint, note)


def proved(files: LogFiles, index: int, checkpoint: Checkpoint, note: Note) -> Proof:
    """The proof of a record, against a checkpoint that covers it.

    Raises:
        LogDamaged: A tile is missing.
    """
    hashes = inclusion_proof(TileHashes(files, checkpoint.size), index, checkpoint.size)
    return Proof(index, hashes, checkpoint, note)
