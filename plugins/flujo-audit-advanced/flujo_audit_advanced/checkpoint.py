"""Checkpoints: how large a log is and what its root is, as a signed note (C2SP tlog-checkpoint v1)."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Final, NamedTuple

from flujo_audit_advanced.errors import NotSigned
from flujo_audit_advanced.note import Note, base64_bytes

_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,18}")


class Checkpoint(NamedTuple):
    """What a checkpoint says.

    Attributes:
        origin: Which log it is of.
        size: How many records the log has.
        root: The root of its tree.
        extensions: Further lines; ours have none.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """What the text of a note says.

        Raises:
            NotSigned: It is no checkpoint.
        """
        lines = text.removesuffix("\n").split("\n")
        if len(lines) < 3 or not all(lines) or not _NUMBER.fullmatch(lines[1]):
            raise NotSigned("a checkpoint has the lines origin, size and root; this has not")
        root = base64_bytes(lines[2])
        if len(root) != 32:
            raise NotSigned("a checkpoint's third line is a SHA-256 in base64; this is not")
        return cls(lines[0], int(lines[1]), root, tuple(lines[3:]))

    @property
    def text(self) -> str:
        """The text that is signed."""
        return "\n".join([self.origin, str(self.size), b64encode(self.root).decode(), *self.extensions, ""])


def parse_checkpoint(data: bytes) -> tuple[Checkpoint, Note]:
    """What a signed checkpoint says, and the note; no signature is checked.

    Raises:
        NotSigned: It is none.
    """
    note = Note.parse(data)
    return Checkpoint.parse(note.text), note
