"""Codes: what a model takes for an address or a number and is a clinical code, a value of a laboratory, or a device."""

from __future__ import annotations

import re
from typing import Final

from flujo_deidentifier.span import Span

_SYSTEM: Final = (
    r"(?:(?i:icd(?:-?o)?(?:[ -]?(?:9|10|11))?(?:-?(?:cm|pcs))?|cpt|hcpcs|loinc|rxnorm|rxcui|snomed(?:[ -]?ct)?|ndc"
    r"|(?:ms-)?drg|atc|mesh|omim|umls|cdt|dsm(?:-(?:iv|v|5))?)(?![a-z]))"
)
_CODE: Final = r"[A-Z]{0,3}\d[\dA-Z]*(?:[.-]\d?[\dA-Z]*){0,3}"
_CODED = re.compile(rf"{_SYSTEM}?[\s:#=]*(?i:codes?)?[\s:#=]*(?:{_CODE})?(?:\s*[,;/&]\s*{_CODE})*[\s,;.:]*")
_SYSTEM_BEFORE = re.compile(
    rf"(?<![\w-]){_SYSTEM}[\s:#=]*(?i:codes?)?(?i:\s+(?:is|was|of))?[\s:#=(]*(?:{_CODE}\s*[,;/&]\s*)*$"
)
_MEASURE = re.compile(
    r"(?<![A-Za-z])(?i:wbc|rbc|hgb|hb|hct|plt|platelets?|na\+?|k\+?|cl|co2|bun|cr|creat(?:inine)?|glu(?:cose)?|mg|phos"
    r"|ast|alt|alp|ggt|inr|ptt|tsh|ldl|hdl|bp|hr|rr|temp|spo2|o2|sats?|a1c|hba1c|crp|esr|trop(?:onin)?|bnp|ph|pa?co2"
    r"|pa?o2|hco3|lactate|albumin|ferritin|psa|egfr|gfr|bmi|wt|ht|gcs|t\.? ?bili|uop|ef|fio2"
    r"|fev1|fvc|dlco|cea|afp|ca\s?19-9|ca\s?125|lipase|amylase|cvp|pcwp|svr|mmse|moca|meld|q?sofa|nihss|has-bled|vasc|phq-?9|gad-?7|rass|apgars?|score)"
    r"\s*(?:[:=]|(?i:of|is|was)\s)?\s*[<>~]?\d{1,4}(?![\d-])"
)
_NEAR: Final = 14
_DIGIT = re.compile("[0-9]")
_UNIT: Final = (
    r"(?:m?c?g|kg|lbs?|oz|[mdµu]?l|cc|m?m|cm|km|mmhg|bpm|m?eq|mmol|[mk]?iu|units?|u|%|kcal|hours?|hrs?|days?|weeks?|months?"
    r"|kilomet(?:er|re)s?|miles?|times|tablets?|tabs?|caps?|puffs?|drops?|sprays?)(?:/[a-zA-Z0-9]+)?"
)
_AMOUNT = re.compile(
    rf"(?:-\s?)?\d{{1,3}}\s?[MF]|\d{{0,3}}[.,]\d{{1,3}}|\d{{1,3}}\s?[/=]\s?\d{{1,3}}|\d{{2,3}}-\d{{2,3}}"
    rf"|[\d.,]+\s?(?i:{_UNIT})|0\d00|501(?:\(c\)\(?3)?|\d=\d.*|\d-\d(?:, \d-\d)*|\d[A-D]"
)
_STAGE = re.compile(
    r"G\dP\d\S*|[pc]?T\d[a-d]?(?:N\d[a-c]?)?(?:M\d)?|(?:[A-Z][A-Z0-9]{1,6}[ -])?[A-Z]\d{2,4}[A-Z]|HLA-[A-Z]{1,3}\d+"
    r"|(?:[EVM]\d\s?){2,3}"
)
_UNIT_NEXT = re.compile(rf"(?i:\s?{_UNIT}|/\d+)(?!\w)")
_DEVICES: Final = frozenset(
    ("allen", "cooper", "foley", "glasgow", "kelly", "kocher", "mallory", "murphy", "swan", "weiss", "wilson")
)
_USED = re.compile(
    r"['\u2019]?s?(?:[- ](?:\w+\s){0,2}?(?i:catheter|bag|balloon|clamps?|forceps|incision|tear|sign|test|coma|scale"
    r"|score|drip|line|tube|placed|removed|inserted|draining|drained|in\s+situ|in\s+place|exchanged?|discontinued|d/c)\b)"
)
_OF_CODES: Final = frozenset(("model", "long-number", "id-form"))
_CLOCK: Final = 4
_LABELS: Final = ("ADDRESS", "ID", "LOCATION", "PERSON", "PHONE")


def is_code(text: str, span: Span) -> bool:
    """Whether what a model has found is the code of a disease, a procedure, a test or a drug."""
    if span.rule not in _OF_CODES or span.label not in _LABELS:
        return False
    found = text[span.start : span.end]
    if _CODED.fullmatch(found) is None:
        return False
    return re.match(_SYSTEM, found) is not None or _is_of_system(text, span)


def is_measure(text: str, span: Span) -> bool:
    """Whether what a model has found is values of a laboratory, or vital signs: ``Hgb 13.4, Na 138``."""
    if _DIGIT.search(text, span.start, span.end + _NEAR) is None:
        return False
    if _MEASURE.match(text, span.start) is not None:
        return True
    if span.rule != "model" or span.label not in _LABELS:
        return False
    return _MEASURE.search(text, max(0, span.start - _NEAR), span.end) is not None


def is_amount(text: str, span: Span) -> bool:
    """Whether what a model has taken for an address is an amount, a dose, a stage, or an age with a sex."""
    if span.rule != "model" or span.label not in ("ADDRESS", "ID"):
        return False
    found = text[span.start : span.end]
    if span.label == "ADDRESS" and found[-1].isdigit() and found[:1].islower() and _UNIT_NEXT.match(text, span.end):
        return True
    parts = found.split(", ")
    return all(_AMOUNT.fullmatch(part) or _STAGE.fullmatch(part) for part in parts) and (
        not found.isdigit() or len(found) == _CLOCK
    )


def is_device(text: str, span: Span, words: list[str]) -> bool:
    """Whether a name, of these words, is of a device, a sign or a scale, as what follows says: ``Foley catheter``."""
    return (
        not _DEVICES.isdisjoint(words)
        and len(words) <= 3
        and (_USED.match(text, span.end) is not None or _USED.search(text[span.start : span.end]) is not None)
    )


def _is_of_system(text: str, span: Span) -> bool:
    return _SYSTEM_BEFORE.search(text[max(0, span.start - 40) : span.start]) is not None
