"""Who signs checkpoints: what a signer is, and one whose key is in a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from flujo_core import ConfigurationError


class Signer(Protocol):
    """Signs with one Ed25519 key. Called in a thread of the log's, never on an event loop."""

    @property
    def public_key(self) -> bytes:
        """The 32 bytes of the public key."""
        ...

    def sign(self, message: bytes, /) -> bytes:
        """The 64 bytes of the signature.

        Raises:
            SignerUnavailable: The key cannot be had now.
        """
        ...


class LocalSigner:
    """Signs with a key in this process.

    Args:
        seed: The 32 bytes of the private key (RFC 8032).
    """

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @classmethod
    def generate(cls) -> LocalSigner:
        """A signer with a new key."""
        return cls(os.urandom(32))

    @classmethod
    def from_file(cls, path: Path) -> LocalSigner:
        """A signer whose key is in a file that ``save`` wrote.

        Raises:
            ConfigurationError: It cannot be read, or has no key in it.
        """
        try:
            return cls(bytes.fromhex(path.read_text("ascii").strip()))
        except OSError as error:
            raise ConfigurationError(f"the key in '{path}' cannot be read: {error.strerror}") from error
        except ValueError:
            raise ConfigurationError(f"the key in '{path}' is not one that 'flujo audit key' made") from None

    def save(self, path: Path) -> None:
        """Writes the private key into a new file, for its owner only."""
        raw = self._key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(raw.hex() + "\n")

    def sign(self, message: bytes, /) -> bytes:
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"<LocalSigner {self.public_key.hex()[:8]}>"
