"""Numbers: what a number in a text is, by its form, by its checksum, and by the words before it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from flujo_deidentifier.checksum import digits_of, is_address, is_card, is_ssn
from flujo_deidentifier.identifier import identifier
from flujo_deidentifier.span import Span
from flujo_deidentifier.street import STREET

NAME: Final = "patterns"
MONTH: Final = (
    r"(?i:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)(?![^\W\d_])\.?"
)
_EXTENSION = r"\s*(?:[xX]|[eE]xt\.?|extension)\s*\d{1,6}"
_UNTIL = r"(?![\w]|[-/]\d)"
# The alternatives stand in the order in which they are tried; each begins with a digit.
_FORM = re.compile(
    "|".join(
        (
            r"(?P<iso>(?:18|19|20)\d\d(?P<a>[-/.])(?:0?[1-9]|1[0-2])(?P=a)(?:0?[1-9]|[12]\d|3[01])"
            r"(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?(?!\d))",
            r"(?P<ip>\d{1,3}(?:\.\d{1,3}){3}(?!\.?\d))",
            r"(?P<date>\d{1,2}\s?(?P<b>[-/.])\s?\d{1,2}\s?(?P=b)\s?(?:\d{4}|\d{2})(?![\w]|[-/.]\d))",
            rf"(?P<monthly>(?:\d{{1,2}}\s?[-/]\s?)?\d{{1,2}}(?:st|nd|rd"
            rf"|th)?(?:\s+(?:day\s+)?of)?[\s/-]*{MONTH}(?:[\s,/-]*(?:of\s+)?(?:\d{{4}}|'\d\d)(?!\d))?)",
            rf"(?P<ssn>\d{{3}}(?P<c>[- .])\d{{2}}(?P=c)\d{{4}}{_UNTIL})",
            rf"(?P<spaced>\d\s\d\s\d\s-\s\d\s\d\s-\s\d\s\d\s\d\s\d{_UNTIL})",
            r"(?P<card>(?:\d{4}[- ]\d{4}[- ]\d{4}[- ]\d{1,7}|\d{4}[- ]\d{6}[- ]\d{4,5}|\d{12,19})" + _UNTIL + ")",
            rf"(?P<phone>(?:(?:00)?1[-. ])?\(?\d{{3}}\)?[-. ]?\s?\d{{3}}[-. ]\d{{4}}(?:{_EXTENSION})?{_UNTIL})",
            rf"(?P<local>\d{{3}}[-. ]?\d{{4}}{_EXTENSION})",
            r"(?P<zip>\d{5}-\d{4}" + _UNTIL + ")",
            r"(?P<day>(?:0[1-9]|1[0-2])/(?:0[1-9]|[12]\d|3[01])(?![\w/]|[.-]\d))",
            r"(?P<month>(?:0?[1-9]|1[0-2])/(?:19|20)\d\d(?![\w/]|[.-]\d))",
            r"(?P<short>(?:[1-9]|1[0-2])/(?:[12]\d|3[01]|0?[1-9])(?![\w/%]|[.-]\d| of ))",
            r"(?P<case>\d{3,6}/\d\d(?![\w/]))",
            rf"(?P<street>{STREET})",
            r"(?P<year>(?:1[6-9]|20)\d\d(?:[-/](?:\d{4}|\d\d))?(?:'?s)?(?![\w]|[.,/-]?\d|-[a-z]))",
        )
    )
)
_MONTH_BEFORE = re.compile(rf"(?<![^\W\d_]){MONTH}[\s,/-]{{1,3}}(?:the\s+)?'?$")
_AFTER_MONTH = re.compile(
    r"\d{1,2}(?:st|nd|rd|th)?(?![\w%]|\.\d)(?:\s?-\s?\d{1,2}(?![\w%]))?(?:[\s,/-]+(?:of\s+)?(?:at\s+)?(?:\d{4}|'\d\d)(?!\d))?|\d{4}(?!\d)"
    r"|'?\d\d(?!\d)"
)
_WEEKDAY_BEFORE = re.compile(r"(?i:(?<![a-z])(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?)\.?,?\s+$")
_ABROAD = re.compile(rf"\d{{1,3}}[ .()/-]*\d(?:[ .()/-]{{0,3}}\d){{5,13}}(?:{_EXTENSION})?(?!\d)")
_GROUPS = re.compile(rf"\d{{1,7}}\)?(?:[ .()/-]{{1,3}}\d{{1,5}}){{1,6}}(?:{_EXTENSION})?(?!\d)|\d{{7,15}}(?!\d)")
_PHONE_BEFORE = re.compile(
    r"(?i:(?<![a-z])(?:phones?|tel(?:ephone)?|fax|mobile|cell(?:ular|phone)?|call(?:ed|ing|back)?|text|sms"
    r"|contact|dial|reach\w*"
    r"|toll-?free|whatsapp|pager|hotline|direct|office|line|ph|mob|landline|home|work)(?:\s+(?:number|no|num))?"
    r"(?:\s+(?:him|her|me|us|them|is|was|at|on|from|to|or|by))*[\s.:#=|\"']*[(+]?$)"
)
_PHONE_AFTER = re.compile(r"\s{0,2}\(?(?i:office|fax|mobile|cell|home|work|tel|phone|direct|\(?[ofmhwc]\))")
_STATE_BEFORE = re.compile(r"(?:(?<![A-Z])[A-Z]{2}|(?i:zip(?:\s*code)?|post(?:al)?\s*code)(?:\s+(?:is|was))?)[\s.:,]*$")
_SSN_BEFORE = re.compile(
    r"(?i:ssn|social(?:\s+security)?(?:\s+(?:number|no\.?))?|itin|tin|tax\s+id)(?:\s+(?i:is|on file))?[\s:#=\"']*$"
)
_CARD_BEFORE = re.compile(r"(?i:card|cc|visa|mastercard|amex|credit)(?:\s+(?i:number|no\.?|is|#))*[\s:#=\"']*$")
_DATE_BEFORE = re.compile(
    r"(?i:(?<![a-z])(?:dob|d\.o\.b\.?|born|birth\s?date|birthday|date(?:\s+of\s+\w+)?|on|since|from|until|to"
    r"|dated|visit|seen|by))"
    r"[\s:(\"']*$"
)
_DAY_BEFORE = re.compile(
    r"(?i:(?<![a-z])(?:on|since|until|till|dated?|dos|visit|seen|by|notes?|due|starting|effective|interrogated|through|thru"
    r"|appt|as of|admitted|discharged|adm|d/c)\s*:?\s+)$"
)
_EXPIRES_BEFORE = re.compile(
    r"(?i:\b(?:exp(?:\.|ires|iry|iration)?|valid (?:thru|until))(?:\s+date)?(?:\s+is)?)[\s:]*$"
)
_SEASON_BEFORE = re.compile(
    r"(?i:(?<![a-z])(?:(?:early|late|mid)[ -])?(?:spring|summer|fall|autumn|winter)(?:\s+of)?)\s$"
)
_EXPIRES = re.compile(r"(?:0[1-9]|1[0-2])/(?:\d\d|20\d\d)(?![\w/])")
_LAST_BEFORE = re.compile(
    r"(?i:\bend(?:ing|s)(?:\s+(?:in|with))?|\blast\s+(?:four|4)(?:\s+digits)?(?:\s+(?:of|are))?)[\s:#]*$"
)
_INSURED = re.compile(r"\d\d ?\d\d ?\d\d ?[A-D](?!\w)")
_INSURED_BEFORE = re.compile(r"(?<!\w)[A-Z]{2} ?$")
_FOREIGN = re.compile(r"0\d(?:[ .]\d\d){4}(?!\d)|[679]\d\d(?: \d\d){3}(?!\d)|0\d{1,2}-\d{3}(?: \d\d){2}(?!\d)")
_NO_DAY_BEFORE = re.compile(
    r"(?i:(?:bp|apgar|score[ds]?|vision|va|ratio|stage|grade|rated|pressure)(?:\s+(?:of|is|was))?)[\s:]*$"
)
_NO_BEFORE = re.compile(r"(?i:\bnos?\.?|\bnumbers?|and|application|ref\.?)\s*:?\s+([A-Z]{1,3}\s)?$")
_AGE = re.compile(
    r"(1[0-4]\d|\d{1,2})(?:\s?-?\s?(?i:year|yr)s?\.?(?:\s?-?\s?old)?|\s?(?i:y/?o|yo)\b|(?=\s(?:female|male|man"
    r"|woman|F|M)\b))"
)
_AGE_BEFORE = re.compile(r"(?i:\b(?:aged?|turned|turning|turns)(?:\s+(?:is|was|of|over))?[\s:=\"']*)$")

Found = tuple[int, int, str, float, str]


def numbers(text: str) -> Iterator[Span]:
    """The spans of a text that begin with a number or hold one."""
    done = 0
    for match in _TOKEN.finditer(text):
        at, stop = match.span()
        if at < done:
            continue
        before = text[at - 34 if at > 34 else 0 : at]
        last = _last_word(before[-_NEAR:])
        inside = before[-1:].isalnum() or before[-1:] == "_"
        found = None if inside else _number(text, at, before, last)
        if found is not None:
            done = found[1]
            yield Span(*found[:4], NAME, found[4])
        unsure = found is None or found[3] < SURE
        if unsure and stop - at > 1 and (number := identifier(text, at, stop, last)):
            done = max(done, number.end)
            yield number


def _last_word(before: str) -> str:
    """The last word, in lower case."""
    word = before.rstrip(_NO_LETTERS)
    word = word[word.rfind(" ") + 1 :]
    if word.isascii() and word.isalpha():
        return word.lower()
    words = _LETTERS.findall(before)
    return words[-1].lower() if words else ""


_LETTERS = re.compile("[A-Za-z]+")
_NO_LETTERS: Final = " 0123456789.,:;#()/-+'\"\n\t"
_NEAR: Final = 20
_MONTHS: Final = frozenset({"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"})
_ROOMS: Final = frozenset(
    {"apt", "apartment", "suite", "ste", "unit", "flat", "studio", "room", "rm", "floor", "bldg", "box", "psc"}
)
_EXPIRY: Final = frozenset({"exp", "expires", "expiry", "expiration", "date", "is", "thru", "until"})
_ENDINGS: Final = frozenset({"ending", "ends", "in", "with", "four", "digits", "of", "are"})
_SEASON_ENDS: Final = ("ing ", "mer ", "all ", "umn ", "ter ", "of ")
_LAST_FOUR: Final = 4
_AGES: Final = frozenset({"age", "aged", "turned", "turning", "turns", "is", "was", "of", "over"})
_SOCIAL: Final = frozenset({"ssn", "social", "security", "number", "no", "itin", "tin", "id", "is", "file"})
SURE: Final = 0.8
"""The score from which on a number is nothing else."""
_TOKEN = re.compile(r"[0-9][\w/#()-]*(?:\.[0-9][\w-]*)*")


def _number(text: str, at: int, before: str, last: str) -> Found | None:
    if last in _ROOMS and (room := _ROOM_BEFORE.search(before)) and (number := _ROOM.match(text, at)):
        return at - len(before) + room.start(), number.end(), "ADDRESS", 0.85, "room-or-box"
    form = _FORM.match(text, at)
    if last[:3] in _MONTHS or last == "the":
        month = _MONTH_BEFORE.search(before[-16:])
        if month and (form is None or form.lastgroup != "monthly") and (day := _AFTER_MONTH.match(text, at)):
            return _weekday(text, at - len(before[-16:]) + month.start(), day.end(), "month")
    if form is not None and (found := _FORMS[str(form.lastgroup)](text, at, form, before)) is not None:
        return found
    return _by_words(text, at, before, last)


def _weekday(text: str, start: int, end: int, rule: str) -> Found:
    """The date, with the day of the week before it."""
    day = _WEEKDAY_BEFORE.search(text[max(0, start - 12) : start])
    return (start - len(day[0]) if day else start), end, "DATE", 0.95, rule


def _monthly(text: str, at: int, form: re.Match[str], before: str) -> Found | None:
    return _weekday(text, at, form.end(), "month")


def _iso(text: str, at: int, form: re.Match[str], before: str) -> Found | None:
    return at, form.end(), "DATE", 0.95, "iso"


def _ip(text: str, at: int, form: re.Match[str], before: str) -> Found | None:
    return (at, form.end(), "IP", 0.95, "ipv4") if is_address(form[0]) else None


def _date(text: str, at: int, form: re.Match[str], before: str) -> Found | None:
    first, second, _ = (int(part) for part in re.split(r"\s?[-/.]\s?", form["date"]))
    fits = 1 <= min(first, second) <= 12 and max(first, second) <= 31
    return (at, form.end(), "DATE", 0.9, "day-month-year") if fits else None


def _ssn(text: str, at: int, form: re.Match[str], before: str) -> Found | None:
    return at, form.end(), "SSN", 0.9 if is_ssn(digits_of(form[0])) else 0.6, "ssn"


def _card(text: str, at: int, form: re.Match[str], before: str) -> Found | None:
    digits = digits_of(form[0])
    if is_card(digits):
        return at, form.end(), "CREDIT_CARD", 0.95, "luhn"
    return (at, form.end(), "CREDIT_CARD", 0.7, "card-words") if _CARD_BEFORE.search(before) else None


def _phone(text: str, at: int, form: re.Match[str], before: str) -> Found | None:
    start = at - 1 if before[-1:] in ("(", "+") else at
    return start, form.end(), "PHONE", 0.85, "phone"


def _zip(text: str, at: int, form: re.Match[str], before: str) -> Found | None:
    return at, form.end(), "ADDRESS", 0.8, "zip-plus-four"


def _day(text: str, at: int, form: re.Match[str], before: str) -> Found | None:
    if _NO_DAY_BEFORE.search(before):
        return None
    return at, form.end(), "DATE", 0.8 if _DATE_BEFORE.search(before) else 0.55, "month-day"


def _month(text: str, at: int, form: re.Match[str], before: str) -> Found | None:
    return at, form.end(), "DATE", 0.8, "month-year"


def _unpadded(text: str, at: int, form: re.Match[str], before: str) -> Found | None:
    """A month and a day as only words make them a date, because ``5/10`` may be a score."""
    if (day := _WEEKDAY_BEFORE.search(before[-12:])) is not None:
        return at - len(day[0]), form.end(), "DATE", 0.9, "month-day"
    return (at, form.end(), "DATE", 0.7, "month-day") if _DAY_BEFORE.search(before) else None


def _case(text: str, at: int, form: re.Match[str], before: str) -> Found | None:
    said = _NO_BEFORE.search(before)
    start = at - len(said[1] or "") if said else at
    return (start, form.end(), "ID", 0.6, "case-number") if said or form[0].index("/") > 3 else None


def _street(text: str, at: int, form: re.Match[str], before: str) -> Found | None:
    return at, form.end(), "ADDRESS", 0.85, "street"


def _year(text: str, at: int, form: re.Match[str], before: str) -> Found | None:
    if before.endswith(_SEASON_ENDS) and (season := _SEASON_BEFORE.search(before)) is not None:
        return at - len(season[0]), form.end(), "DATE", 0.7, "season"
    return (at, form.end(), "DATE", 0.5, "year") if before[-1:] not in ("$", "£", "€", "#") else None


_FORMS: Final[dict[str, Callable[[str, int, re.Match[str], str], Found | None]]] = {
    "iso": _iso, "ip": _ip, "date": _date, "monthly": _monthly, "ssn": _ssn, "spaced": _ssn, "card": _card,
    "phone": _phone, "local": _phone, "zip": _zip, "day": _day, "month": _month, "short": _unpadded,
    "case": _case, "street": _street, "year": _year,
}  # fmt: skip


def _by_words(text: str, at: int, before: str, last: str) -> Found | None:
    """What the words around a number say of it."""
    if before[-1:] == "+" and (abroad := _ABROAD.match(text, at)):
        return at - 1, abroad.end(), "PHONE", 0.85, "phone-abroad"
    if last in _EXPIRY and _EXPIRES_BEFORE.search(before) and (expiry := _EXPIRES.match(text, at)):
        return at, expiry.end(), "DATE", 0.8, "expiry"
    if text[at] in "0679" and (foreign := _FOREIGN.match(text, at)) is not None:
        return at, foreign.end(), "PHONE", 0.8, "phone-abroad"
    age = _AGE.match(text, at)
    if age is not None:
        return at, age.end(), "AGE", 0.8, "age" if int(age[1]) < 90 else "age-over-89"
    if len(last) == 2 and (insured := _INSURED.match(text, at)) and (letters := _INSURED_BEFORE.search(before)):
        return at - len(letters[0]), insured.end(), "ID", 0.8, "national-insurance"
    groups = _GROUPS.match(text, at)
    if groups is not None and 7 <= len(digits_of(groups[0])) <= 15:
        if last in _SOCIAL and _SSN_BEFORE.search(before):
            return at, groups.end(), "SSN", 0.85, "ssn-words"
        if _PHONE_BEFORE.search(before) or _PHONE_AFTER.match(text, groups.end()):
            return (at - 1 if before[-1:] == "(" else at), groups.end(), "PHONE", 0.75, "phone-words"
    return _short(text, at, before, last)


_ROOM_BEFORE = re.compile(
    r"(?i:(?<![a-z])(?:apt|apartment|suite|ste|unit|flat|studio|room|rm|floor|bldg|p\.?\s?o\.?\s?box"
    r"|psc)\.?\s*#?\s*[A-Z]?-?)$"
)
_ROOM = re.compile(
    r"\d[\w-]{0,5}(?:,?\s+(?i:box)\s+\d+)?(?:,?\s+[ADF]PO\s+A[APE]\s+\d{5}"
    r"|,\s+[^\W\d_a-z][\w'-]+(?:\s[^\W\d_a-z][\w'-]+){1,3})?"
)


def _short(text: str, at: int, before: str, last: str) -> Found | None:
    """A number of few digits, which only words can make anything of."""
    end = at
    while end < len(text) and text[end].isdigit():
        end += 1
    if end - at in (4, 5) and _STATE_BEFORE.search(before[-16:]):
        return at, end, "ADDRESS", 0.75, "zip"
    if end - at == _LAST_FOUR and last in _ENDINGS and _LAST_BEFORE.search(before):
        return at, end, "ID", 0.8, "last-four"
    if last in _AGES and end - at in (2, 3) and _AGE_BEFORE.search(before) and int(text[at:end]) < 150:
        return at, end, "AGE", 0.6, "age" if int(text[at:end]) < 90 else "age-over-89"
    return None
