"""Signed notes: texts with signatures of named keys (C2SP signed-note v1, and cosignatures of tlog-cosignature v1)."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Sequence
from hashlib import sha256
from typing import Final, NamedTuple, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from flujo_audit_advanced.errors import NotSigned

ED25519: Final = 1
"""The type of a signature of the text."""

COSIGNATURE: Final = 4
"""The type of a witness's signature of the text and the time when it saw it."""

MOST_SIGNATURES: Final = 100
MARK: Final = "— "


class VerifierKey(NamedTuple):
    """A public key and its name: ``name+id+base64(type, key)``.

    Attributes:
        name: Whose key it is.
        kind: ``ED25519`` or ``COSIGNATURE``.
        key: The 32 bytes of the public key.
    """

    name: str
    kind: int
    key: bytes

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """The key that a text stands for.

        Raises:
            NotSigned: It is not in that form, of another type, or its id is not its own.
        """
        name, _, rest = text.strip().partition("+")
        shown, _, coded = rest.partition("+")
        data = base64_bytes(coded)
        if len(data) != 33 or data[0] not in (ED25519, COSIGNATURE):
            raise NotSigned("a verifier key is 'name+id+base64' of an Ed25519 key or an Ed25519 witness; this is not")
        made = cls(name, data[0], data[1:])
        if not proper_name(name) or made.id.hex() != shown:
            raise NotSigned("a verifier key's id is not the one of its name and key; it was copied wrongly")
        return made

    @property
    def id(self) -> bytes:
        """Four bytes by which signatures name the key."""
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.key).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{b64encode(bytes([self.kind]) + self.key).decode()}"

    def check(self, text: str, signature: bytes) -> int | None:
        """Checks a signature of a text.

        Returns:
            The time of a cosignature, in seconds since 1970; None for others.

        Raises:
            NotSigned: It is not the key's signature of the text.
        """
        message, when = text.encode(), None
        if self.kind == COSIGNATURE:
            if len(signature) != 72:
                raise NotSigned(f"the cosignature of '{self.name}' is not 72 bytes long")
            when, signature = int.from_bytes(signature[:8], "big"), signature[8:]
            message = b"cosignature/v1\ntime %d\n" % when + message
        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(signature, message)
        except (InvalidSignature, ValueError):
            raise NotSigned(f"the signature of '{self.name}' ({self.id.hex()}) is not right") from None
        return when


class Signature(NamedTuple):
    """A line of a note: whose signature it is said to be.

    Attributes:
        name: The name of the key.
        id: The id of the key.
        data: The signature.
    """

    name: str
    id: bytes
    data: bytes

    def __str__(self) -> str:
        return f"{MARK}{self.name} {b64encode(self.id + self.data).decode()}\n"


class SignsText(Protocol):
    """What is needed of a signer here."""

    @property
    def public_key(self) -> bytes: ...

    def sign(self, message: bytes, /) -> bytes: ...


class Note(NamedTuple):
    """A text and its signatures.

    Attributes:
        text: The text, with its last newline.
        signatures: The signatures, none of them checked.
    """

    text: str
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """The note that bytes stand for.

        Raises:
            NotSigned: They are no signed note.
        """
        try:
            whole = data.decode()
        except UnicodeDecodeError:
            raise NotSigned("a signed note is UTF-8; this is not") from None
        text, blank, lines = whole.rpartition("\n\n")
        if not blank or not lines.endswith("\n") or any(one < " " and one != "\n" for one in whole):
            raise NotSigned("a signed note is a text, an empty line, and signatures; this is not")
        found = lines[:-1].split("\n")
        if len(found) > MOST_SIGNATURES:
            raise NotSigned(f"a signed note has more than {MOST_SIGNATURES} signatures")
        return cls(text + "\n", tuple(_signature(line) for line in found))

    def signed(self, name: str, signer: SignsText) -> Note:
        """The note with the signature of a key added."""
        key = VerifierKey(name, ED25519, signer.public_key)
        return self.adding([Signature(name, key.id, signer.sign(self.text.encode()))])

    def adding(self, more: Sequence[Signature]) -> Note:
        """The note with signatures added, in the place of those of the same keys."""
        new = {(one.name, one.id) for one in more}
        return self._replace(signatures=(*(o for o in self.signatures if (o.name, o.id) not in new), *more))

    def check(self, key: VerifierKey) -> int | None:
        """Checks that a key has signed the text; see ``VerifierKey.check``.

        Raises:
            NotSigned: It has not, or its signature is wrong.
        """
        mine = [one.data for one in self.signatures if (one.name, one.id) == (key.name, key.id)]
        if not mine:
            raise NotSigned(f"there is no signature of '{key.name}' ({key.id.hex()})")
        return [key.check(self.text, one) for one in mine][-1]

    def __bytes__(self) -> bytes:
        return (self.text + "\n" + "".join(map(str, self.signatures))).encode()


def proper_name(name: str) -> bool:
    """Whether a name can be a key's: not empty, no spaces, no ``+``, no control characters."""
    return bool(name) and "+" not in name and not any(one.isspace() or not one.isprintable() for one in name)


def signature_lines(text: str) -> list[Signature]:
    """The signatures that lines have: what a witness answers.

    Raises:
        NotSigned: A line is none.
    """
    return [_signature(line) for line in text.removesuffix("\n").split("\n")]


def _signature(line: str) -> Signature:
    name, _, coded = line.removeprefix(MARK).partition(" ")
    data = base64_bytes(coded)
    if not line.startswith(MARK) or not proper_name(name) or len(data) < 5:
        raise NotSigned("a line of a signed note's signatures is none")
    return Signature(name, data[:4], data[4:])


def base64_bytes(text: str) -> bytes:
    """What base64 stands for; nothing if it is not in its one form."""
    try:
        data = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return data if b64encode(data).decode() == text else b""
