"""A signer whose key never leaves a server: the transit engine of OpenBao and Vault."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from flujo_audit_advanced.errors import SignerUnavailable
from flujo_audit_advanced.web import Unreachable, ask, checked_url


class TransitSigner:
    """Signs with an Ed25519 key of a transit engine, and always with the same version of it.

    The server is asked for the public key when the signer is made; make it in a thread if an event loop runs.

    Args:
        url: The server: ``https://bao.example:8200``.
        key: The key's name.
        token: A token that may ``update`` ``MOUNT/sign/KEY`` and ``read`` ``MOUNT/keys/KEY``.
        mount: Where the engine is mounted.
        version: The version of the key; the newest unless it is said. A newer one is used by ``AuditLog.rotate``.
        timeout: Seconds in which the server has to answer.

    Attributes:
        public_key: The 32 bytes of the public key.
        version: The version of the key.

    Raises:
        SignerUnavailable: The server does not answer, or has no such key.
    """

    def __init__(
        self,
        url: str,
        key: str,
        token: str,
        *,
        mount: str = "transit",
        version: int | None = None,
        timeout: float = 10.0,
    ) -> None:
        self._url = f"{checked_url(url, 'the key server')}/v1/{quote(mount)}"
        self._name, self._token, self._timeout = key, token, timeout
        found = self._ask(f"keys/{quote(key, safe='')}", None)
        if found.get("type") != "ed25519":
            raise SignerUnavailable(f"the key '{key}' of the key server is not of type 'ed25519'")
        self.version: int = version or int(found["latest_version"])
        kept = found["keys"].get(str(self.version))
        if kept is None:
            raise SignerUnavailable(f"the key '{key}' of the key server has no version {self.version}")
        self.public_key: bytes = b64decode(kept["public_key"])

    def sign(self, message: bytes, /) -> bytes:
        data = {"input": b64encode(message).decode(), "key_version": self.version}
        found = self._ask(f"sign/{quote(self._name, safe='')}", json.dumps(data).encode())
        return b64decode(found["signature"].rpartition(":")[2])

    def _ask(self, path: str, data: bytes | None) -> Mapping[str, Any]:
        headers = {"X-Vault-Token": self._token, "Content-Type": "application/json"}
        try:
            answer = ask(f"{self._url}/{path}", data, headers, self._timeout)
        except Unreachable as error:
            raise SignerUnavailable(f"the key server did not answer ({error})") from None
        if answer.status != 200:
            raise SignerUnavailable(f"the key server refused the key '{self._name}' (HTTP {answer.status})")
        try:
            found: Mapping[str, Any] = json.loads(answer.body)["data"]
        except (ValueError, KeyError, TypeError):
            raise SignerUnavailable("the key server's answer is not that of a transit engine") from None
        return found

    def __repr__(self) -> str:
        return f"<TransitSigner '{self._name}' version {self.version}>"
