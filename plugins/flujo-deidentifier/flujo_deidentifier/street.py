"""Street: how the lines of postal addresses are written."""

from __future__ import annotations

from typing import Final

from flujo_deidentifier.lexicon import entries

_KINDS = "|".join(f"{one.capitalize()}s?" for one in sorted(entries("streets"), key=lambda one: (-len(one), one)))
_SUFFIX = rf"(?:{_KINDS})(?!\w)\.?"
_ALWAYS = (
    r"(?i:street|avenue|ave|road|rd|boulevard|blvd|lane|drive|highway|parkway|trafficway|expressway|turnpike|terrace"
    r"|court|way|place)(?!\w)"
)
UNIT: Final = (
    r"(?:[aAsSuUfFrRbB#](?<!\w.)(?i:(?<=a)p(?:t|artment)|(?<=s)(?:uite|te|tudio)|(?<=u)nit|(?<=f)l(?:at|oor)"
    r"|(?<=r)(?:oom|m)|(?<=b)ldg|(?<=#))"
    r"\.?\s*#?\s*[A-Z]?-?\d[\w-]{0,5})"
)
_WORD = r"[^\W\d_a-z][\w'.-]*"
STREET: Final = (
    rf"\d{{1,6}}[A-Za-z]?(?:[-/]\d{{1,4}})?,?\s+(?:{_WORD}\s+){{1,4}}?{_SUFFIX}(?:\s*,?\s*{UNIT})?"
    rf"|\d{{2,6}}\s+(?:[^\W\d_][\w'.-]*\s+){{1,3}}?{_ALWAYS}(?:\s*,?\s*{UNIT})?"
)
"""A number, some words, and the word for a kind of street."""
