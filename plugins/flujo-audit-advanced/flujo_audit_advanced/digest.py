"""Digest: what stands in a record for what may be somebody's: keyed, so that nobody finds it by trying."""

from __future__ import annotations

import hmac
import os
import re
from base64 import b64decode
from pathlib import Path
from typing import Any, Final

from pydantic_core import to_json

from flujo_audit_advanced.record import Value
from flujo_core import ConfigurationError

KEY_VARIABLE: Final = "FLUJO_AUDIT_DIGEST_KEY"
"""The environment variable that has the key, in Base64, unless the configuration names a file."""

PAYLOAD_VARIABLE: Final = "FLUJO_AUDIT_PAYLOAD_KEY"
"""The environment variable that has the key of payloads, in Base64, unless the configuration names a file."""

LEAST: Final = 32
"""Bytes that a key has at least."""

_NAME: Final = re.compile(r"\[(?!\d{1,3}\]|~default\])([^\]]*)\]")
"""A name in an address that may be data: all but the numbers of iterations and items, and the default of a branch."""


class Digester:
    """Makes keyed digests (HMAC-SHA-256, RFC 2104).

    Args:
        key: At least 32 bytes. Who has it can find out by trying what a digest is of: it is no key of the log's.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < LEAST:
            raise ConfigurationError(f"the key of the audit's digests has {len(key)} bytes; it needs {LEAST} at least")
        self._keyed = hmac.new(key, digestmod="sha256")
        self._known: dict[str, str] = {}

    def of(self, place: str, data: bytes) -> str:
        """The digest of something, in hexadecimal; in another place it is another."""
        made = self._keyed.copy()  # which leaves the interpreter's lock where it is, unlike hmac.digest()
        made.update(place.encode() + b"\0" + data)
        return made.hexdigest()

    def of_value(self, value: Any) -> dict[str, Value]:
        """What stands for a value."""
        data = as_json(value)
        return {"hmac": self.of("value", data), "bytes": len(data)}

    def address(self, address: str) -> str:
        """An address in which digests stand for the names that may be data: keys of maps, branches, cases."""
        if "[" not in address:
            return address
        found = self._known.get(address)
        if found is None:
            if len(self._known) > 10_000:
                self._known.clear()
            found = self._known[address] = _NAME.sub(self._hidden, address)
        return found

    def _hidden(self, match: re.Match[str]) -> str:
        return f"[~{self.of('name', match[1].encode())[:16]}]"

    def __repr__(self) -> str:
        return "<Digester>"


def as_json(value: Any) -> bytes:
    """A value as JSON, as pydantic writes it; of what it cannot write, the name of its type."""
    try:
        return to_json(value, fallback=_type_name, bytes_mode="base64", inf_nan_mode="strings")
    except Exception:  # half of a surrogate pair, a value in itself, a serializer of the user's: they are values too
        return to_json(_type_name(value))


def _type_name(value: object) -> str:
    return f"<{type(value).__qualname__}>"


def key_in(variable: str, file: Path | None = None) -> bytes:
    """A key of a deployment.

    Args:
        variable: The environment variable that has it, in Base64.
        file: The file that has it instead, or None.

    Raises:
        ConfigurationError: There is none, or it is not one.
    """
    if file is None:
        where, text = f"the environment variable '{variable}'", os.environ.get(variable, "")
    else:
        where = f"'{file}'"
        try:
            text = file.read_text("ascii")
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"the key in {where} cannot be read ({type(error).__name__})") from None
    try:
        key = b64decode(text.strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) < LEAST:
        raise ConfigurationError(f"{where} has no key for the audit: {LEAST} random bytes in Base64")
    return key
