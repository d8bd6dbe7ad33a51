"""Anchors: others who keep a checkpoint, so that who holds the log's key cannot take it back."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

from flujo_audit_advanced.checkpoint import Checkpoint
from flujo_audit_advanced.files import LogFiles, TileHashes
from flujo_audit_advanced.merkle import consistency_proof
from flujo_audit_advanced.note import Note, Signature


class Sealed(NamedTuple):
    """A checkpoint that was signed and published.

    Attributes:
        checkpoint: What it says.
        note: It, with the log's signature.
        files: The log, which has the tiles of that size.
    """

    checkpoint: Checkpoint
    note: Note
    files: LogFiles

    def proof(self, old: int) -> list[bytes]:
        """The proof that this tree begins with the tree of an older size.

        Raises:
            LogDamaged: A tile is missing.
        """
        return consistency_proof(TileHashes(self.files, self.checkpoint.size), old, self.checkpoint.size)


class Evidence(NamedTuple):
    """What an anchor gave for a checkpoint.

    Attributes:
        signatures: Cosignatures, which are added to the checkpoint.
        files: What is kept beside it, by name.
    """

    signatures: tuple[Signature, ...] = ()
    files: Mapping[str, bytes] = MappingProxyType({})


class Anchor(Protocol):
    """Who is given checkpoints; called in a thread of the log's, one checkpoint after the other.

    Attributes:
        name: How it is called in messages; a file name.
        every: Seconds that lie between two checkpoints that it is given, at least; 0 gives it each that it can take.
    """

    name: str
    every: float

    def anchor(self, sealed: Sealed, /) -> Evidence:
        """Keeps a checkpoint, or has it kept; must end by itself in a time that can be waited for.

        Raises:
            NotAnchored: It was not taken.
            Contradicted: Another log of this name was seen.
        """
        ...
