"""AesGcmCodec: encrypts what a store keeps."""

from __future__ import annotations

import hmac
import os
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from functools import lru_cache
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from flujo_core.errors import CodecError, ConfigurationError, KeyLost
from flujo_core.store.byte_codec import About

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE = 12
"""Bytes of a nonce, as NIST SP 800-38D recommends."""

BYTES = 32
"""Bytes of a key: AES-256."""

CIPHERS = 256
"""How many runs' ciphers are kept ready."""


class Key(NamedTuple):
    """A key.

    Attributes:
        id: Its name, in clear in all that is written with it; not empty, at most 255 bytes.
        secret: 32 random bytes.
    """

    id: str
    secret: bytes

    def __repr__(self) -> str:
        return f"Key({self.id!r}, ...)"


KeyProvider: TypeAlias = Callable[[str | None], Key]
"""Gives the key of an id; of None, the one to write with now. It raises LookupError for one that it does not have. It
is asked seldom, and its answers are kept; it may block for a moment."""


def key_ring(keys: Mapping[str, bytes], current: str) -> KeyProvider:
    """A provider of keys that are at hand.

    Args:
        keys: Each key, 32 random bytes, by its id: the one to write with, and all that something was written with.
        current: The id of the key to write with.

    Raises:
        ConfigurationError: One is no key, or ``current`` is not there.
    """
    known = {name: _checked(Key(name, secret)) for name, secret in keys.items()}
    if current not in known:
        raise ConfigurationError(f"the key '{current}', to write with, is not among those that are given")

    def find(wanted: str | None) -> Key:
        return known[current if wanted is None else wanted]

    return find


def aes_of_environment() -> AesGcmCodec:
    """The codec with the keys in ``FLUJO_AES_KEYS``: ``id:base64`` each, separated by commas; the first is written
    with.

    Raises:
        ConfigurationError: There are none, or one cannot be read.
    """
    keys: dict[str, bytes] = {}
    for one in filter(None, os.environ.get("FLUJO_AES_KEYS", "").split(",")):
        name, _, text = one.strip().partition(":")
        try:
            keys[name] = b64decode(text, validate=True)
        except Base64Error:
            raise ConfigurationError(f"the key '{name}' in 'FLUJO_AES_KEYS' is not in base64") from None
    if not keys:
        raise ConfigurationError("the codec 'aes-gcm' has no key: set 'FLUJO_AES_KEYS' to 'id:' and 32 bytes in base64")
    return AesGcmCodec(key_ring(keys, next(iter(keys))))


def _checked(key: Key) -> Key:
    if not 0 < len(key.id.encode()) < 256 or "," in key.id:
        raise ConfigurationError("the id of a key is a text of 1 to 255 bytes, without a comma")
    if type(key.secret) is not bytes or len(key.secret) != BYTES:
        raise ConfigurationError(f"the key '{key.id}' is not {BYTES} bytes; make one by 'os.urandom({BYTES})'")
    return key


class AesGcmCodec:
    """Encrypts what a store keeps: AES-256-GCM (NIST SP 800-38D). It needs the extra ``crypto``.

    Each run, and the cache, has a key of its own, derived (HMAC-SHA-256) from the one that is given, so that a key can
    be used for as many payloads as there are; nonces are random. What is kept is bound to its place: its run, its
    number, its kind, its address. It has the length and the bytes of the key's id, the nonce, and the ciphertext with
    its tag.

    Rotation: let the provider give another key for None, and the earlier ones by their ids; what was written with
    them is read, and what is written from then on is so with the new one.

    Args:
        keys: Gives the keys.
        refresh: For how many seconds the key to write with is used before the provider is asked for it again.

    Raises:
        ConfigurationError: The library is not there.
    """

    name: str = "aes-gcm"

    def __init__(self, keys: KeyProvider, *, refresh: float = 60.0) -> None:
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - an extra
        except ImportError:
            raise ConfigurationError("the codec 'aes-gcm' needs 'cryptography'; install 'flujo-core[crypto]'") from None
        self._keys = keys
        self._refresh = refresh
        self._current: tuple[str, float] | None = None
        self._known: dict[str, Key] = {}

        @lru_cache(CIPHERS)
        def cipher(key_id: str, scope: str) -> AESGCM:
            return AESGCM(_derived(self._key(key_id), f"payload\0{scope}"))

        self._cipher = cipher

    def key_id(self) -> str:
        """The id of the key that is written with now.

        Raises:
            KeyLost: It cannot be had.
        """
        now = monotonic()
        if self._current is None or now >= self._current[1]:
            self._current = self._asked(None).id, now + self._refresh
        return self._current[0]

    def mac(self, key_id: str, data: bytes, /) -> bytes:
        """A keyed digest (HMAC-SHA-256).

        Args:
            key_id: The id of the key.
            data: What it is of.

        Raises:
            KeyLost: The key cannot be had.
        """
        return hmac.digest(_derived(self._key(key_id), "names"), data, "sha256")

    def encode(self, data: bytes, about: About, /) -> bytes:
        key_id, nonce = self.key_id(), os.urandom(NONCE)
        name = key_id.encode()
        head = bytes([len(name)]) + name
        return head + nonce + self._cipher(key_id, about.scope).encrypt(nonce, data, head + about.data)

    def decode(self, data: bytes, about: About, /) -> bytes:
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - an extra

        head = data[: 1 + data[0]] if data else b""
        body = data[len(head) :]
        try:
            key_id = head[1:].decode()
            return self._cipher(key_id, about.scope).decrypt(body[:NONCE], body[NONCE:], head + about.data)
        except (InvalidTag, ValueError) as error:
            raise CodecError("it was changed, or is not where it was written") from error

    def _key(self, key_id: str) -> Key:
        found = self._known.get(key_id)
        return self._asked(key_id) if found is None else found

    def _asked(self, key_id: str | None) -> Key:
        what = "the key to write with" if key_id is None else f"key '{key_id}'"
        try:
            key = _checked(self._keys(key_id))
        except Exception as error:
            raise KeyLost(f"{what} of codec 'aes-gcm' cannot be had ({type(error).__name__})") from error
        if key_id is not None and key.id != key_id:
            raise KeyLost(f"{what} of codec 'aes-gcm' cannot be had: the provider gave '{key.id}'")
        self._known[key.id] = key
        return key


def _derived(key: Key, purpose: str) -> bytes:
    return hmac.digest(key.secret, f"flujo/{purpose}".encode(), "sha256")
