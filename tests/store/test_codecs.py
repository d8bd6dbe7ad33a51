"""Byte codecs: what goes in comes out, and nothing else does."""

from __future__ import annotations

import os
import sys
from base64 import b64encode
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flujo_core import About, AesGcmCodec, ByteCodec, ConfigurationError, EncryptingCodec, Key, ZstdCodec, key_ring
from flujo_core.errors import CodecError, KeyLost
from flujo_core.store.aes import aes_of_environment
from flujo_core.store.byte_codec import Codecs, names_in

ONE, TWO = os.urandom(32), os.urandom(32)
HERE = About("run/r", "record/1/run_started//running")
THERE = About("run/r", "record/2/run_started//running")


def aes(current: str = "one", **keys: bytes) -> AesGcmCodec:
    return AesGcmCodec(key_ring(keys or {"one": ONE}, current))


BOTH = Codecs([ZstdCodec(), aes()])


@given(st.binary(max_size=2000))
def test_what_is_encoded_is_decoded_as_it_was(data: bytes) -> None:
    kept = BOTH.encoded(data, HERE)
    assert names_in(kept) == ["zstd", "aes-gcm"]
    assert BOTH.decoded(kept, HERE) == data


@given(st.binary(min_size=1, max_size=300), st.data())
def test_any_byte_that_is_changed_is_found(data: bytes, draw: st.DataObject) -> None:
    codecs = Codecs([aes()])
    kept = bytearray(codecs.encoded(data, HERE))
    place = draw.draw(st.integers(kept.index(b"\n") + 1, len(kept) - 1))
    kept[place] ^= draw.draw(st.integers(1, 255))
    with pytest.raises(CodecError):
        codecs.decoded(bytes(kept), HERE)


@pytest.mark.parametrize("length", [0, 1, 5, 20])
def test_what_is_cut_off_is_found(length: int) -> None:
    codecs = Codecs([aes()])
    kept = codecs.encoded(b"some text", HERE)
    with pytest.raises(CodecError, match=r"changed|cannot be"):
        codecs.decoded(kept[: kept.index(b"\n") + 1 + length], HERE)


def test_what_is_put_in_another_place_is_found() -> None:
    kept = BOTH.encoded(b"text", HERE)
    with pytest.raises(CodecError, match="record 2 of run r cannot be read: it was changed, or is not where"):
        BOTH.decoded(kept, THERE)
    with pytest.raises(CodecError):
        BOTH.decoded(kept, About("run/other", HERE.place))


def test_equal_texts_are_kept_as_other_bytes_each_time() -> None:
    assert BOTH.encoded(b"text", HERE) != BOTH.encoded(b"text", HERE)


def test_long_texts_become_short_and_short_ones_stay() -> None:
    zstd = ZstdCodec(19)
    assert len(zstd.encode(b"a" * 10_000, HERE)) < 100
    assert zstd.encode(b"short", HERE) == b"\x00short"
    noise = os.urandom(500)
    assert zstd.encode(noise, HERE) == b"\x00" + noise


@pytest.mark.parametrize("data", [b"", b"\x02text", b"\x01text"])
def test_what_is_no_zstandard_is_an_error(data: bytes) -> None:
    with pytest.raises(CodecError, match="no Zstandard data"):
        ZstdCodec().decode(data, HERE)


@pytest.mark.parametrize("level", [0, 23, "3", True])
def test_a_level_that_there_is_not_is_an_error(level: int) -> None:
    with pytest.raises(ConfigurationError, match="from 1 to 22"):
        ZstdCodec(level)


def test_rotation_reads_what_was_written_before_and_writes_with_the_new_key() -> None:
    before = Codecs([aes(one=ONE)]).encoded(b"text", HERE)
    rotated = Codecs([aes("two", one=ONE, two=TWO)])
    assert rotated.decoded(before, HERE) == b"text"
    after = rotated.encoded(b"text", HERE)
    assert b"two" in after
    assert Codecs([aes("two", two=TWO)]).decoded(after, HERE) == b"text"


def test_the_provider_is_asked_again_for_the_key_to_write_with() -> None:
    current = ["one"]

    def keys(wanted: str | None) -> Key:
        return Key(wanted or current[0], ONE if (wanted or current[0]) == "one" else TWO)

    codec = AesGcmCodec(keys, refresh=0)
    assert codec.key_id() == "one"
    current[0] = "two"
    assert codec.key_id() == "two"
    slow = AesGcmCodec(keys)
    assert slow.key_id() == "two"
    current[0] = "one"
    assert slow.key_id() == "two", "it is asked once in a while"


