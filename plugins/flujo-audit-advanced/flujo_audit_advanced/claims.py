"""Claims: what the log's checkpoint, anchors, copies and others say of its tree, and who vouches for that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.x509 import Certificate

from flujo_audit_advanced.checkpoint import Checkpoint, parse_checkpoint
from flujo_audit_advanced.errors import NotSigned
from flujo_audit_advanced.files import LogFiles
from flujo_audit_advanced.keys import KeyChain
from flujo_audit_advanced.layout import CHECKPOINT
from flujo_audit_advanced.note import Note, VerifierKey
from flujo_audit_advanced.report import Anchored

MOST_NEWEST: Final = 200
"""Checkpoints of a copy that are looked at: so many of the newest, and as many of those before."""


class Trust(NamedTuple):
    """Whom a verification believes.

    Attributes:
        key: A public key of the log; None checks no signatures.
        witnesses: Keys of witnesses.
        quorum: How many of them have to have cosigned a checkpoint, for it to be anchored by them.
        authorities: Root certificates of authorities for timestamps.
        copies: Folders with write-once copies.
        seen: Checkpoints that were got elsewhere, by name.
    """

    key: VerifierKey | None = None
    witnesses: tuple[VerifierKey, ...] = ()
    quorum: int = 1
    authorities: tuple[Certificate, ...] = ()
    copies: tuple[Path, ...] = ()
    seen: tuple[tuple[str, bytes], ...] = ()


class Claim(NamedTuple):
    """A checkpoint, and where it was found.

    Attributes:
        place: Where: a file.
        checkpoint: What it says.
        note: It, with its signatures.
        stamps: The stamps that lie beside it, by file.
        kept: Who is known to have kept it, because it was got from there; None for those in the log's own folder.
    """

    place: str
    checkpoint: Checkpoint
    note: Note
    stamps: tuple[Path, ...] = ()
    kept: str | None = None


def found_claims(files: LogFiles, trust: Trust) -> Iterator[Claim | tuple[str, NotSigned]]:
    """Every claim there is, the log's newest checkpoint first; for what is none, its place and the error."""
    for place, data, stamps, kept in _sources(files, trust):
        try:
            yield Claim(place, *parse_checkpoint(data), stamps, kept)
        except NotSigned as error:
            yield place, error


def _sources(files: LogFiles, trust: Trust) -> Iterator[tuple[str, bytes, tuple[Path, ...], str | None]]:
    newest = files.checkpoint()
    if newest is not None:
        yield f"'{CHECKPOINT}'", newest, (), None
    for folder in files.anchors():
        kept = files.read(f"anchors/{folder.name}/{CHECKPOINT}")
        if kept is not None:
            yield f"'anchors/{folder.name}'", kept, tuple(sorted(folder.glob("stamp-*.tsr"))), None
    for copy in trust.copies:
        found = sorted(one for one in (copy / "checkpoints").glob("*") if one.name.isdigit())
        for path in [*found[: -MOST_NEWEST : max(1, len(found) // MOST_NEWEST)], *found[-MOST_NEWEST:]]:
            yield f"'{path}'", path.read_bytes(), (), f"copy '{copy}'"
    for name, data in trust.seen:
        yield f"'{name}'", data, (), f"seen '{name}'"


def check_signature(claim: Claim, keys: KeyChain, trust: Trust) -> VerifierKey:
    """Checks that a claim is signed by the log's key of its time; gives that key.

    Raises:
        NotSigned: It is not.
    """
    key = keys.at(claim.checkpoint.size)
    claim.note.check(key)
    if claim.checkpoint.origin != key.name:
        raise NotSigned(f"it is of the log '{claim.checkpoint.origin}', and the key is of '{key.name}'")
    return key


def anchors_of(claim: Claim, trust: Trust) -> list[Anchored]:
    """Who has seen what a claim says.

    Raises:
        NotSigned: A cosignature or a stamp is wrong.
    """
    size = claim.checkpoint.size
    found = [Anchored(size, claim.kept, None)] if claim.kept else []
    present = {(one.name, one.id) for one in claim.note.signatures}
    cosigned = [one for one in trust.witnesses if (one.name, one.id) in present]
    times = [claim.note.check(one) for one in cosigned]
    if cosigned and len(cosigned) >= trust.quorum:
        who = ", ".join(f"'{one.name}'" for one in cosigned)
        found.append(Anchored(size, f"witness {who}", min(one for one in times if one is not None)))
    return found + list(_stamped(claim, trust.authorities))


def _stamped(claim: Claim, roots: Sequence[Certificate]) -> Iterator[Anchored]:
    if roots and claim.stamps:
        from flujo_audit_advanced.stamp import stamped_at  # noqa: PLC0415 - needs an extra

        for path in claim.stamps:
            try:
                when = stamped_at(path.read_bytes(), claim.note.text, roots)
            except NotSigned as error:
                raise NotSigned(f"'{path.name}': {error}") from None
            name = path.name.removeprefix("stamp-").removesuffix(".tsr")
            yield Anchored(claim.checkpoint.size, f"stamp '{name}'", when)
