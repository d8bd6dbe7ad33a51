"""Byte codecs: what turns the payloads that a store keeps into other bytes, and back.

What is kept tells which codecs it was written with: ``\\x00flujo:`` and their names, in order, up to a line feed, and
then the bytes. JSON begins with neither, so what was written without codecs is read as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

from flujo_core.errors import CodecError, ConfigurationError
from flujo_core.store.protocol import Record

MARK = b"\x00flujo:"
NAME = re.compile(r"[a-z0-9][a-z0-9_./-]*")


class About(NamedTuple):
    """What some bytes are of: they are good in that place only, and an encrypting codec holds them to it.

    Attributes:
        scope: What they are part of: ``run/0199...``, ``cache``.
        place: What they are there: ``record/3/step_completed/plan/completed``.
    """

    scope: str
    place: str

    @property
    def data(self) -> bytes:
        """It, as associated data of an authenticated cipher."""
        return f"{self.scope}\0{self.place}".encode()


@runtime_checkable
class ByteCodec(Protocol):
    """Turns what a store keeps into other bytes, and back: compresses it, or encrypts it.

    Its methods are called on the event loop, once for each payload: they must be quick, and wait for nothing.
    """

    @property
    def name(self) -> str:
        """Stands in what is kept, and must stay: lower case letters, digits, and ``_ . / -``."""
        ...

    def encode(self, data: bytes, about: About, /) -> bytes:
        """Other bytes for some.

        Args:
            data: The bytes.
            about: What they are of.

        Raises:
            CodecError: It cannot; nothing is written then.
        """
        ...

    def decode(self, data: bytes, about: About, /) -> bytes:
        """The bytes that ``encode`` was given.

        Raises:
            CodecError: They cannot be had: a key is lost, or they were changed.
        """
        ...


@runtime_checkable
class EncryptingCodec(ByteCodec, Protocol):
    """A byte codec that nobody without its keys reads anything of; it hides names that must stand in clear, too."""

    def key_id(self) -> str:
        """The id of the key that is written with now.

        Raises:
            CodecError: It cannot be had.
        """
        ...

    def mac(self, key_id: str, data: bytes, /) -> bytes:
        """A keyed digest, of at least 16 bytes.

        Args:
            key_id: The id of the key.
            data: What it is of.

        Raises:
            CodecError: The key cannot be had.
        """
        ...


CodecFactory: TypeAlias = Callable[[], ByteCodec]
"""Makes a byte codec; called once for each ``Flujo`` that names it."""


class Codecs:
    """Byte codecs, in the order in which they write.

    Args:
        codecs: At least one.

    Raises:
        ConfigurationError: One is no byte codec, or two have one name.
    """

    def __init__(self, codecs: Sequence[ByteCodec]) -> None:
        for one in codecs:
            if not _is_codec(one):
                what = f"{type(one).__name__!r} is no byte codec"
                raise ConfigurationError(f"{what}: that has a 'name' of lower case letters, 'encode' and 'decode'")
        self._by_name = {one.name: one for one in codecs}
        if len(self._by_name) < len(codecs):
            raise ConfigurationError("two codecs have the same name; give each once")
        self._codecs = tuple(codecs)
        self._head = MARK + ",".join(self._by_name).encode() + b"\n"
        self.encrypting = next((one for one in codecs if isinstance(one, EncryptingCodec)), None)

    def encoded(self, data: bytes, about: About) -> bytes:
        """What is kept of some bytes.

        Raises:
            CodecError: A codec cannot.
        """
        for one in self._codecs:
            data = one.encode(data, about)
        return self._head + data

    def decoded(self, data: bytes, about: About) -> bytes:
        """The bytes that something was kept of; of what was written without codecs, that itself.

        Raises:
            CodecError: They cannot be had; the message says which codec or key is missing.
        """
        names = names_in(data)
        if not names:
            return data
        data = data[data.index(b"\n") + 1 :]
        for name in reversed(names):
            codec = self._by_name.get(name)
            if codec is None:
                raise CodecError(missing(about, name))
            try:
                data = codec.decode(data, about)
            except CodecError as error:
                raise type(error)(f"{_said(about)} cannot be read: {error}") from error
            except Exception as error:
                what = f"{_said(about)} cannot be read: codec '{name}' raised {type(error).__name__}"
                raise CodecError(what) from error
        return data

    def hidden(self, key_id: str, scope: str, text: str) -> str:
        """A keyed digest of a name that must stand in clear.

        Args:
            key_id: The id of the key; the same name has another digest under another one.
            scope: What the name is in, in which equal names have equal digests.
            text: The name.

        Raises:
            CodecError: The key cannot be had.
        """
        assert self.encrypting is not None
        return self.encrypting.mac(key_id, f"{scope}\0{text}".encode())[:16].hex()


class Hidden(NamedTuple):
    """Hides the names of one run that must stand in clear.

    Attributes:
        codecs: The codecs.
        key_id: The id of the key that the run was begun with.
        run_id: The run that began with it; a fork has the digests of that.
    """

    codecs: Codecs
    key_id: str
    run_id: str

    def of(self, place: str, text: str) -> str:
        """A keyed digest of a name, in some place."""
        return self.codecs.hidden(self.key_id, f"run/{self.run_id}\0{place}", text)


def _is_codec(given: object) -> bool:
    return isinstance(given, ByteCodec) and NAME.fullmatch(given.name) is not None


def names_in(data: bytes) -> list[str]:
    """The names of the codecs that something was written with, in order; none where it was without."""
    if not data.startswith(MARK):
        return []
    head, _, _ = data.partition(b"\n")
    return head.removeprefix(MARK).decode("ascii", "replace").split(",")


def missing(about: About, name: str) -> str:
    """What is said of a codec that something was written with, and that is not there."""
    remedy = "give it: 'Flujo(codecs=[...])', or 'codecs' in the configuration"
    return f"{_said(about)} was written with codec '{name}', which is not there; {remedy}"


def about_record(record: Record) -> About:
    """What the payload of a record is of: its header cannot be changed without it, nor can records be swapped."""
    place = f"record/{record.sequence}/{record.kind}/{record.address}/{record.outcome}"
    return About(f"run/{record.run_id}", place)


def _said(about: About) -> str:
    kind, *rest = about.place.split("/")
    where = f" {rest[0]}" if kind == "record" else ""
    return f"{kind}{where} of {about.scope.replace('/', ' ', 1)}"
