"""Secrets: keys, tokens and passwords of programs, by the forms that their issuers give them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from flujo_deidentifier.span import Span

_ISSUED = re.compile(
    r"(?P<openai>sk-(?:proj-|ant-|svcacct-)?[A-Za-z0-9_-]{20,})|(?P<aws>(?:AKIA|ASIA)[0-9A-Z]{16})"
    r"|(?P<github>gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,})|(?P<slack>xox[abprs]-[A-Za-z0-9-]{10,})"
    r"|(?P<google>AIza[0-9A-Za-z_-]{35})|(?P<stripe>[rs]k_(?:live|test)_[0-9A-Za-z]{16,})"
    r"|(?P<gitlab>glpat-[\w-]{20,})"
    r"|(?P<npm>npm_[A-Za-z0-9]{36})|(?P<pypi>pypi-[A-Za-z0-9_-]{40,})"
    r"|(?P<jwt>(?<![\w-])eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,})"
    r"|(?P<pem>-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----[\s\S]{20,}?-----END (?:[A-Z]+ )*PRIVATE KEY-----)"
)
_SAID = re.compile(
    r"(?i:(?<![a-z])(?:password|passwd|pwd|passphrase|secret|api[_ -]?key|access[_ -]?key|auth[_ -]?token"
    r"|bearer|client[_ -]?secret))"
    r"[\"']?\s*(?:[:=]|\bis\b)\s*[\"']?([^\s\"',;]{6,})"
)
_WITH_LINES = ("gh", "k_live_", "k_test_", "npm_")
_IN_URL = re.compile(r"://[^\s:/@]+:([^\s:/@]+)@")


def secrets(text: str, lower: str) -> Iterator[Span]:
    """The keys, tokens and passwords in a text, which is given in lower case, too."""
    if _may_hold_key(text):
        for match in _ISSUED.finditer(text):
            yield Span(match.start(), match.end(), "SECRET", 0.98, "patterns", f"secret-{match.lastgroup}")
    if _may_say(lower):
        for match in _SAID.finditer(text):
            yield Span(match.start(1), match.end(1), "SECRET", 0.8, "patterns", "secret-words")
    if "://" in text:
        for match in _IN_URL.finditer(text):
            yield Span(match.start(1), match.end(1), "SECRET", 0.95, "patterns", "secret-url")


def _may_hold_key(text: str) -> bool:
    """Whether a text has the beginning of any key; to look for words is cheaper than to look for keys."""
    return (
        ("_" in text and any(map(text.__contains__, _WITH_LINES)))
        or ("-" in text and ("sk-" in text or "xox" in text or "glpat-" in text or "pypi-" in text))
        or ("A" in text and ("AKIA" in text or "ASIA" in text or "AIza" in text or "PRIVATE KEY" in text))
        or "eyJ" in text
    )


def _may_say(lower: str) -> bool:
    return (
        "passw" in lower or "pwd" in lower or "passphrase" in lower or "secret" in lower or "key" in lower
        or "token" in lower or "bearer" in lower
    )  # fmt: skip
