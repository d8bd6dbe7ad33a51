"""Value codecs of the tests: one that puts tokens in the place of what it recognises, and one that only turns."""

from __future__ import annotations

import asyncio
import hmac
import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from pydantic_core import from_json, to_json

from flujo_core import ValueAbout
from flujo_core.errors import KeyLost

CANARY = "kanarienvogel"
TOKEN = re.compile(r"<vault:[0-9a-f]{16}>")


class Turned:
    """Keeps the text of a value, backwards; it may be out of order.

    Attributes:
        fails_in: How many writes it takes until it fails, and all that come after; 0: it does not.
    """

    name = "turned"

    def __init__(self) -> None:
        self.fails_in = 0

    @property
    def has_failed(self) -> bool:
        return self.fails_in < 0

    async def encode_value(self, value: Any, about: ValueAbout, /) -> Any:
        await asyncio.sleep(0)
        if self.fails_in == 1:
            self.fails_in = -1
        if self.has_failed:
            raise OSError
        self.fails_in -= self.fails_in > 0
        return to_json(value).decode()[::-1]

    async def decode_value(self, value: Any, about: ValueAbout, /) -> Any:
        await asyncio.sleep(0)
        return from_json(value[::-1])


class Vault:
    """Recognises canaries in texts and keys; its vault is a file of its own, which other processes may open too.

    Args:
        path: The file.
    """

    name = "vault"

    def __init__(self, path: Path, pattern: str = rf"{CANARY}[-\w ]*") -> None:
        self._path = path
        self._pattern = re.compile(f"{TOKEN.pattern}|{pattern}")  # a text that looks like a token gets one too
        self.told: list[tuple[str, ValueAbout]] = []
        with closing(self._open()) as file, file:
            file.execute("create table if not exists kept (token text primary key, text text unique)")
            file.execute("insert or ignore into kept values ('key', ?)", (os.urandom(32).hex(),))

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path)

    def key_id(self) -> str:
        return "vault-1"

    def mac(self, key_id: str, data: bytes, /) -> bytes:
        return hmac.digest(self._text("key").encode(), data, "sha256")

    async def encode_value(self, value: Any, about: ValueAbout, /) -> Any:
        self.told.append(("encode", about))
        return replaced(value, lambda text: self._pattern.sub(lambda found: self._token(found[0]), text))

    async def decode_value(self, value: Any, about: ValueAbout, /) -> Any:
        self.told.append(("decode", about))
        return replaced(value, lambda text: TOKEN.sub(lambda found: self._text(found[0]), text))

    def _token(self, text: str) -> str:
        with closing(self._open()) as file, file:
            file.execute("insert or ignore into kept values (?, ?)", (f"<vault:{os.urandom(8).hex()}>", text))
            (token,) = file.execute("select token from kept where text = ?", (text,)).fetchone()
        return str(token)

    def _text(self, token: str) -> str:
        with closing(self._open()) as file:
            found = file.execute("select text from kept where token = ?", (token,)).fetchone()
        if found is None:
            raise KeyLost("the vault has no such token")
        return str(found[0])


def replaced(value: Any, change: Callable[[str], str]) -> Any:
    """A value with each text in it changed, those too that are keys."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [replaced(one, change) for one in value]
    if isinstance(value, dict):
        return {change(key): replaced(one, change) for key, one in value.items()}
    return value
