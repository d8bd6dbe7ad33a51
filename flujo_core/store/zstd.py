"""ZstdCodec: compresses what a store keeps."""

from __future__ import annotations

from flujo_core.errors import CodecError, ConfigurationError
from flujo_core.store.byte_codec import About

SHORT = 128
"""Bytes that are not worth compressing: they would become more."""

PLAIN, PACKED = b"\x00", b"\x01"


class ZstdCodec:
    """Compresses what a store keeps (Zstandard, RFC 8878). It needs the extra ``zstd`` before Python 3.14.

    Give it before a codec that encrypts: what is encrypted cannot be compressed any more. How long something is after
    it tells something of it; where that matters, leave it out.

    Args:
        level: How hard it tries, from 1 to 22.

    Raises:
        ConfigurationError: The library is not there, or the level is none.
    """

    name: str = "zstd"

    def __init__(self, level: int = 3) -> None:
        try:
            from backports import zstd  # noqa: PLC0415 - an extra
        except ImportError:
            raise ConfigurationError("the codec 'zstd' needs 'backports.zstd'; install 'flujo-core[zstd]'") from None
        if type(level) is not int or not 1 <= level <= 22:
            raise ConfigurationError(f"the level of 'ZstdCodec' is a whole number from 1 to 22, not {level!r}")
        self._level = level
        self._zstd = zstd

    def encode(self, data: bytes, about: About, /) -> bytes:
        if len(data) < SHORT:
            return PLAIN + data
        packed = self._zstd.compress(data, self._level)
        return PACKED + packed if len(packed) < len(data) else PLAIN + data

    def decode(self, data: bytes, about: About, /) -> bytes:
        kind, body = data[:1], data[1:]
        if kind == PLAIN:
            return body
        try:
            if kind != PACKED:
                raise ValueError
            unpacked: bytes = self._zstd.decompress(body)
        except (self._zstd.ZstdError, ValueError) as error:
            raise CodecError("it is no Zstandard data of this codec's: it was changed") from error
        return unpacked
