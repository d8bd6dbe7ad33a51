"""Payloads: values that stand beside the log, encrypted, so that they can be erased: their key is destroyed.

All payloads about one subject (or of one run, where nobody is named) are of one group, which has a key of its own: 32
random bytes, kept encrypted with the deployment's key (AES-256-GCM). What stands in the log is an HMAC with a key that
is derived from the group's: it proves what the payload was as long as that is there, and says nothing when the key is
gone. To erase is to write over the file of the group's key and to remove it; the bytes of the payloads follow.
"""

from __future__ import annotations

import asyncio
import hmac
import os
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from flujo_audit_advanced.digest import Digester
from flujo_audit_advanced.errors import AuditError, PayloadErased
from flujo_audit_advanced.files import sync_folder
from flujo_audit_advanced.record import Value
from flujo_core import ConfigurationError

FOLDER: Final = "payloads"
"""The folder in a log's folder that has them."""

KEY: Final = "key"
NONCE: Final = 12


class Payloads:
    """The payloads of one log.

    Args:
        log: The log's folder.
        key: The 32 bytes with which the keys of the groups are encrypted; None: nothing is kept or read, only erased.
        digester: Names groups, so that their names say nothing of whom they are about.
    """

    def __init__(self, log: Path, key: bytes | None, digester: Digester) -> None:
        if key is not None and len(key) != 32:
            raise ConfigurationError(f"the key of the audit's payloads has {len(key)} bytes; it needs 32")
        self._folder, self._digester = log / FOLDER, digester
        self._cipher = None if key is None else AESGCM(key)

    def group(self, *, run: str | None = None, subject: str | None = None) -> str:
        """The group of what is about somebody, by the digest that anybody can make; or of a run."""
        told = f"subject/{subject}" if subject else f"run/{run}"
        return self._digester.of("payloads", told.encode())[:32]

    async def put(self, data: bytes, /, *, run: str, subject: str | None) -> dict[str, Value]:
        """Keeps a payload, durably.

        Args:
            data: Its bytes.
            run: The run that it is of.
            subject: A digest of whom it is about, or None.

        Returns:
            What stands for it in a record.

        Raises:
            AuditError: It cannot be written.
        """
        group = self.group(run=run, subject=subject)
        return await asyncio.to_thread(self._put, data, group)

    def read(self, told: Mapping[str, Any], /) -> bytes:
        """A payload, by what stands for it in a record.

        Raises:
            PayloadErased: It was erased.
            AuditError: It is missing, or it is another than it was.
        """
        group, name = str(told["group"]), str(told["id"])
        key = self._key(group)
        if key is None:
            raise PayloadErased(f"the payload '{name}' was erased")
        try:
            kept = (self._folder / group / name).read_bytes()
        except OSError as error:
            raise AuditError(f"the payload '{name}' cannot be read: {error.strerror}") from None
        data = _opened(AESGCM(key), kept, name)
        if not hmac.compare_digest(_commitment(key, data), str(told["digest"])):
            raise AuditError(f"the payload '{name}' is not the one that is on record: it was changed")
        return data

    def erase(self, group: str) -> bool:
        """Destroys the key of a group, and then what it was for.

        Returns:
            Whether there was one.

        Raises:
            AuditError: It cannot be removed.
        """
        folder = self._folder / group
        place = folder / KEY
        try:
            with open(place, "r+b") as file:
                size = os.fstat(file.fileno()).st_size
                file.write(os.urandom(size))
                file.flush()
                os.fsync(file.fileno())
        except FileNotFoundError:
            return False
        except OSError as error:
            raise AuditError(f"the key of the payloads in '{folder}' cannot be destroyed: {error.strerror}") from None
        for path in (place, *(one for one in folder.iterdir() if one != place)):
            with suppress(FileNotFoundError):
                path.unlink()
        sync_folder(folder)
        return True

    def has(self, group: str) -> bool:
        """Whether a group has its key."""
        return (self._folder / group / KEY).exists()

    def _put(self, data: bytes, group: str) -> dict[str, Value]:
        key, name = self._key(group) or self._new_key(group), uuid4().hex
        try:
            _kept(self._folder / group / name, _closed(AESGCM(key), data, name))
        except OSError as error:
            raise AuditError(f"a payload of the audit cannot be written: {error.strerror}") from None
        return {"id": name, "group": group, "digest": _commitment(key, data), "bytes": len(data)}

    @property
    def _sealing(self) -> AESGCM:
        if self._cipher is None:
            raise AuditError("there is no key for the payloads of the audit")
        return self._cipher

    def _key(self, group: str) -> bytes | None:
        try:
            kept = (self._folder / group / KEY).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise AuditError(f"the key of the payloads in '{group}' cannot be read: {error.strerror}") from None
        return _opened(self._sealing, kept, group)

    def _new_key(self, group: str) -> bytes:
        """A key for a group; if another process has just made one, that."""
        folder, key = self._folder / group, os.urandom(32)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _kept(folder / KEY, _closed(self._sealing, key, group))
            sync_folder(self._folder)
            sync_folder(self._folder.parent)
        except FileExistsError:
            return self._key(group) or self._new_key(group)
        except OSError as error:
            raise AuditError(f"the key of a group of payloads cannot be written: {error.strerror}") from None
        return key

    def __repr__(self) -> str:
        return f"<Payloads '{self._folder}'>"


def _closed(cipher: AESGCM, data: bytes, name: str) -> bytes:
    nonce = os.urandom(NONCE)
    return nonce + cipher.encrypt(nonce, data, name.encode())


def _opened(cipher: AESGCM, kept: bytes, name: str) -> bytes:
    try:
        return cipher.decrypt(kept[:NONCE], kept[NONCE:], name.encode())
    except (InvalidTag, ValueError):
        raise AuditError(f"what is kept as '{name}' cannot be opened: it was changed, or the key is another") from None


def _commitment(key: bytes, data: bytes) -> str:
    """What stands in the log: it binds to the payload, and hides it from who has not the group's key."""
    return hmac.digest(hmac.digest(key, b"flujo audit payload", sha256), data, sha256).hex()


def _kept(path: Path, data: bytes) -> None:
    """Writes a new file, whole and durably.

    Raises:
        FileExistsError: There is one.
    """
    new = path.with_name(f".{uuid4().hex}")
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(new, path)
    finally:
        with suppress(FileNotFoundError):
            new.unlink()
    sync_folder(path.parent)
