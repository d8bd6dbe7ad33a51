"""The keys of a log, and how one follows another: the old one signs the new one, in a record of the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from flujo_audit_advanced.errors import NotSigned
from flujo_audit_advanced.note import ED25519, Note, VerifierKey
from flujo_audit_advanced.record import Value
from flujo_audit_advanced.signer import Signer

ROTATED: Final = "log.key_rotated"
TITLE: Final = "flujo-audit/key-rotation/v1"


def key_of(origin: str, signer: Signer) -> VerifierKey:
    """The public key of a signer, under the log's name."""
    return VerifierKey(origin, ED25519, signer.public_key)


def rotation(origin: str, old: Signer, new: Signer) -> dict[str, Value]:
    """What the record of a rotation says: the new key, signed by the old one, which is named too, and by itself."""
    note = Note(f"{TITLE}\n{origin}\n{key_of(origin, new)}\n", ()).signed(origin, old).signed(origin, new)
    return {"old": str(key_of(origin, old)), "note": bytes(note).decode()}


class Rotation(NamedTuple):
    """One key follows another.

    Attributes:
        number: The number of the record that says so; checkpoints of more records are signed by the new key.
        old: The key before.
        new: The key after.
    """

    number: int
    old: VerifierKey
    new: VerifierKey

    @classmethod
    def of(cls, index: int, record: Mapping[str, Any], origin: str) -> Rotation:
        """The rotation that a record of kind ``ROTATED`` stands for.

        Raises:
            NotSigned: The old key, or the new one, did not sign it.
        """
        old, coded = VerifierKey.parse(str(record.get("old"))), str(record.get("note")).encode()
        note = Note.parse(coded)
        note.check(old)
        lines = note.text.split("\n")
        if lines[:2] != [TITLE, origin] or len(lines) != 4:
            raise NotSigned("a record of another key says something else")
        new = VerifierKey.parse(lines[2])
        note.check(new)
        return cls(index, old, new)


class KeyChain:
    """The keys of a log, one after the other.

    Args:
        given: The key that is trusted: of any time.
    """

    def __init__(self, given: VerifierKey) -> None:
        self._given = given
        self._rotations: list[Rotation] = []

    def add(self, rotation: Rotation) -> None:
        """Adds the next rotation.

        Raises:
            NotSigned: It is not of the key that was in effect.
        """
        if self._rotations and rotation.old != self._rotations[-1].new:
            raise NotSigned("another key than the one in effect signed the new one")
        self._rotations.append(rotation)

    def at(self, size: int) -> VerifierKey:
        """The key that signs checkpoints of a size.

        Raises:
            NotSigned: The given key is none of the log's.
        """
        keys = [self._rotations[0].old, *(one.new for one in self._rotations)] if self._rotations else [self._given]
        if self._given not in keys:
            raise NotSigned(f"the given key {self._given.id.hex()} is none of the log's keys")
        return keys[sum(one.number < size for one in self._rotations)]
