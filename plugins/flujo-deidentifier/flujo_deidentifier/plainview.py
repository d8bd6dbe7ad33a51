"""Plain view: a text as it reads once its escapes are undone, and where each character of it was."""

from __future__ import annotations

import html
import re
from bisect import bisect_left
from typing import Final

LONGEST_ESCAPE: Final = 24
"""The most characters that an escape has which is undone."""

_NEXT: Final = "(?:%(?:25){0,2}[89ab][0-9a-f])"
_ESCAPE: Final = re.compile(
    r"\\{1,8}(?:u(?P<unicode>[0-9a-f]{4})|(?P<blank>[nrt])|(?P<mark>[\[\]{}<>()\-_*`~:#.,'\"/@+]))"
    r"|&(?:amp;){0,2}(?P<entity>\#[0-9]{1,5}|\#x[0-9a-f]{1,4}|[a-z]{2,7});"
    rf"|(?P<octets>%(?:25){{0,2}}(?:[cd][0-9a-f]{_NEXT}|e[0-9a-f]{_NEXT}{{2}}))"
    r"|%(?:25){0,2}(?P<percent>[2-7][0-9a-f]|0[9ad])"
    r"|(?P<other>[\u00a0\u00ad\u2000-\u200d\u202f\u2060\u3000\ufeff\uff01-\uff5e])",
    re.IGNORECASE,
)
_OCTET: Final = re.compile(r"%(?:25){0,2}([89a-f][0-9a-f])", re.IGNORECASE)
_UNSEEN: Final = re.compile(r"[\u00ad\u200b-\u200d\u2060\ufeff]")
_SPACE: Final = re.compile(r"[\u00a0\u2000-\u200a\u202f\u3000]")
_BLANKS: Final = {"n": "\n", "r": "\r", "t": "\t"}
_ESCAPED: Final = re.compile("[\\\\&%\u00a0\u00ad\u2000-\u200d\u202f\u2060\u3000\ufeff\uff01-\uff5e]")


class PlainView:
    """A text without the escapes of JSON, Markdown, HTML and URLs, wide letters, and what nobody sees.

    Args:
        original: The text.

    Attributes:
        original: The text.
        text: How it reads.
    """

    def __init__(self, original: str) -> None:
        self.original = original
        self.text = original
        self._starts: list[int] | None = None
        if _ESCAPED.search(original) is not None:
            self._undo()

    def start(self, at: int) -> int:
        """Where in the original a character of the view begins; the end of the view is that of the original."""
        return at if self._starts is None else self._starts[at]

    def at(self, start: int) -> int:
        """The first character of the view that begins at or after a place in the original."""
        return start if self._starts is None else bisect_left(self._starts, start)

    def _undo(self) -> None:
        shown: list[str] = []
        starts: list[int] = []
        at = 0
        for match in _ESCAPE.finditer(self.original):
            if (meant := _meant(match)) is None:
                continue
            shown.append(self.original[at : match.start()])
            starts.extend(range(at, match.start()))
            shown.append(meant)
            starts.extend([match.start()] * len(meant))
            at = match.end()
        shown.append(self.original[at:])
        starts.extend(range(at, len(self.original) + 1))
        self.text, self._starts = "".join(shown), starts


def _meant(match: re.Match[str]) -> str | None:
    """What an escape stands for; "" for what nobody sees, None where it is no escape."""
    said = match[match.lastgroup or 0]
    match match.lastgroup:
        case "unicode" | "percent":
            return _shown(chr(int(said, 16)))
        case "octets":
            return _of_octets(said)
        case "entity":
            meant = html.unescape(f"&{said};")
            return _shown(meant) if len(meant) == 1 else None
        case "mark":
            return said
        case "blank":
            return _BLANKS.get(said)
    return _shown(said)


def _of_octets(said: str) -> str | None:
    try:
        meant = bytes.fromhex("".join(_OCTET.findall(said))).decode()
    except UnicodeDecodeError:
        return None
    return _shown(meant) if len(meant) == 1 else None


def _shown(one: str) -> str:
    """A character as it reads."""
    if _UNSEEN.match(one) is not None:
        return ""
    if _SPACE.match(one) is not None:
        return " "
    return chr(ord(one) - 0xFEE0) if "\uff01" <= one <= "\uff5e" else one
