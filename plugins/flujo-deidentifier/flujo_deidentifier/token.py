"""Token: the short placeholder that stands for a value, ``[PERSON-k3v7x2m5q4ab]``."""

from __future__ import annotations

import hmac
import re
from base64 import b32encode
from collections.abc import Iterator
from hashlib import sha256
from typing import Final, NamedTuple

ID_LENGTH: Final = 12
"""Characters of the keyed part, 5 bits each."""

KIND_LENGTH: Final = 16
"""The most characters of the kind."""

EXACT: Final = re.compile(rf"\[([A-Z]{{2,{KIND_LENGTH}}})-([a-z2-7]{{{ID_LENGTH}}})\]")
"""A placeholder as it is written; what is kept is read by it, as nobody has changed that."""


class Token(NamedTuple):
    """What looks like a placeholder in a text; whether it is one, the vault knows.

    Attributes:
        start: Where it begins.
        end: Where it ends, exclusive.
        kind: What kind of value it stands for, in upper case.
        id: Its keyed part, in lower case.
    """

    start: int
    end: int
    kind: str
    id: str


def kind_of(label: str) -> str:
    """The kind that a token of a label has: its letters, in upper case."""
    kind = re.sub(r"[^A-Z]", "", label.upper())[:KIND_LENGTH]
    return kind if len(kind) > 1 else "VALUE"


def token_text(kind: str, token_id: str) -> str:
    """The placeholder as it is written."""
    return f"[{kind}-{token_id}]"


def tokens_in(text: str) -> Iterator[Token]:
    """What is written as a placeholder is, from left to right."""
    for match in EXACT.finditer(text):
        yield Token(match.start(), match.end(), match[1], match[2])


def token_id(key: bytes, *parts: str) -> str:
    """The keyed part of a placeholder: a MAC over whose it is and what it stands for.

    Args:
        key: The key.
        parts: Tenant, session, kind and value.
    """
    said = b"".join(b"%d:%b" % (len(data), data) for data in (part.encode("utf-8", "surrogatepass") for part in parts))
    return b32encode(hmac.digest(key, said, sha256))[:ID_LENGTH].decode().lower()
