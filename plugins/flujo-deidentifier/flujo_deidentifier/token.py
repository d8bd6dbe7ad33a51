"""Token: the short placeholder that stands for a value, ``[PERSON-k3v7x2m5q4ab]``, and how one is known again."""

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

LONGEST: Final = 2 * 9 + KIND_LENGTH + ID_LENGTH + 9
"""The most characters that a placeholder has in any of the forms in which it is known again."""

_OPEN: Final = r"(?:\[|\\u005b|&#91;|&#x5b;|&lsqb;|&lbrack;|%5b)"
_CLOSE: Final = r"(?:\]|\\u005d|&#93;|&#x5d;|&rsqb;|&rbrack;|%5d)"
_JOINT: Final = r"(?:\\{1,2}_|_|-|\u2010|\u2011|\u2013|\\u005f|&#95;|&#x5f;|%5f)"
_BODY: Final = rf"([A-Z]{{2,{KIND_LENGTH}}}){_JOINT}([A-Z2-7]{{{ID_LENGTH}}})"
TOKEN: Final = re.compile(
    rf"\\{{1,2}}\[[ ]?{_BODY}[ ]?\\{{1,2}}\]|{_OPEN}[ ]?{_BODY}[ ]?{_CLOSE}|(?<![A-Z0-9]){_BODY}(?![A-Z0-9])",
    re.IGNORECASE | re.ASCII,
)
"""A placeholder, also as models change it: another case, escaped for Markdown, HTML, JSON or URLs, without brackets."""

EXACT: Final = re.compile(rf"\[([A-Z]{{2,{KIND_LENGTH}}})-([a-z2-7]{{{ID_LENGTH}}})\]")
"""A placeholder as it is written; what is kept is read by it, as nobody has changed that."""


class Token(NamedTuple):
    """What looks like a placeholder in a text; whether it is one, the vault knows.

    Attributes:
        start: Where it begins.
        end: Where it ends, exclusive.
        kind: What kind of value it says it stands for, in upper case.
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


def tokens_in(text: str, *, exact: bool = False) -> Iterator[Token]:
    """What looks like a placeholder, from left to right.

    Args:
        text: The text.
        exact: Whether only what is written as we write it counts.
    """
    for match in (EXACT if exact else TOKEN).finditer(text):
        kind, made = (one for one in match.groups() if one is not None)
        yield Token(match.start(), match.end(), kind.upper(), made.lower())


def token_id(key: bytes, *parts: str) -> str:
    """The keyed part of a placeholder: a MAC over whose it is and what it stands for.

    Args:
        key: The key.
        parts: Tenant, session, kind and value.
    """
    said = b"".join(b"%d:%b" % (len(data), data) for data in (part.encode("utf-8", "surrogatepass") for part in parts))
    return b32encode(hmac.digest(key, said, sha256))[:ID_LENGTH].decode().lower()
