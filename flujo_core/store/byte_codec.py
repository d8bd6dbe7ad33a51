"""Byte codecs: what turns the payloads that a store keeps into other bytes, and back; and all codecs together.

What is kept tells which codecs it was written with: ``\\x00flujo:`` and their names, in order, up to a line feed, and
then the bytes; those may be ``\\x00values:`` and the names of value codecs, likewise. JSON begins with neither, so what
was written without codecs is read as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

from flujo_core.errors import CodecError, ConfigurationError
from flujo_core.store.protocol import Record
from flujo_core.store.value_codec import TIMEOUT, ValueCodec, Values

MARK = b"\x00flujo:"
VALUES_MARK = b"\x00values:"
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
class HidingCodec(Protocol):
    """A codec that hides names that must stand in clear: the keys of a map's items, who has voted."""

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


@runtime_checkable
class EncryptingCodec(ByteCodec, HidingCodec, Protocol):
    """A byte codec that nobody without its keys reads anything of; it hides names that must stand in clear, too."""


Codec: TypeAlias = ByteCodec | ValueCodec
"""What ``codecs`` lists."""

CodecFactory: TypeAlias = Callable[[], Codec]
"""Makes a codec; called once for each ``Flujo`` that names it."""


class Codecs:
    """Codecs, in the order in which they write: value codecs, then byte codecs.

    Args:
        codecs: At least one.
        timeout: Seconds that one call of a value codec may take.

    Attributes:
        values: The value codecs, or None.
        encrypting: The first one that encrypts, or None.
        hiding: The first one that hides names, or None.

    Raises:
        ConfigurationError: One is no codec, two have one name, or a value codec stands behind a byte codec.
    """

    def __init__(self, codecs: Sequence[Codec], timeout: float = TIMEOUT) -> None:
        values, self._codecs = _sorted(codecs)
        self._by_name = {one.name: one for one in self._codecs}
        self._head = MARK + ",".join(self._by_name).encode() + b"\n"
        self.values = Values(values, timeout) if values else None
        self.encrypting = next((one for one in self._codecs if isinstance(one, EncryptingCodec)), None)
        self.hiding = next((one for one in codecs if isinstance(one, HidingCodec)), None)

    def encoded(self, data: bytes, about: About) -> bytes:
        """What is kept of some bytes.

        Raises:
            CodecError: A codec cannot.
        """
        if not self._codecs:
            return data
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
        assert self.hiding is not None
        return self.hiding.mac(key_id, f"{scope}\0{text}".encode())[:16].hex()


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


def _checked(given: object) -> Codec:
    """What can be a codec.

    Raises:
        ConfigurationError: It is none.
    """
    if not isinstance(given, ByteCodec | ValueCodec) or NAME.fullmatch(given.name) is None:
        what = f"{type(given).__name__!r} is no codec: that has a 'name' of lower case letters"
        raise ConfigurationError(f"{what}, and 'encode' and 'decode', or 'encode_value' and 'decode_value'")
    if isinstance(given, ByteCodec) and isinstance(given, ValueCodec):
        raise ConfigurationError(f"codec '{given.name}' is of bytes and of values; make two of it")
    return given


def _sorted(codecs: Sequence[Codec]) -> tuple[list[ValueCodec], list[ByteCodec]]:
    """The value codecs, and the byte codecs.

    Raises:
        ConfigurationError: They cannot be had together.
    """
    values: list[ValueCodec] = []
    others: list[ByteCodec] = []
    for one in map(_checked, codecs):
        if isinstance(one, ByteCodec):
            others.append(one)
        elif others:
            what = f"value codec '{one.name}' stands behind byte codec '{others[0].name}', where values are bytes"
            raise ConfigurationError(f"{what}; put it in front")
        else:
            values.append(one)
    if len({one.name for one in codecs}) < len(codecs):
        raise ConfigurationError("two codecs have the same name; give each once")
    return values, others


def names_in(data: bytes, mark: bytes = MARK) -> list[str]:
    """The names of the byte codecs that something was written with, in order; none where it was without.

    Args:
        data: What was kept.
        mark: What it begins with then; ``VALUES_MARK`` gives those of value codecs.
    """
    if not data.startswith(mark):
        return []
    head, _, _ = data.partition(b"\n")
    return head.removeprefix(mark).decode("ascii", "replace").split(",")


def written_with(data: bytes) -> list[str]:
    """The names of the codecs that must be had first to read something; none where it was written without."""
    return names_in(data) or names_in(data, VALUES_MARK)


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