def test_a_lost_key_is_an_error_that_names_it() -> None:
    kept = Codecs([aes()]).encoded(b"text", HERE)
    with pytest.raises(KeyLost, match=r"record 1 of run r cannot be read: key 'one' of codec 'aes-gcm' cannot be had"):
        Codecs([aes("two", two=TWO)]).decoded(kept, HERE)

    def nobody(wanted: str | None) -> Key:
        raise OSError

    with pytest.raises(KeyLost, match=r"the key to write with of codec 'aes-gcm' cannot be had \(OSError\)"):
        AesGcmCodec(nobody).encode(b"", HERE)
    with pytest.raises(KeyLost, match="the provider gave 'one'"):
        AesGcmCodec(lambda wanted: Key("one", ONE)).mac("two", b"")


def test_another_key_under_the_same_name_is_found() -> None:
    kept = Codecs([aes()]).encoded(b"text", HERE)
    with pytest.raises(CodecError, match="it was changed"):
        Codecs([aes(one=TWO)]).decoded(kept, HERE)


@pytest.mark.parametrize("keys", [{"one": b"short"}, {"": ONE}, {"a,b": ONE}, {"x" * 256: ONE}])
def test_what_is_no_key_is_an_error_without_the_key(keys: dict[str, bytes]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        key_ring(keys, next(iter(keys)))
    assert "short" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="'two', to write with, is not among"):
        key_ring({"one": ONE}, "two")


def test_a_key_does_not_show_itself() -> None:
    assert repr(Key("one", ONE)) == "Key('one', ...)"


def test_keys_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    text = ",".join(f"{name}:{b64encode(key).decode()}" for name, key in (("two", TWO), ("one", ONE)))
    monkeypatch.setenv("FLUJO_AES_KEYS", text)
    codec = aes_of_environment()
    assert codec.key_id() == "two"
    assert codec.decode(aes().encode(b"text", HERE), HERE) == b"text"
    monkeypatch.setenv("FLUJO_AES_KEYS", "one:???")
    with pytest.raises(ConfigurationError, match="'one' in 'FLUJO_AES_KEYS' is not in base64"):
        aes_of_environment()
    monkeypatch.delenv("FLUJO_AES_KEYS")
    with pytest.raises(ConfigurationError, match="set 'FLUJO_AES_KEYS'"):
        aes_of_environment()


def test_equal_names_have_equal_digests_under_one_key_and_in_one_place() -> None:
    two = Codecs([aes("two", one=ONE, two=TWO)])
    assert BOTH.hidden("one", "run/r", "k") == two.hidden("one", "run/r", "k")
    digests = {two.hidden(key, scope, name) for key in ("one", "two") for scope in ("a", "b") for name in ("k", "l")}
    assert len(digests) == 8
    assert all(len(one) == 32 for one in digests)


def test_what_was_written_without_codecs_is_read_as_it_is() -> None:
    assert BOTH.decoded(b'{"a":1}', HERE) == b'{"a":1}'


def test_a_codec_that_is_not_there_is_named() -> None:
    kept = BOTH.encoded(b"text", HERE)
    with pytest.raises(CodecError, match="record 1 of run r was written with codec 'aes-gcm', which is not there"):
        Codecs([ZstdCodec()]).decoded(kept, HERE)
    with pytest.raises(CodecError, match="mail of run r was written with codec 'zstd'"):
        Codecs([aes()]).decoded(BOTH.encoded(b"", About("run/r", "mail/1")), About("run/r", "mail/1"))


class Upside:
    """A codec of somebody else's."""

    name = "acme/upside"

    def encode(self, data: bytes, about: About, /) -> bytes:
        return data[::-1]

    def decode(self, data: bytes, about: About, /) -> bytes:
        if not data:
            raise IndexError("secret")
        return data[::-1]


def test_a_codec_of_somebody_else_is_a_codec_and_its_errors_are_typed() -> None:
    codecs = Codecs([Upside()])
    assert codecs.encrypting is None
    assert codecs.decoded(codecs.encoded(b"abc", HERE), HERE) == b"abc"
    with pytest.raises(CodecError, match="codec 'acme/upside' raised IndexError") as caught:
        codecs.decoded(codecs.encoded(b"", HERE), HERE)
    assert "secret" not in str(caught.value)
    assert isinstance(Upside(), ByteCodec)
    assert not isinstance(Upside(), EncryptingCodec)
    assert isinstance(aes(), EncryptingCodec)


class Shouting(Upside):
    name = "NO NAME"


@pytest.mark.parametrize("wrong", [[3], [Shouting()], [aes(), aes()]])
def test_what_is_no_codec_or_is_given_twice_is_an_error(wrong: list[ByteCodec]) -> None:
    with pytest.raises(ConfigurationError, match=r"no codec|the same name"):
        Codecs(wrong)


@pytest.mark.parametrize(
    ("module", "make", "extra"),
    [
        ("backports", ZstdCodec, "zstd"),
        ("cryptography.hazmat.primitives.ciphers.aead", lambda: aes(), "crypto"),
    ],
)
def test_a_codec_whose_library_is_not_there_says_what_to_install(
    module: str, make: Callable[[], ByteCodec], extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match=rf"install 'flujo-core\[{extra}\]'"):
        make()
