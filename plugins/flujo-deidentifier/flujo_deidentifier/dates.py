"""Dates: dates as people write them, moved by days or reduced to their year, in the form that they had."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Final, NamedTuple

from flujo_deidentifier.draw import Draw

SPAN: Final = 365
"""Days by which a subject's dates are moved at most."""
_MONTHS: Final = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_ISO = re.compile(r"(?P<y>\d{4})(?P<s>[-/.])(?P<m>\d{1,2})(?P=s)(?P<d>\d{1,2})(?P<rest>[T ].*)?", re.DOTALL)
_SHORT = re.compile(r"(?P<a>\d{1,2})(?P<s>\s?[-/.]\s?)(?P<b>\d{1,2})(?P=s)(?P<y>\d{4}|\d{2})")
_MONTH = r"(?P<m>[^\W\d_]{3,9})(?P<dot>\.?)"
_MONTH_FIRST = re.compile(rf"{_MONTH}(?P<g1>[\s-]+)(?P<d>\d{{1,2}})(?P<o>st|nd|rd|th)?(?P<g2>[\s,-]+)(?P<y>\d{{4}})")
_DAY_FIRST = re.compile(
    rf"(?P<d>\d{{1,2}})(?P<o>st|nd|rd|th)?(?P<g1>(?:\s+of)?[\s-]+){_MONTH}(?P<g2>[\s,-]+)(?P<y>\d{{4}})"
)
_WEEKDAY = re.compile(r"(?P<w>(?i:mon|tues|wednes|thurs|fri|satur|sun)day)(?P<g>,?\s+)", re.IGNORECASE)
_YEAR = re.compile(r"(?<!\d)(?:1[5-9]|20)\d\d(?!\d)")
_CENTURY_TURNS: Final = 69


class _Form(NamedTuple):
    """A date, and how to write another one in its place."""

    day: date
    written: re.Match[str]
    kind: str


def days_of(key: bytes, subject: str) -> int:
    """The days by which the dates of a subject are moved: from 1 to ``SPAN``, forwards or back, the same each time.

    Args:
        key: The key; another key gives other days.
        subject: Whom the data is about.
    """
    draw = Draw(key, "days", subject)
    days = 1 + draw.below(SPAN)
    return days if draw.below(2) else -days


def shifted(text: str, days: int) -> str | None:
    """A date, moved by days and written as it was; None where the text is no whole date.

    ``3/4/2021`` is the fourth of March, unless dots or a number over 12 say otherwise; two digits of a year mean the
    years from 1969 to 2068.
    """
    weekday = _WEEKDAY.match(text)
    form = _read(text[weekday.end() :] if weekday else text)
    if form is None:
        return None
    try:
        day = form.day + timedelta(days=days)
    except OverflowError:
        return None
    lead = _like(weekday["w"], f"{day:%A}") + weekday["g"] if weekday else ""
    return lead + _written(form, day)


def year_of(text: str) -> str | None:
    """The year of a date, of four digits; None where there is none."""
    if (form := _read(text)) is not None:
        return f"{form.day.year:04d}"
    years = _YEAR.findall(text)
    return years[0] if len(years) == 1 else None


def _read(text: str) -> _Form | None:
    for kind, pattern in (("iso", _ISO), ("short", _SHORT), ("month", _MONTH_FIRST), ("day", _DAY_FIRST)):
        written = pattern.fullmatch(text)
        if written is None:
            continue
        parts = _parts(written, kind)
        try:
            return _Form(date(*parts), written, kind) if parts else None
        except ValueError:
            return None
    return None


def _parts(written: re.Match[str], kind: str) -> tuple[int, int, int] | None:
    """Year, month and day."""
    year = int(written["y"])
    if kind == "short":
        if len(written["y"]) == 2:
            year += 1900 if year >= _CENTURY_TURNS else 2000
        first, second = int(written["a"]), int(written["b"])
        return (year, second, first) if _day_first(written) else (year, first, second)
    if kind == "iso":
        return year, int(written["m"]), int(written["d"])
    month = next((at for at, name in enumerate(_MONTHS, 1) if name.lower().startswith(written["m"].lower()[:3])), None)
    return (year, month, int(written["d"])) if month else None


def _day_first(written: re.Match[str]) -> bool:
    return int(written["a"]) > 12 or ("." in written["s"] and int(written["b"]) <= 12)


def _written(form: _Form, day: date) -> str:
    old = form.written
    if form.kind == "iso":
        rest = old["rest"] or ""
        width = min(len(old["m"]), len(old["d"]))
        return f"{day.year:04d}{old['s']}{day.month:0{width}d}{old['s']}{day.day:0{width}d}{rest}"
    if form.kind == "short":
        a, b = (day.day, day.month) if _day_first(old) else (day.month, day.day)
        year = f"{day.year:04d}"[-len(old["y"]) :]
        width = 2 if len(old["a"]) == len(old["b"]) == 2 else 1
        return f"{a:0{width}d}{old['s']}{b:0{width}d}{old['s']}{year}"
    month = _like(old["m"], _MONTHS[day.month - 1]) + (old["dot"] if len(old["m"]) < 4 else "")
    number = f"{day.day:0{2 if old['d'].startswith('0') else 1}d}" + (_ordinal(day.day) if old["o"] else "")
    parts = (number, month) if form.kind == "day" else (month, number)
    return f"{parts[0]}{old['g1']}{parts[1]}{old['g2']}{day.year:04d}"


def _like(old: str, name: str) -> str:
    """The name of a month or day, as short and in the case in which the old one was."""
    new = name[:3] if len(old) == 3 and len(name) > 3 else name
    return new.upper() if old.isupper() else new.lower() if old.islower() else new


def _ordinal(number: int) -> str:
    return "th" if 10 < number % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
