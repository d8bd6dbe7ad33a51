"""Identifiers: record, account, licence and device numbers, by the words before them, or by their form alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from flujo_deidentifier.span import Span

_KINDS = (
    r"MRNs?|medical\s+records?|records?|charts?|account|acct|policy|plan|member(?:ship)?|beneficiary|claims?|certificate"
    r"|licen[cs]e|plates?|registration|VIN|serial|device|implant|NPI|DEA|passport|ID|identifier|ident|insurance|ins"
    r"|ref(?:erence|d)?|case|file|invoice|order|tracking|badge|employee|student|patient|pt|subject|study|template|code|routing"
    r"|prescription|rx|ticket|confirmation|customer|contract|tax|driver'?s?|health|HMO|PPO|medicare|medicaid|specimen|accession"
    r"|encounter|visit|admission|UHID|SSN|EIN|TIN|ABA|swift|application|docket|enrol?lment|group|subscriber|unit|lot|batch"
)
_WORDS_BEFORE = re.compile(
    rf"(?:(?<![A-Za-z])(?i:{_KINDS})(?:[\s_-]*(?i:number|numbers|nr|no|nos|num|id|ids|code|plan|policy|record|card|is|was|on\s+file"
    r"|shows?))*[\s.:#=|\"'(\[*_-]*)$"
)
_TOKEN = re.compile(r"[A-Za-z0-9#(](?<![\w/.-].)[\w-]*[0-9][\w/#()-]*(?:\.[0-9][\w-]*)*")
# Forms that say by themselves what they are: letters and many digits, or digits in unusual groups.
_FORM = re.compile(
    r"#?[A-Z]{1,5}[- ]?\d{4,}[A-Z]?|#?[A-Z]{2,5}-\d{2,}(?:-[A-Z0-9]+)*|\d{3,}[A-Z]{1,3}\d*|#\d{4,}|[A-Z]{1,4}\d{5,}[A-Z]{0,2}"
    r"|\d[A-Z][A-Z0-9]\d-?[A-Z][A-Z0-9]\d-?[A-Z]{2}\d\d|[A-Z]{1,3}\d{3,}-\d{3,}(?:-\d+)*|\d{2,4}-[A-Z]{2}-\d{3,}|\d{5,}-[A-Z]{1,4}"
    r"|\(\d\d\)\d{5,}\(\d\d\)\w{4,}|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|\d\d-\d\d-\d\d|\d{1,4}-\d{4,8}|\d{4,8}-\d{3,8}(?:-\d+)*"
)
_PLATE = re.compile(r"(?i:(?<![a-z])(?:plates?|tags?|registration|vehicle|car|truck|van|ambulance|motorcycle)(?:\s+(?:number|no\.?|is))?[\s:#]*)([A-Z0-9]{1,4}[ -][A-Z0-9]{2,4})(?!\w)")
_HARMLESS = re.compile(
    r"(?i:covid-?\d+|sars-cov-\d|h\d+n\d+|cha2?ds2?\S*|hba1c|spo2|t\dn\d\S*|\d+(?:st|nd|rd|th)|[a-z]{1,4}\d{1,2}|\d+(?:\.\d+)?"
    r"(?:mg|mcg|g|kg|ml|dl|l|mm|cm|m|km|mmhg|bpm|hz|iu|u|kb|mb|gb|k|x|pm|am|h|hr|hrs|min|s|d|w|y|yo|yr|yrs)(?:/\S*)?)"
)
_LONG: Final = 7


def identifiers(text: str) -> Iterator[Span]:
    """The tokens of a text that have digits and are somebody's number."""
    for plate in _PLATE.finditer(text):
        yield Span(plate.start(1), plate.end(1), "ID", 0.85, "patterns", "plate")
    for match in _TOKEN.finditer(text):
        start, token = match.start(), match[0].rstrip("-/(#")
        if token[0] == "(" and not token.startswith("(01)"):
            start, token = start + 1, token[1:]
        if token.count("(") < token.count(")"):
            token = token.rstrip(")")
        found = _judged(text, start, token)
        if found is not None:
            yield Span(start, start + len(token), "ID", found[0], "patterns", found[1])


def _judged(text: str, at: int, token: str) -> tuple[float, str] | None:
    digits = sum("0" <= one <= "9" for one in token)
    if _HARMLESS.fullmatch(token):
        return None
    if digits > 1 and _WORDS_BEFORE.search(text[max(0, at - 40) : at]):
        return (0.85 if digits > 2 else 0.5), "id-words"
    if token.isdigit():
        return (0.6, "long-number") if digits >= _LONG else None
    return (0.65, "id-form") if _FORM.fullmatch(token) else None
