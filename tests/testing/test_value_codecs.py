"""assert_value_codec_conforms: good codecs pass, and for each check there is a bad one that only that check refuses."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vault import CANARY, Vault, replaced

from flujo_core import CodecError, ValueAbout
from flujo_core.testing.value_codecs import VALUE_CODEC_CHECKS, assert_value_codec_conforms

SECRETS = [CANARY, f"{CANARY}-2"]
SHIFT = 0x3000


class Shifted:
    """Hides labelled texts by moving each character; what is to be read is marked."""

    name = "shifted"

    def key_id(self) -> str:
        return "one"

    def mac(self, key_id: str, data: bytes, /) -> bytes:
        return hmac.digest(b"key", data, "sha256")

    async def encode_value(self, value: Any, about: ValueAbout, /) -> Any:
        await asyncio.sleep(0)
        return replaced(value, self.hide) if about.labels_at(()) else value

    async def decode_value(self, value: Any, about: ValueAbout, /) -> Any:
        return replaced(value, self.show)

    def hide(self, text: str) -> str:
        return "\ue000" + "".join(map(self._moved, text)) if text else text

    def show(self, text: str) -> str:
        return "".join(map(self._moved, text[1:])) if text[:1] == "\ue000" else text

    def _moved(self, one: str) -> str:
        return chr(ord(one) ^ 0x3000) if ord(one) < 0x80 or 0x3000 <= ord(one) < 0x3080 else one


@pytest.mark.parametrize("check", VALUE_CODEC_CHECKS)
def test_a_vault_of_tokens_conforms(check: str, tmp_path: Path) -> None:
    work = assert_value_codec_conforms(lambda: Vault(tmp_path / "vault.db"), secrets=SECRETS, only=[check])
    asyncio.run(work)


def test_a_codec_that_goes_by_labels_conforms() -> None:
    asyncio.run(assert_value_codec_conforms(Shifted, secrets=SECRETS))


def test_a_codec_that_hides_nothing_conforms_where_nothing_is_secret() -> None:
    class Plain:
        name = "plain"

        async def encode_value(self, value: Any, about: ValueAbout, /) -> Any:
            return value

        async def decode_value(self, value: Any, about: ValueAbout, /) -> Any:
            return value

    asyncio.run(assert_value_codec_conforms(Plain))
    with pytest.raises(AssertionError, match="secrets: what is kept holds a text") as caught:
        asyncio.run(assert_value_codec_conforms(Plain, secrets=SECRETS))
    assert str(caught.value).count("\n") == 1


class Unordered(Shifted):
    async def decode_value(self, value: Any, about: ValueAbout, /) -> Any:
        found = await super().decode_value(value, about)
        is_whole = about.kind == "context" and isinstance(found, dict)
        return dict(sorted(found.items())) if is_whole else found


class Private(Shifted):
    """Knows only what it has written itself."""

    def __init__(self) -> None:
        self.known: dict[str, Any] = {}

    async def encode_value(self, value: Any, about: ValueAbout, /) -> Any:
        if about.run_id != "conformance":
            return await super().encode_value(value, about)
        self.known[str(len(self.known))] = value
        return {"n": str(len(self.known) - 1)}

    async def decode_value(self, value: Any, about: ValueAbout, /) -> Any:
        if isinstance(value, dict) and [*value] == ["n"]:
            return self.known.get(value["n"])
        return await super().decode_value(value, about)


class Once(Shifted):
    def hide(self, text: str) -> str:
        return text if text[:1] == "\ue000" else super().hide(text)


class Hasty(Shifted):
    """Remembers the value that it is at, for all calls together."""

    at: Any = None

    async def encode_value(self, value: Any, about: ValueAbout, /) -> Any:
        Hasty.at = value
        await asyncio.sleep(0)
        return await super().encode_value(Hasty.at, about)


class Open(Shifted):
    def hide(self, text: str) -> str:
        return text if text.startswith("of ") else super().hide(text)


class Forgetful(Shifted):
    def mac(self, key_id: str, data: bytes, /) -> bytes:
        return hmac.digest(str(id(self)).encode(), data, "sha256")


class Loud(Shifted):
    async def decode_value(self, value: Any, about: ValueAbout, /) -> Any:
        if about.run_id == "strange" and value is not None:
            raise CodecError(f"this is not read: {self.show(str(value))}")
        return await super().decode_value(value, about)


class Raising(Shifted):
    async def decode_value(self, value: Any, about: ValueAbout, /) -> Any:
        if about.run_id == "strange":
            raise KeyError(value)
        return await super().decode_value(value, about)


class Telling(Shifted):
    def __repr__(self) -> str:
        return f"Telling({CANARY})"


class Locked(Shifted):
    """Stays locked when a call is cancelled."""

    def __init__(self) -> None:
        self.locked = False

    async def encode_value(self, value: Any, about: ValueAbout, /) -> Any:
        if about.run_id != "conformance":
            return await super().encode_value(value, about)
        if self.locked:
            return None
        self.locked = True
        found = await super().encode_value(value, about)
        self.locked = False
        return found


@pytest.mark.parametrize(
    ("codec", "check", "wrong"),
    [
        (Unordered, "round_trip", "of kind 'context' does not come back as it was, or in another order"),
        (Private, "other_process", "another one does not read"),
        (Once, "own_output", "what it has made itself does not come back"),
        (Hasty, "at_once", "disturb each other"),
        (Open, "secrets", "holds a text that was to be hidden"),
        (Forgetful, "names", "another handle has another digest"),
        (Loud, "silent", "a message holds a text"),
        (Raising, "silent", "raises KeyError, and no 'CodecError'"),
        (Telling, "silent", "its 'repr' holds a text"),
        (Locked, "cancelled", "after a call that was cancelled"),
    ],
)
def test_a_bad_codec_is_refused_by_one_check(codec: Callable[[], Any], check: str, wrong: str) -> None:
    with pytest.raises(AssertionError) as caught:
        asyncio.run(assert_value_codec_conforms(codec, secrets=SECRETS))
    first, *found = str(caught.value).split("\n")
    assert first == "the value codec does not conform:"
    assert [one.partition(":")[0] for one in found] == [f"- {check}"]
    assert wrong in found[0]


def test_a_codec_that_hangs_or_raises_is_a_finding() -> None:
    class Hanging(Shifted):
        async def encode_value(self, value: Any, about: ValueAbout, /) -> Any:
            await asyncio.sleep(60)

    class Broken(Shifted):
        async def encode_value(self, value: Any, about: ValueAbout, /) -> Any:
            raise ValueError

    with pytest.raises(AssertionError, match="round_trip: it was not done after 0 s"):
        asyncio.run(assert_value_codec_conforms(Hanging, only=["round_trip"], patience=0.01))
    with pytest.raises(AssertionError, match="round_trip: it raised ValueError"):
        asyncio.run(assert_value_codec_conforms(Broken, only=["round_trip"]))
