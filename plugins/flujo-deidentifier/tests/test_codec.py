"""The codec passes the suite of value codecs, and what it keeps is erased by subject."""

import asyncio
from pathlib import Path

from flujo_deidentifier import Deidentifier, DeidentifyingCodec, Profile, SqliteVaultStore

from flujo_core import ValueAbout
from flujo_core.testing.value_codecs import assert_value_codec_conforms


def codec(path: Path) -> DeidentifyingCodec:
    vault = SqliteVaultStore(path / "vault.db")
    return DeidentifyingCodec(Deidentifier(Profile("all"), key=b"k" * 32, vault=vault, detectors=["patterns", "lists"]))


def test_it_conforms(tmp_path: Path) -> None:
    asyncio.run(assert_value_codec_conforms(lambda: codec(tmp_path), secrets=["536-22-8726", "ann@example.org"]))


def test_long_numbers_and_tokens_come_back(tmp_path: Path) -> None:
    about, made = ValueAbout("run", None, "", "", "input"), codec(tmp_path)
    value = {"n": 4111111111111111, "t": "[PERSON-abcdefghijkl] [TOKEN-abcdefghijkl]", "f": 0.1, "b": [True, None]}
    kept = asyncio.run(made.encode_value(value, about))
    assert "4111111111111111" not in str(kept)
    again = asyncio.run(made.encode_value(kept, about))
    assert asyncio.run(made.decode_value(again, about)) == kept
    assert asyncio.run(made.decode_value(kept, about)) == value
